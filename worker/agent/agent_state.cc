#include "worker/agent/agent_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/planted_bug.h"

namespace ursa {
namespace {

using worker::v1::ConnectRequest;
using worker::v1::ConnectResponse;
using worker::v1::StoreRequest;
using worker::v1::TaskEvent;

EventOutbox::CheckpointPolicy PolicyOf(const worker::v1::TaskAssignment& assignment) {
  EventOutbox::CheckpointPolicy policy;
  const auto& spec = assignment.train().spec().checkpoint();
  if (spec.has_keep_best()) policy.keep_best = spec.keep_best();
  if (spec.has_best_metric()) {
    policy.metric = spec.best_metric();
    policy.smaller_is_better =
        policy.metric.find("loss") != std::string::npos || policy.metric.find("error") != std::string::npos;
  }
  return policy;
}

// A refusal that another attempt of the same agent would meet again.
bool IsFinalRefusal(const absl::Status& status) {
  return absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status) || absl::IsInvalidArgument(status);
}

}  // namespace

AgentState::AgentState(const Options& options, worker::v1::Hello hello, Rng* rng)
    : options_(options),
      hello_(std::move(hello)),
      tasks_(hello_.slots(), options.tasks),
      outbox_(options.events),
      backoff_(options.reconnect, rng) {}

void AgentState::OnStreamClosed(int64_t stream_id, const absl::Status& status, absl::Time now) {
  if (stream_id != stream_id_ || phase_ == Phase::kWaiting || phase_ == Phase::kExited) return;
  phase_ = Phase::kWaiting;
  connect_at_ = now + backoff_.Next();
  heartbeat_at_ = welcome_by_ = absl::InfiniteFuture();
  if (!URSA_PLANTED_BUG(never_send_again)) outbox_.OnDisconnected();
  for (auto& [call_id, call] : calls_) call.sent = false;
  // A wrong token at the first attempt is for a person to mend; later it may be a coordinator that is being replaced. A
  // worker that was removed is no longer wanted, nor is what runs on it.
  if (IsFinalRefusal(status) && (!was_welcome_ || absl::IsPermissionDenied(status))) {
    phase_ = Phase::kExited;
    actions_.push_back(ExitAgent{status});
  }
}

void AgentState::OnMessage(int64_t stream_id, const ConnectResponse& message, absl::Time now) {
  if (stream_id != stream_id_ || (phase_ != Phase::kOpening && phase_ != Phase::kConnected)) return;
  if (phase_ == Phase::kOpening && !message.has_welcome()) {
    URSA_LOG(WARNING) << "coordinator: a message before its welcome, ignored";
    return;
  }
  switch (message.message_case()) {
    case ConnectResponse::kWelcome:
      OnWelcome(message.welcome(), now);
      break;
    case ConnectResponse::kDesired:
      tasks_.SetDesired(message.desired());
      is_offered_ = !message.desired().withheld();
      break;
    case ConnectResponse::kAck:
      outbox_.OnAck(message.ack().sequence());
      break;
    case ConnectResponse::kRendezvous:
      OnRendezvousAnswer(message.rendezvous());
      break;
    case ConnectResponse::kPredict:
      OnPredict(message.predict());
      break;
    case ConnectResponse::MESSAGE_NOT_SET:
      URSA_LOG(WARNING) << "coordinator: a message of an unknown kind, ignored";
      break;
  }
}

void AgentState::OnWelcome(const worker::v1::Welcome& welcome, absl::Time now) {
  if (phase_ != Phase::kOpening) return;
  phase_ = Phase::kConnected;
  was_welcome_ = true;
  welcome_by_ = absl::InfiniteFuture();
  backoff_.Reset();
  if (welcome.heartbeat_millis() > 0) heartbeat_ = absl::Milliseconds(welcome.heartbeat_millis());
  heartbeat_at_ = now;
  if (!welcome.worker_id().empty() && welcome.worker_id() != hello_.worker_id()) {
    hello_.set_worker_id(welcome.worker_id());
    actions_.push_back(KeepWorkerId{welcome.worker_id()});
  }
}

void AgentState::OnPredict(const worker::v1::PredictCall& call) {
  if (const auto key = tasks_.FindProcess(call.task_id(), call.epoch())) {
    actions_.push_back(DeliverPredict{*key, call.input()});
    return;
  }
  TaskEvent event;
  event.mutable_predict()->set_call_id(call.input().call_id());
  for (int i = 0; i < call.input().pictures_size(); ++i)
    event.mutable_predict()->add_answers()->set_error(absl::StrCat("task ", call.task_id(), ": does not run here"));
  outbox_.Add(ProcessKey{call.task_id(), call.epoch(), 0}, std::move(event));
}

void AgentState::OnRendezvousAnswer(const worker::v1::RendezvousResponse& answer) {
  const auto it = calls_.find(answer.call_id());
  if (it == calls_.end()) return;  // given up in the meantime
  if (answer.error().empty()) {
    actions_.push_back(AnswerRendezvous{answer.call_id(), answer.response()});
  } else {
    actions_.push_back(AnswerRendezvous{answer.call_id(), absl::AbortedError(answer.error())});
  }
  calls_.erase(it);
}

void AgentState::OnUploadFailed(int64_t event_id, const absl::Status& status) {
  outbox_.OnUploadFailed(event_id, absl::StrCat("checkpoint: cannot be uploaded, ", status.message()));
}

void AgentState::OnPrinted(const ProcessKey& key, std::vector<worker::v1::LogChunk> chunks) {
  for (worker::v1::LogChunk& chunk : chunks) {
    TaskEvent event;
    *event.mutable_log() = std::move(chunk);
    outbox_.Add(key, std::move(event));
  }
}

void AgentState::OnEnded(const ProcessKey& key, const worker::v1::TaskExited& exited) {
  // What it handed over and found no room has been received all the same: it comes before its end.
  std::deque<Report> others;
  for (Report& report : reports_) {
    if (report.key == key) {
      Accept(std::move(report));
    } else {
      others.push_back(std::move(report));
    }
  }
  reports_ = std::move(others);
  for (auto it = calls_.begin(); it != calls_.end();) {
    if (it->second.key == key) {
      actions_.push_back(AnswerRendezvous{it->first, absl::CancelledError("the task has ended")});
      it = calls_.erase(it);
    } else {
      ++it;
    }
  }
  tasks_.OnEnded(key);
  TaskEvent event;
  *event.mutable_exited() = exited;
  outbox_.Add(key, std::move(event));
}

void AgentState::OnReport(const ProcessKey& key, int64_t report_id, std::vector<TaskEvent> events,
                          std::vector<int64_t> event_ids, absl::Time now) {
  absl::Status refused;
  if (!tasks_.IsRunning(key)) refused = absl::CancelledError(absl::StrCat("task ", key.task_id, ": has ended"));
  for (const TaskEvent& event : events) {
    if (event.ByteSizeLong() > options_.event_bytes_max)
      refused = absl::InvalidArgumentError(
          absl::StrCat("event: ", event.ByteSizeLong(), " bytes, the limit is ", options_.event_bytes_max));
  }
  if (!refused.ok()) {
    for (const int64_t event_id : event_ids) {
      if (event_id != 0) actions_.push_back(ReleaseBlobs{event_id});
    }
    actions_.push_back(AnswerReport{report_id, refused});
    return;
  }
  for (const TaskEvent& event : events) {
    if (event.has_finished()) tasks_.OnFinished(key, now);
  }
  reports_.push_back(Report{key, report_id, std::move(events), std::move(event_ids), now + options_.report_limit});
}

void AgentState::Accept(Report report) {
  for (size_t i = 0; i < report.events.size(); ++i)
    outbox_.Add(report.key, std::move(report.events[i]), report.event_ids[i]);
  actions_.push_back(AnswerReport{report.report_id, absl::OkStatus()});
}

void AgentState::OnRendezvous(const ProcessKey& key, int64_t call_id, StoreRequest request, absl::Time now) {
  if (!tasks_.IsRunning(key)) {
    actions_.push_back(AnswerRendezvous{call_id, absl::CancelledError("the task has ended")});
    return;
  }
  const absl::Time deadline = now + absl::Milliseconds(request.timeout_millis()) + options_.rendezvous_limit;
  calls_.emplace(call_id, Call{key, std::move(request), deadline});
}

bool AgentState::SetSlots(const std::vector<v1::WorkerSlot>& slots) {
  awaits_slots_ = false;
  const auto& known = hello_.slot_states();
  if (std::equal(slots.begin(), slots.end(), known.begin(), known.end(),
                 [](const v1::WorkerSlot& a, const v1::WorkerSlot& b) {
                   return a.SerializeAsString() == b.SerializeAsString();
                 })) {
    return false;
  }
  *hello_.mutable_slot_states() = {slots.begin(), slots.end()};
  are_slots_told_ = false;
  return true;
}

std::vector<AgentAction> AgentState::TakeActions(absl::Time now) {
  if (phase_ != Phase::kExited) {
    StepTasks(now);
    StepReports(now);
    StepRendezvous(now);
    StepConnection(now);
    StepSending(now);
    for (const int64_t event_id : outbox_.TakeReleased()) actions_.push_back(ReleaseBlobs{event_id});
    StepExit(now);
  }
  return std::exchange(actions_, {});
}

void AgentState::StepTasks(absl::Time now) {
  for (TaskTable::Action& action : tasks_.Reconcile(now)) {
    if (auto* refuse = std::get_if<TaskTable::Refuse>(&action)) {
      worker::v1::TaskExited exited;
      exited.set_exit_code(1);
      exited.set_last_words(absl::StrCat("worker: ", refuse->reason));
      OnEnded(refuse->key, exited);
    } else if (auto* start = std::get_if<TaskTable::Start>(&action)) {
      outbox_.SetCheckpointPolicy(start->key, PolicyOf(start->assignment));
      actions_.push_back(std::move(*start));
    } else if (auto* stop = std::get_if<TaskTable::TellStop>(&action)) {
      actions_.push_back(std::move(*stop));
    } else if (auto* reform = std::get_if<TaskTable::Reform>(&action)) {
      actions_.push_back(std::move(*reform));
    } else if (auto* kill = std::get_if<TaskTable::Kill>(&action)) {
      if (kill->unwanted) outbox_.DropWaitingCheckpoints(kill->key);
      actions_.push_back(std::move(*kill));
    }
  }
}

void AgentState::StepReports(absl::Time now) {
  while (!reports_.empty()) {
    Report& report = reports_.front();
    if (outbox_.HasRoom()) {
      Accept(std::move(report));
    } else if (now >= report.deadline) {
      for (const int64_t event_id : report.event_ids) {
        if (event_id != 0) actions_.push_back(ReleaseBlobs{event_id});
      }
      actions_.push_back(AnswerReport{
          report.report_id, absl::ResourceExhaustedError(absl::StrCat(
                                "task ", report.key.task_id, ": cannot keep its events, ", outbox_.num_bytes(),
                                " bytes wait for the coordinator, the limit is ", options_.events.bytes_max, " for ",
                                absl::FormatDuration(options_.report_limit)))});
    } else {
      return;
    }
    reports_.pop_front();
  }
}

void AgentState::StepRendezvous(absl::Time now) {
  for (auto it = calls_.begin(); it != calls_.end();) {
    if (now >= it->second.deadline) {
      actions_.push_back(AnswerRendezvous{
          it->first, absl::DeadlineExceededError(absl::StrCat(
                         "task ", it->second.key.task_id, ": rendezvous, no answer from the coordinator in time"))});
      it = calls_.erase(it);
    } else {
      ++it;
    }
  }
}

void AgentState::StepConnection(absl::Time now) {
  if (phase_ == Phase::kWaiting && now >= connect_at_ && !awaits_slots_) {
    phase_ = Phase::kOpening;
    close_asked_ = false;
    actions_.push_back(OpenStream{++stream_id_});
    welcome_by_ = now + options_.welcome_limit;
    ConnectRequest message;
    *message.mutable_hello() = hello_;
    are_slots_told_ = true;
    for (auto& status : tasks_.Running(now)) *message.mutable_hello()->add_tasks() = std::move(status);
    Send(std::move(message));
  } else if (phase_ == Phase::kOpening && now >= welcome_by_ && !close_asked_) {
    close_asked_ = true;
    welcome_by_ = absl::InfiniteFuture();
    actions_.push_back(CloseStream{stream_id_});
  }
}

void AgentState::StepSending(absl::Time now) {
  if (phase_ == Phase::kConnected) {
    // Before what has happened since on these slots.
    if (!std::exchange(are_slots_told_, true)) {
      ConnectRequest message;
      *message.mutable_slots()->mutable_slots() = hello_.slot_states();
      Send(std::move(message));
    }
    if (now >= heartbeat_at_) {
      heartbeat_at_ = now + heartbeat_;
      ConnectRequest message;  // empty if nothing runs
      for (auto& status : tasks_.Running(now)) *message.mutable_heartbeat()->add_tasks() = std::move(status);
      Send(std::move(message));
    }
    for (auto& [call_id, call] : calls_) {
      if (std::exchange(call.sent, true)) continue;
      ConnectRequest message;
      message.mutable_rendezvous()->set_call_id(call_id);
      message.mutable_rendezvous()->set_task_id(call.key.task_id);
      message.mutable_rendezvous()->set_epoch(call.request.epoch() != 0 ? call.request.epoch() : call.key.epoch);
      *message.mutable_rendezvous()->mutable_request() = call.request;
      Send(std::move(message));
    }
    for (auto& events : outbox_.TakeMessages()) {
      ConnectRequest message;
      *message.mutable_events() = std::move(events);
      Send(std::move(message));
    }
  }
  // Without a coordinator an upload waits as well, and the newest checkpoint should be the one that it finds.
  if (phase_ == Phase::kConnected) {
    for (auto& upload : outbox_.TakeUploads())
      actions_.push_back(UploadBlobs{upload.event_id, std::move(upload.hashes)});
  }
}

void AgentState::StepExit(absl::Time now) {
  if (!shutting_down_ || !tasks_.empty()) return;
  if (!flush_began_.has_value()) flush_began_ = now;
  const absl::Duration limit = connected() ? options_.flush_limit : options_.flush_limit_away;
  const bool flushed = outbox_.empty() && reports_.empty();
  if (!flushed && !in_haste_ && now < *flush_began_ + limit) return;
  if (phase_ != Phase::kWaiting && !close_asked_) actions_.push_back(CloseStream{stream_id_});
  phase_ = Phase::kExited;
  if (!flushed) URSA_LOG(WARNING) << "agent: ends with " << outbox_.num_bytes() << " bytes of events not acknowledged";
  actions_.push_back(ExitAgent{absl::OkStatus()});
}

absl::Time AgentState::NextWakeup() const {
  absl::Time next = std::min(tasks_.NextWakeup(), heartbeat_at_);
  if (phase_ == Phase::kWaiting && !awaits_slots_) next = std::min(next, connect_at_);
  next = std::min(next, welcome_by_);
  if (!reports_.empty()) next = std::min(next, reports_.front().deadline);
  for (const auto& [call_id, call] : calls_) next = std::min(next, call.deadline);
  if (flush_began_.has_value() && phase_ != Phase::kExited)
    next = std::min(next, *flush_began_ + (connected() ? options_.flush_limit : options_.flush_limit_away));
  return next;
}

void AgentState::Send(ConnectRequest message) { actions_.push_back(SendMessage{stream_id_, std::move(message)}); }

}  // namespace ursa
