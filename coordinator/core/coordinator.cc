#include "coordinator/core/coordinator.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/planted_bug.h"
#include "base/status_macros.h"
#include "coordinator/core/failpoints.h"
#include "coordinator/state/task_name.h"
#include "storage/blob_store.h"
#include "storage/record_store.h"

namespace ursa {
namespace {

constexpr int kEventsMax = 10'000;  // of one message
constexpr int64_t kAuditPage = 1000;

// The blobs that checkpoints among the events name.
std::vector<std::string> BlobsOf(const worker::v1::TaskEvents& events) {
  std::vector<std::string> hashes;
  for (const worker::v1::StampedEvent& event : events.events()) {
    if (!event.event().has_checkpoint()) continue;
    for (const std::string* hash :
         {&event.event().checkpoint().model_blob(), &event.event().checkpoint().optimizer_blob()}) {
      if (IsDigestHex(*hash)) hashes.push_back(*hash);
    }
  }
  return hashes;
}

}  // namespace

Coordinator::Coordinator(Environment env)
    : env_(std::move(env)),
      access_(&env_),
      admission_(&env_),
      janitor_(&env_),
      log_janitor_(&env_),
      rendezvous_(&env_),
      workers_(
          &env_,
          [this](Tx& tx, int64_t worker_id, const std::string& why) {
            gangs_.OnWorkerGone(tx, worker_id, why);
            aux_tasks_.OnWorkerGone(tx, worker_id, why);
          },
          [this](const Tx& tx, int64_t worker_id, worker::v1::DesiredState* desired) {
            gangs_.AddOrders(tx, worker_id, desired);
            aux_tasks_.AddOrders(tx, worker_id, desired);
          }),
      gangs_(&env_, &workers_),
      doctor_(&env_, &gangs_),
      scheduler_(&env_, &workers_, &gangs_),
      aux_tasks_(&env_, &workers_, &scheduler_, MakeAuxOwner()),
      trials_(&env_),
      experiments_(&env_, &scheduler_, &doctor_, &trials_),
      imports_(&env_, &aux_tasks_, &janitor_),
      evaluations_(&env_, &aux_tasks_, &janitor_),
      registry_(&env_),
      predictions_(&env_, &workers_, &aux_tasks_) {
  env_.commit->SetSettle([this](Tx& tx, const Changes& changes) { Settle(tx, changes); });
}

AuxTasks::Owner Coordinator::MakeAuxOwner() {
  AuxTasks::Owner owner;
  owner.on_report = [this](Tx& tx, const records::AuxTaskRecord& task, const worker::v1::TaskEvent& event) {
    if (event.has_ingest() && task.import_id() != 0) {
      imports_.OnReport(tx, task, event.ingest());
    } else if (event.has_predictions() && task.assignment().has_evaluate()) {
      evaluations_.OnReport(tx, task, event.predictions());
    } else if (event.has_predict()) {
      predictions_.OnReport(tx, event.predict());
    }
  };
  owner.on_end = [this](Tx& tx, const records::AuxTaskRecord& task, const absl::Status& status) {
    if (task.import_id() != 0) {
      imports_.OnTaskEnd(tx, task, status);
    } else if (task.assignment().has_predict()) {
      predictions_.OnTaskEnd(tx, task, status);
    } else {
      evaluations_.OnTaskEnd(tx, task, status);
    }
  };
  owner.on_retry = [this](Tx& tx, const records::AuxTaskRecord& task) {
    if (task.import_id() != 0) imports_.OnRetry(tx, task);
  };
  return owner;
}

void Coordinator::Restore() {
  Tx tx(env_.commit);
  workers_.Restore(tx);
  scheduler_.Restore(tx);
  janitor_.Restore(tx);
  predictions_.Restore(tx);
  imports_.Restore(tx);
  evaluations_.Restore(tx);
}

void Coordinator::Settle(Tx& tx, const Changes& changes) {
  janitor_.Mark(tx, changes.unreferenced_blobs);
  rendezvous_.DropUnless(tx, changes.trials,
                         [&tx](const TrialId& trial, int64_t epoch) { return Gangs::IsCurrent(tx, trial, epoch); });
  scheduler_.Sync(tx, changes);
  for (const TrialId& id : scheduler_.Reform(tx)) {
    rendezvous_.Add(id, tx.state().Find<records::TrialRecord>(id)->epoch());
  }
  // GPU evaluations take the next free slot before queued training.
  aux_tasks_.Schedule(tx);
  for (const TrialId& id : scheduler_.Decide(tx)) {
    rendezvous_.Add(id, tx.state().Find<records::TrialRecord>(id)->epoch());
  }
  // After the decision: what a search changes is not in the scheduler's view before the next round.
  trials_.Advance(tx, changes.trials);
  trials_.Derive(tx, changes.experiments);
  predictions_.Settle(tx);
  workers_.SyncOrders(tx, changes.workers);
  watchers_.Notify(tx, changes.experiments);
}

void Coordinator::OnMessage(const std::shared_ptr<WorkerSession>& session, worker::v1::ConnectRequest message,
                            std::function<void(absl::Status)> processed) {
  using Message = worker::v1::ConnectRequest;
  if (message.message_case() == Message::kEvents) {
    if (message.events().events_size() > kEventsMax) {
      return processed(absl::InvalidArgumentError(absl::StrCat(
          "events: ", message.events().events_size(), " in one message, at most ", kEventsMax, " are allowed")));
    }
    std::vector<std::string> hashes = BlobsOf(message.events());
    if (hashes.empty()) {
      OnEvents(session, message.events(), {});
      return processed(absl::OkStatus());
    }
    // Checkpoints name blobs: whether these are stored is looked up without the lock; the stream waits for it.
    env_.executor->Run([this, session, events = std::move(*message.mutable_events()), hashes = std::move(hashes),
                        processed = std::move(processed)] {
      std::set<std::string> missing_set;
      {
        Tx tx(env_.commit);
        for (const std::string& hash : hashes) {
          if (janitor_.IsDeleting(hash)) missing_set.insert(hash);
        }
        janitor_.Touch(tx, hashes);
      }
      const auto missing = env_.blobs->FindMissing(hashes);
      if (!missing.ok()) return processed(missing.status());
      missing_set.insert(missing->begin(), missing->end());
      failpoints::report_blobs_found.Pass();
      OnEvents(session, events, missing_set);
      processed(absl::OkStatus());
    });
    return;
  }
  absl::Status status;
  {
    Tx tx(env_.commit);
    if (message.message_case() == Message::kHello) {
      status = workers_.Hello(tx, session, std::move(*message.mutable_hello()));
      if (status.ok()) {
        doctor_.OnReconnected(tx, workers_.WorkerOf(session.get()));
        predictions_.OnReconnected(tx, workers_.WorkerOf(session.get()));
      }
      failpoints::worker_hello_taken.Pass();
    } else if (const int64_t worker_id = workers_.WorkerOf(session.get()); worker_id == 0) {
      status = absl::InvalidArgumentError("stream: hello must come first, or a newer stream has taken its place");
    } else {
      workers_.Heard(tx, worker_id);
      if (IsHeartbeat(message)) {
        gangs_.OnHeartbeat(tx, worker_id, message.heartbeat());
        aux_tasks_.OnHeartbeat(tx, worker_id, message.heartbeat());
        for (const auto& task : message.heartbeat().tasks()) {
          doctor_.OnStatus(tx, worker_id, task);
          predictions_.OnAlive(tx, task);
        }
      } else if (message.message_case() == Message::kRendezvous) {
        OnRendezvous(tx, worker_id, message.rendezvous());
      } else if (message.message_case() == Message::kSlots) {
        status = workers_.OnSlots(tx, worker_id, message.slots());
      } else {
        status = absl::InvalidArgumentError("stream: a message of an unknown kind");
      }
    }
  }
  processed(status);
}

void Coordinator::OnEvents(const std::shared_ptr<WorkerSession>& session, const worker::v1::TaskEvents& events,
                           const std::set<std::string>& missing_blobs) {
  Tx tx(env_.commit);
  const int64_t worker_id = workers_.WorkerOf(session.get());
  if (worker_id == 0) return;  // they will come again on the stream that took its place
  workers_.Heard(tx, worker_id);
  if (workers_.IsNewSequence(worker_id, events.sequence())) {
    std::set<int64_t> logged;
    for (const worker::v1::StampedEvent& event : events.events()) {
      const auto trial = ParseTaskName(event.task_id());
      if (!trial) {
        aux_tasks_.OnEvent(tx, worker_id, event);
      } else if (gangs_.OnEvent(tx, worker_id, event, missing_blobs) && event.event().has_log()) {
        logged.insert(trial->first);
      }
    }
    watchers_.Notify(tx, logged);
  }
  worker::v1::ConnectResponse ack;
  ack.mutable_ack()->set_sequence(events.sequence());
  if (URSA_PLANTED_BUG(ack_early)) session->Send(ack);
  workers_.Send(tx, worker_id, std::move(ack));
}

void Coordinator::OnRendezvous(Tx& tx, int64_t worker_id, const worker::v1::RendezvousRequest& request) {
  const TrialId id = ParseTaskName(request.task_id()).value_or(TrialId());
  if (!rendezvous_.Has(id, request.epoch()) && Gangs::IsCurrent(tx, id, request.epoch())) {
    // What these ranks had said to each other died with the last coordinator; waiting for it would never end.
    gangs_.EndUncounted(tx, id, request.epoch(), "the coordinator was restarted while the ranks were meeting");
  }
  const int64_t call_id = request.call_id();
  rendezvous_.Run(tx, id, request.epoch(), {worker_id, call_id}, request.request(),
                  [this, worker_id, call_id](Tx& answer_tx, const absl::StatusOr<worker::v1::StoreResponse>& response) {
                    worker::v1::ConnectResponse message;
                    message.mutable_rendezvous()->set_call_id(call_id);
                    if (response.ok()) {
                      *message.mutable_rendezvous()->mutable_response() = *response;
                    } else {
                      message.mutable_rendezvous()->set_error(std::string(response.status().message()));
                    }
                    workers_.Send(answer_tx, worker_id, std::move(message));
                  });
}

void Coordinator::OnDisconnected(const WorkerSession* session) {
  Tx tx(env_.commit);
  workers_.Disconnected(tx, session);
}

void Coordinator::Tick() {
  Tx tx(env_.commit);
  admission_.Tick(tx);
  workers_.Tick(tx);
  gangs_.Tick(tx);
  doctor_.Tick(tx);
  scheduler_.Tick(tx);
  rendezvous_.Tick(tx);
  evaluations_.Tick(tx);
  predictions_.Tick(tx);
  janitor_.Tick(tx);
  log_janitor_.Tick(tx);
  ExpireAnswers(env_, tx);
}

void Coordinator::Shutdown() {
  Tx tx(env_.commit);
  predictions_.Shutdown(tx);
}

absl::StatusOr<v1::Status> Coordinator::GetStatus(const Tx& tx) const {
  v1::Status status;
  status.set_version(env_.options.version);
  for (const auto& [id, worker] : tx.state().All<records::WorkerRecord>()) {
    if (worker.lost()) continue;
    status.set_workers(status.workers() + 1);
    status.set_slots_total(status.slots_total() + worker.slots());
    status.set_slots_free(status.slots_free() + workers_.ToProto(tx, worker).free());
  }
  status.set_experiments_running(static_cast<int32_t>(tx.state().NumExperiments(v1::Experiment::STATE_RUNNING)));
  status.set_experiments_queued(static_cast<int32_t>(tx.state().NumExperiments(v1::Experiment::STATE_QUEUED)));
  return status;
}

void Coordinator::VerifyAudit(Done<v1::VerifyAuditResponse> done) {
  ReadStateThen<records::AuditHeadRecord>(
      env_, [](const Tx& tx) -> absl::StatusOr<records::AuditHeadRecord> { return tx.state().audit_head(); },
      [this, done = std::move(done)](const absl::StatusOr<records::AuditHeadRecord>& head) { done(WalkAudit(*head)); });
}

absl::StatusOr<v1::VerifyAuditResponse> Coordinator::WalkAudit(const records::AuditHeadRecord& head) const {
  v1::VerifyAuditResponse response;
  std::string hash(kDigestHexLength, '0');
  const auto fail = [&response](int64_t sequence, const std::string& why) {
    response.set_reason(absl::StrCat("event ", sequence, ": ", why));
    return response;
  };
  int64_t next = 1;
  while (next <= head.sequence()) {
    URSA_ASSIGN_OR_RETURN(const std::vector<RecordStore::Event> rows,
                          env_.records->ReadEvents(static_cast<uint64_t>(next), kAuditPage));
    if (rows.empty()) return fail(next, "is missing");
    for (const RecordStore::Event& row : rows) {
      if (next > head.sequence()) break;
      records::AuditEventRecord event;
      records::AuditPayload payload;
      if (static_cast<int64_t>(row.sequence) != next) return fail(next, "is missing");
      if (!event.ParseFromString(row.bytes) || !payload.ParseFromString(event.payload())) {
        return fail(next, "cannot be read");
      }
      if (event.sequence() != next || payload.sequence() != next) return fail(next, "has another number");
      if (event.previous_hash() != hash) return fail(next, "does not follow the one before");
      if (event.hash() != State::AuditHash(hash, event.payload()))
        return fail(next, "has another hash than its content");
      hash = event.hash();
      response.set_events(next++);
    }
  }
  response.set_head_hash(hash);
  if (hash != head.hash()) return fail(head.sequence(), "is not the head that the state knows");
  response.set_ok(true);
  return response;
}

}  // namespace ursa
