#include "coordinator/core/workers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/planted_bug.h"
#include "base/status_macros.h"
#include "coordinator/core/admission.h"
#include "coordinator/core/failure_policy.h"
#include "coordinator/core/worker_slots.h"
#include "coordinator/scheduling/simd_level.h"
#include "experiments/labels.h"
#include "experiments/resource_names.h"

namespace ursa {
namespace {

std::string Name(int64_t worker_id) { return WorkerId(worker_id).ToString(); }

void FillRecord(const worker::v1::Hello& hello, records::WorkerRecord* record) {
  record->set_host(hello.host());
  record->set_slots(hello.slots());
  record->set_kind(hello.kind());
  record->set_incarnation(hello.incarnation());
  record->set_starts(hello.starts());
  record->set_version(hello.version());
  record->set_cores(hello.cores());
  record->set_simd(hello.simd());
  record->set_pool(hello.pool().empty() ? kDefaultPool : hello.pool());
  record->set_name(hello.name());
  *record->mutable_labels() = hello.labels();
  SortLabels(record->mutable_labels());
  *record->mutable_slot_states() = hello.slot_states();
  record->set_lost(false);
}

}  // namespace

bool IsHeartbeat(const worker::v1::ConnectRequest& message) {
  if (message.message_case() != worker::v1::ConnectRequest::MESSAGE_NOT_SET) return message.has_heartbeat();
  return message.ByteSizeLong() == 0;  // otherwise it is what a newer agent says
}

void Workers::Restore(Tx& tx) {
  last_tick_ = env_.clock->Now();
  for (const auto& [id, record] : tx.state().All<records::WorkerRecord>()) {
    leases_[id].last_heard = URSA_PLANTED_BUG(forget_leases) ? absl::UnixEpoch() : env_.clock->Now();
  }
}

absl::Status Workers::CheckHello(const Tx& tx, const worker::v1::Hello& hello) const {
  if (hello.kind() != "cpu" && hello.kind() != "cuda") {
    return absl::InvalidArgumentError(
        absl::StrCat("hello: kind \"", hello.kind(), "\" is not known, slots are of kind cpu or cuda"));
  }
  if (hello.slots() < 1 || hello.slots() > env_.options.worker_slots_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("hello: ", hello.slots(), " slots, a worker has 1 to ", env_.options.worker_slots_max));
  }
  if (hello.cores() < 1) {
    return absl::InvalidArgumentError(absl::StrCat("hello: ", hello.cores(), " cores, a worker has at least 1"));
  }
  if (SimdLevel(hello.simd()) < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("hello: simd \"", hello.simd(), "\" is not known (x86-64-v2, avx2, avx512)"));
  }
  if (hello.incarnation().empty()) return absl::InvalidArgumentError("hello: incarnation is empty");
  if (!hello.pool().empty()) {
    const absl::Status name = CheckName("pool", hello.pool());
    if (!name.ok()) return absl::InvalidArgumentError(absl::StrCat("hello: ", name.message()));
  }
  URSA_RETURN_IF_ERROR(CheckLabels(hello.labels()));
  URSA_RETURN_IF_ERROR(CheckSlotStates(hello.slot_states(), hello.slots()));
  for (const std::string* text :
       {&hello.worker_id(), &hello.host(), &hello.incarnation(), &hello.version(), &hello.pool(), &hello.name()}) {
    if (text->size() > kHelloTextBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("hello: a text has ", text->size(), " bytes, at most ", kHelloTextBytesMax, " are allowed"));
    }
  }
  const auto& workers = tx.state().All<records::WorkerRecord>();
  if (hello.worker_id().empty() && static_cast<int64_t>(workers.size()) >= env_.options.num_workers_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cluster: has ", workers.size(), " workers, at most ", env_.options.num_workers_max));
  }
  return absl::OkStatus();
}

absl::StatusOr<records::WorkerRecord> Workers::Identify(Tx& tx, const Caller& caller, worker::v1::Hello* hello) {
  const auto* token = tx.state().Find<records::TokenRecord>(caller.actor);
  const auto given = WorkerId::Parse(hello->worker_id());
  int64_t id = given ? given->number() : 0;
  const records::WorkerRecord* known = id == 0 ? nullptr : tx.state().Find<records::WorkerRecord>(id);
  URSA_RETURN_IF_ERROR(CheckSpeaker(caller.actor, token, id, known));
  const bool has_joined = token != nullptr && token->worker_id() != 0;
  if (has_joined) {
    id = token->worker_id();
    known = tx.state().Find<records::WorkerRecord>(id);
    URSA_RETURN_IF_ERROR(ApplyGrant(*token, hello));
  }
  records::WorkerRecord record;
  if (known != nullptr) {
    record = *known;
    if (hello->starts() < record.starts()) {
      return absl::FailedPreconditionError(
          absl::StrCat("worker ", Name(id), ": start ", hello->starts(), " of its agent says hello, but start ",
                       record.starts(), " has done so before (hint: a folder that was copied needs no worker.id)"));
    }
    // A session that is half open may outlive its lease: then the machine was started anew.
    const Lease& lease = leases_[id];
    const bool is_alive =
        lease.session != nullptr && !record.lost() && env_.clock->Now() - lease.last_heard < env_.options.lease;
    if (is_alive && record.incarnation() != hello->incarnation()) {
      return absl::FailedPreconditionError(
          absl::StrCat("worker ", Name(id), ": another agent is connected as it and alive"));
    }
  } else {
    record.set_id(has_joined ? id : TakeNumber(tx, "worker"));
  }
  record.set_joined(has_joined);
  return record;
}

void Workers::ReplaceIncarnation(Tx& tx, int64_t worker_id) {
  on_gone_(tx, worker_id, absl::StrCat("worker ", Name(worker_id), " was started anew"));
  OnLeft(tx, worker_id);
  Lease& lease = leases_[worker_id];
  lease.last_sequence = 0;
  lease.leaving_until = absl::InfinitePast();
  lease.is_leaving = false;
}

absl::Status Workers::Hello(Tx& tx, const std::shared_ptr<WorkerSession>& session, worker::v1::Hello hello) {
  if (sessions_.count(session.get())) return absl::InvalidArgumentError("stream: hello was said before");
  URSA_RETURN_IF_ERROR(CheckHello(tx, hello));
  URSA_ASSIGN_OR_RETURN(records::WorkerRecord record, Identify(tx, session->caller(), &hello));
  const int64_t id = record.id();
  const bool is_known = tx.state().Find<records::WorkerRecord>(id) != nullptr;
  const bool is_new = record.incarnation() != hello.incarnation();
  if (is_known && is_new) ReplaceIncarnation(tx, id);
  if (is_new || record.lost()) {
    URSA_LOG(INFO) << "worker=" << Name(id) << " host=" << hello.host() << " slots=" << hello.slots()
                   << " kind=" << hello.kind() << " ->ALIVE";
  }
  FillRecord(hello, &record);
  *record.mutable_last_seen_time() = ToTimestamp(env_.clock->Now());
  tx.Put(std::move(record));

  Lease& lease = leases_[id];
  if (lease.session != nullptr) {
    sessions_.erase(lease.session.get());
    tx.AfterDurable([old = lease.session] { old->Close(absl::AbortedError("stream: a newer one took its place")); });
  }
  lease.session = session;
  lease.last_heard = lease.connected_since = env_.clock->Now();
  lease.sent_orders.clear();
  usability_changes_.insert(id);
  sessions_[session.get()] = id;
  Welcome(tx, id);
  tx.RequestSettle();
  return absl::OkStatus();
}

void Workers::Welcome(Tx& tx, int64_t worker_id) {
  worker::v1::ConnectResponse welcome;
  welcome.mutable_welcome()->set_worker_id(Name(worker_id));
  welcome.mutable_welcome()->set_heartbeat_millis(absl::ToInt64Milliseconds(env_.options.heartbeat));
  welcome.mutable_welcome()->set_lease_millis(absl::ToInt64Milliseconds(env_.options.lease));
  Send(tx, worker_id, std::move(welcome));
  // The first desired state is sent also when it is empty: whatever still runs there is to be stopped.
  worker::v1::ConnectResponse desired;
  *desired.mutable_desired() = Desired(tx, worker_id);
  leases_[worker_id].sent_orders = desired.desired().SerializeAsString();
  Send(tx, worker_id, std::move(desired));
}

absl::Status Workers::OnSlots(Tx& tx, int64_t worker_id, const worker::v1::SlotReport& report) {
  const auto* found = tx.state().Find<records::WorkerRecord>(worker_id);
  if (found == nullptr) return absl::OkStatus();
  URSA_RETURN_IF_ERROR(CheckSlotStates(report.slots(), found->slots()));
  if (HasSameStates(report.slots(), found->slot_states())) return absl::OkStatus();
  records::WorkerRecord record = *found;
  *record.mutable_slot_states() = report.slots();
  URSA_LOG(WARNING) << "worker=" << Name(worker_id)
                    << " slots: " << (WithheldText(record).empty() ? "all are offered" : WithheldText(record));
  tx.Put(std::move(record));
  tx.RequestSettle();
  return absl::OkStatus();
}

void Workers::Disconnected(Tx& tx, const WorkerSession* session) {
  const auto it = sessions_.find(session);
  if (it == sessions_.end()) return;
  const auto lease = leases_.find(it->second);
  if (lease != leases_.end() && lease->second.session.get() == session) lease->second.session = nullptr;
  usability_changes_.insert(it->second);
  OnLeft(tx, it->second);
  sessions_.erase(it);
}

int64_t Workers::WorkerOf(const WorkerSession* session) const {
  const auto it = sessions_.find(session);
  return it == sessions_.end() ? 0 : it->second;
}

void Workers::Heard(Tx& tx, int64_t worker_id) {
  leases_[worker_id].last_heard = env_.clock->Now();
  const auto* record = tx.state().Find<records::WorkerRecord>(worker_id);
  if (record == nullptr || !record->lost()) return;
  records::WorkerRecord found = *record;
  found.set_lost(false);
  URSA_LOG(INFO) << "worker=" << Name(worker_id) << " LOST->ALIVE";
  tx.Put(std::move(found));
}

bool Workers::IsNewSequence(int64_t worker_id, int64_t sequence) {
  int64_t& last = leases_[worker_id].last_sequence;
  if (sequence <= last) return false;
  last = sequence;
  return true;
}

void Workers::SetLeaving(const std::set<int64_t>& worker_ids) {
  for (const int64_t id : worker_ids) {
    Lease& lease = leases_[id];
    lease.leaving_until = env_.clock->Now() + env_.options.leaving_time;
    lease.is_leaving = true;
    lease.leaving_with = worker_ids;
    next_look_ = std::min(next_look_, lease.leaving_until);
    usability_changes_.insert(id);
  }
}

void Workers::OnLeft(Tx& tx, int64_t worker_id) {
  const std::set<int64_t> others = std::exchange(leases_[worker_id].leaving_with, {});
  if (!leases_[worker_id].is_leaving) return;
  for (const int64_t id : others) {
    if (id == worker_id) continue;
    const auto it = leases_.find(id);
    // It may be about to end for another reason, of a later time.
    if (it == leases_.end() || it->second.leaving_with != others) continue;
    it->second.leaving_until = absl::InfinitePast();
    it->second.is_leaving = false;
    it->second.leaving_with.clear();
    usability_changes_.insert(id);
    tx.RequestSettle();
  }
}

void Workers::Send(Tx& tx, int64_t worker_id, worker::v1::ConnectResponse message) {
  const auto it = leases_.find(worker_id);
  if (it == leases_.end() || it->second.session == nullptr) return;
  tx.AfterDurable(
      [session = it->second.session, message = std::move(message)]() mutable { session->Send(std::move(message)); });
}

worker::v1::DesiredState Workers::Desired(const Tx& tx, int64_t worker_id) const {
  worker::v1::DesiredState desired;
  add_orders_(tx, worker_id, &desired);
  const auto* record = tx.state().Find<records::WorkerRecord>(worker_id);
  desired.set_withheld(record != nullptr && (record->drained() || !record->set_aside().empty()));
  return desired;
}

void Workers::SyncOrders(Tx& tx, const std::set<int64_t>& worker_ids) {
  for (const int64_t worker_id : worker_ids) {
    const auto it = leases_.find(worker_id);
    if (it == leases_.end() || it->second.session == nullptr) continue;
    worker::v1::ConnectResponse message;
    *message.mutable_desired() = Desired(tx, worker_id);
    std::string orders = message.desired().SerializeAsString();
    if (orders == it->second.sent_orders) continue;
    it->second.sent_orders = std::move(orders);
    Send(tx, worker_id, std::move(message));
  }
}

absl::Time Workers::ConnectedSince(int64_t worker_id) const {
  const auto it = leases_.find(worker_id);
  return it == leases_.end() || it->second.session == nullptr ? absl::InfiniteFuture() : it->second.connected_since;
}

bool Workers::IsUsable(const Tx& tx, int64_t worker_id) const {
  const auto* record = tx.state().Find<records::WorkerRecord>(worker_id);
  const auto lease = leases_.find(worker_id);
  return record != nullptr && lease != leases_.end() && !record->lost() &&
         (!record->drained() || URSA_PLANTED_BUG(use_drained)) && record->set_aside().empty() &&
         lease->second.session != nullptr && lease->second.leaving_until <= env_.clock->Now();
}

std::vector<const records::WorkerRecord*> Workers::UsableWorkers(const Tx& tx) const {
  std::vector<const records::WorkerRecord*> usable;
  for (const auto& [session, id] : sessions_) {
    if (IsUsable(tx, id)) usable.push_back(tx.state().Find<records::WorkerRecord>(id));
  }
  // Sessions are in no order: decisions must not depend on that.
  std::sort(usable.begin(), usable.end(),
            [](const records::WorkerRecord* a, const records::WorkerRecord* b) { return a->id() < b->id(); });
  return usable;
}

void Workers::Strike(Tx& tx, int64_t worker_id, const TrialId& trial, worker::v1::TaskFinished::Cause cause,
                     const std::string& reason) {
  const auto* found = tx.state().Find<records::WorkerRecord>(worker_id);
  if (found == nullptr) return;
  records::WorkerRecord record = *found;
  const std::string why = AddStrike(StrikeOptions(), trial, cause, reason, env_.clock->Now(), &record);
  const std::vector<const records::WorkerRecord*> usable = UsableWorkers(tx);
  const bool has_others = std::any_of(usable.begin(), usable.end(), [&record](const records::WorkerRecord* other) {
    return other->id() != record.id() && other->pool() == record.pool() && other->kind() == record.kind();
  });
  if (!why.empty() && has_others && record.set_aside().empty()) {
    URSA_LOG(ERROR) << "worker=" << Name(worker_id) << " ->SET_ASIDE reason=\"" << why << "\"";
    record.set_set_aside(why);
  }
  tx.Put(std::move(record));
}

std::set<int64_t> Workers::TakeUsabilityChanges() { return std::exchange(usability_changes_, {}); }

void Workers::Tick(Tx& tx) {
  const absl::Time now = env_.clock->Now();
  // This process stood still, and so what it is to hear waits for it: as after a restart, every lease has a full term.
  if (now - std::exchange(last_tick_, now) > env_.options.lease / 2 && !URSA_PLANTED_BUG(blame_for_own_pause)) {
    for (auto& [id, lease] : leases_) {
      const auto* record = tx.state().Find<records::WorkerRecord>(id);
      if (record != nullptr && !record->lost()) lease.last_heard = now;
    }
  }
  const absl::Duration term = env_.options.lease / (URSA_PLANTED_BUG(short_lease) ? 4 : 1);
  if (now < next_look_ && now + term >= next_look_) return;  // the latter fails when the clock was set back
  next_look_ = now + term;
  std::vector<int64_t> lost;
  std::vector<int64_t> forgotten;
  for (auto& [id, lease] : leases_) {
    if (lease.is_leaving && lease.leaving_until <= now) {
      lease.is_leaving = false;
      usability_changes_.insert(id);
      tx.RequestSettle();
    } else if (lease.is_leaving) {
      next_look_ = std::min(next_look_, lease.leaving_until);
    }
    if (now - lease.last_heard < term) {
      next_look_ = std::min(next_look_, lease.last_heard + term);
      continue;
    }
    const auto* record = tx.state().Find<records::WorkerRecord>(id);
    if (record == nullptr) continue;
    if (!record->lost()) {
      lost.push_back(id);
    } else if (!record->joined() && now - FromTimestamp(record->last_seen_time()) >= env_.options.lost_worker_age_max) {
      forgotten.push_back(id);
    }
  }
  for (const int64_t id : lost) {
    Lease& lease = leases_[id];
    const absl::Duration silence = now - lease.last_heard;
    URSA_LOG(WARNING) << "worker=" << Name(id) << " ALIVE->LOST reason=\"last heard of "
                      << absl::FormatDuration(silence) << " ago\"";
    records::WorkerRecord record = *tx.state().Find<records::WorkerRecord>(id);
    record.set_lost(true);
    *record.mutable_last_seen_time() = ToTimestamp(lease.last_heard);
    tx.Put(std::move(record));
    on_gone_(tx, id,
             absl::StrCat("worker ", Name(id), " is lost: last heard of ", absl::FormatDuration(silence), " ago"));
  }
  for (const int64_t id : forgotten) {
    if (leases_[id].session != nullptr) continue;
    tx.Apply(std::move(Mutation().Delete<records::WorkerRecord>(id)));
    leases_.erase(id);
  }
}

}  // namespace ursa
