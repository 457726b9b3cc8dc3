#include "client/slurm/controller.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa::slurm {
namespace {

constexpr int kQueueItemsMax = 1000;  // of each pool: the first of them; the server's own limit

const char* WordOf(Action::Kind kind) {
  switch (kind) {
    case Action::Kind::kSubmit:
      return "submit";
    case Action::Kind::kCancel:
      return "cancel";
    case Action::Kind::kDrain:
      return "drain";
    case Action::Kind::kAskToEnd:
      return "ask to end";
    case Action::Kind::kKill:
      return "kill";
  }
  return "";
}

PoolWorker::State StateOf(const v1::Worker& worker) {
  switch (worker.state()) {
    case v1::Worker::STATE_ALIVE:
      return PoolWorker::State::kAlive;
    case v1::Worker::STATE_DRAINED:
      return PoolWorker::State::kDrained;
    case v1::Worker::STATE_SET_ASIDE:
      return PoolWorker::State::kSetAside;
    default:
      return PoolWorker::State::kLost;
  }
}

}  // namespace

View MakeView(const v1::ListQueueResponse& queue, const std::vector<v1::Worker>& workers, std::vector<Job> jobs,
              const std::string& pool, const std::string& kind) {
  View view;
  for (const v1::QueueItem& item : queue.items()) {
    if (item.pool() == pool && item.kind() == kind)
      view.waiting.push_back({item.trial_id(), item.slots(), item.reason()});
  }
  for (const v1::Worker& worker : workers) {
    if (worker.pool() != pool || worker.kind() != kind) continue;
    view.workers.push_back({worker.id(), StateOf(worker), worker.slots(), worker.free(),
                            absl::FromUnixSeconds(worker.last_seen_time().seconds())});
  }
  view.jobs = std::move(jobs);
  return view;
}

absl::StatusOr<Decision> Controller::Pass() {
  v1::ListQueueRequest request;
  request.set_page_size(kQueueItemsMax);
  // The three are not of one moment: what Plan() sees in passing, such as a worker that its job does not name yet, it
  // waits out.
  URSA_ASSIGN_OR_RETURN(std::vector<Job> jobs, slurm_->ListJobs());
  URSA_ASSIGN_OR_RETURN(const v1::ListQueueResponse queue, client_->ListQueue(request));
  URSA_ASSIGN_OR_RETURN(const std::vector<v1::Worker> workers, client_->ListWorkers());
  const BatchJobOptions& job = slurm_->job();
  const absl::Time now = clock_->Now();
  Decision decision = Plan(options_.plan, MakeView(queue, workers, std::move(jobs), job.pool, job.kind), memory_, now);
  memory_ = decision.memory;
  SayNotes(decision.notes);
  for (const Action& action : decision.actions) {
    Event event{WordOf(action.kind), action.job, action.worker, action.why, false};
    const absl::Status status = options_.dry_run ? absl::OkStatus() : Do(action, &event);
    event.failed = !status.ok();
    if (event.failed) absl::StrAppend(&event.why, "; failed: ", status.message());
    say_(event);
    if (status.ok() || action.kind != Action::Kind::kSubmit) continue;
    NoteFailedStart(options_.plan, std::string(status.message()), now, &memory_);
    break;  // the next would be refused too
  }
  return decision;
}

absl::Status Controller::Do(const Action& action, Event* event) {
  switch (action.kind) {
    case Action::Kind::kSubmit: {
      URSA_ASSIGN_OR_RETURN(event->job, slurm_->Submit());
      return absl::OkStatus();
    }
    case Action::Kind::kDrain:
      return client_->DrainWorker("workers/" + action.worker).status();
    case Action::Kind::kAskToEnd:
      return slurm_->AskToEnd(action.job);
    case Action::Kind::kCancel:
    case Action::Kind::kKill:
      return slurm_->Cancel(action.job);
  }
  return absl::OkStatus();
}

void Controller::SayNotes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes) {
    if (said_notes_.count(note) == 0) say_({"note", 0, "", note, false});
  }
  said_notes_ = {notes.begin(), notes.end()};
}

}  // namespace ursa::slurm
