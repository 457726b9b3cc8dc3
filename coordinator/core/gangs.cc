#include "coordinator/core/gangs.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"
#include "coordinator/core/checkpoints.h"
#include "coordinator/scheduling/gang_scheduler.h"

namespace ursa {
namespace {

using Outcome = worker::v1::TaskFinished;
using State_ = v1::Experiment;

std::string Name(int64_t experiment_id) { return ExperimentId(experiment_id).ToString(); }

bool HasEnded(const records::ExperimentRecord& experiment) {
  return experiment.state() == State_::STATE_COMPLETED || experiment.state() == State_::STATE_CANCELED ||
         experiment.state() == State_::STATE_ERROR;
}

void SetPhase(const Environment& env, records::Gang::Phase phase, records::Gang* gang) {
  if (gang->phase() == phase) return;
  gang->set_phase(phase);
  *gang->mutable_phase_time() = ToTimestamp(env.clock->Now());
}

void SetState(State_::State state, std::string reason, records::ExperimentRecord* experiment) {
  URSA_LOG(INFO) << "experiment=" << Name(experiment->id()) << " " << State_::State_Name(experiment->state()) << "->"
                 << State_::State_Name(state) << " epoch=" << experiment->epoch() << " reason=\"" << reason << "\"";
  experiment->set_state(state);
  experiment->set_reason(std::move(reason));
}

}  // namespace

std::string TaskName(int64_t experiment_id) { return absl::StrCat("t", experiment_id, ".", kOnlyTrial); }

std::optional<int64_t> ParseTaskName(const std::string& task_id) {
  const size_t dot = task_id.find('.');
  if (dot == std::string::npos || task_id.substr(dot + 1) != std::to_string(kOnlyTrial)) return std::nullopt;
  const auto id = Id<'t'>::Parse(std::string_view(task_id).substr(0, dot));
  if (!id) return std::nullopt;
  return id->number();
}

void Gangs::Schedule(Tx& tx) {
  const State& state = tx.state();
  if (state.queue().empty()) return;
  std::vector<SchedulerWorker> workers;
  std::set<int64_t> usable;
  for (const records::WorkerRecord* record : workers_.UsableWorkers(tx)) {
    SchedulerWorker worker{record->id(), record->kind(), SimdLevel(record->simd()), {}};
    const WorkerLoad& load = state.LoadOf(record->id());
    for (int32_t slot = 0; slot < record->slots(); ++slot) {
      if (!load.slots.count(slot)) worker.free_slots.push_back(slot);
    }
    usable.insert(record->id());
    workers.push_back(std::move(worker));
  }
  if (workers.empty()) return;
  std::vector<RunningGang> running;
  for (const int64_t id : state.gangs()) {
    const auto& experiment = *state.Find<records::ExperimentRecord>(id);
    const auto& ranks = experiment.gang().ranks();
    const auto num_slots = std::count_if(ranks.begin(), ranks.end(), [&usable](const records::Rank& rank) {
      return !rank.gone() && usable.count(rank.worker_id());
    });
    running.push_back({experiment.spec().execution().device(), static_cast<int32_t>(num_slots)});
  }
  std::vector<WaitingGang> waiting;
  for (const auto& [key, id] : state.queue()) {
    if (static_cast<int64_t>(waiting.size()) == env_.options.queue_depth_max) break;
    const auto& spec = state.Find<records::ExperimentRecord>(id)->spec();
    waiting.push_back(
        {id, spec.execution().device(), SimdLevel(spec.execution().simd()), spec.resources().slots_per_trial()});
  }
  for (const GangPlacement& placement : ScheduleGangs(std::move(workers), running, waiting)) {
    records::ExperimentRecord experiment = *state.Find<records::ExperimentRecord>(placement.gang_id);
    experiment.set_epoch(experiment.epoch() + 1);
    records::Gang* gang = experiment.mutable_gang();
    gang->set_epoch(experiment.epoch());
    SetPhase(env_, records::Gang::PHASE_RUNNING, gang);
    for (const RankPlace& place : placement.ranks) {
      records::Rank* rank = gang->add_ranks();
      rank->set_worker_id(place.worker_id);
      rank->set_slot(place.slot);
    }
    records::ProgressRecord progress;
    progress.set_experiment_id(experiment.id());
    if (const records::CheckpointRecord* from = LatestCheckpoint(experiment)) {
      gang->set_model_blob(from->model_blob());
      gang->set_optimizer_blob(from->optimizer_blob());
      gang->set_from_step(from->step());
      progress.set_step(from->step());
      progress.set_epoch(from->epoch());
    }
    experiment.set_resumed_from_step(gang->from_step());
    if (!experiment.has_start_time()) *experiment.mutable_start_time() = ToTimestamp(env_.clock->Now());
    SetState(State_::STATE_RUNNING, "", &experiment);
    tx.Apply(std::move(Mutation().Put(std::move(experiment)).Put(std::move(progress))));
  }
}

bool Gangs::IsCurrent(const Tx& tx, int64_t experiment_id, int64_t epoch) {
  const auto* experiment = tx.state().Find<records::ExperimentRecord>(experiment_id);
  return experiment != nullptr && experiment->has_gang() && experiment->gang().epoch() == epoch &&
         experiment->gang().phase() != records::Gang::PHASE_ENDING;
}

bool Gangs::OnEvent(Tx& tx, int64_t worker_id, const worker::v1::StampedEvent& stamped,
                    const std::set<std::string>& missing_blobs) {
  const auto id = ParseTaskName(stamped.task_id());
  const auto* found = id ? tx.state().Find<records::ExperimentRecord>(*id) : nullptr;
  const int32_t rank = stamped.rank();
  if (found == nullptr || !found->has_gang() || found->gang().epoch() != stamped.epoch() || rank < 0 ||
      rank >= found->gang().ranks_size() || found->gang().ranks(rank).worker_id() != worker_id ||
      found->gang().ranks(rank).gone()) {
    ++num_refused_;
    return false;
  }
  const worker::v1::TaskEvent& event = stamped.event();
  switch (event.event_case()) {
    case worker::v1::TaskEvent::kProgress:
      if (rank == 0) OnProgress(tx, *id, event.progress());
      break;
    case worker::v1::TaskEvent::kMetrics:
      OnMetrics(tx, *found, event.metrics());
      break;
    case worker::v1::TaskEvent::kLog:
      OnLog(tx, *id, stamped.epoch(), rank, event.log());
      break;
    case worker::v1::TaskEvent::kCheckpoint:
    case worker::v1::TaskEvent::kFinished:
    case worker::v1::TaskEvent::kExited: {
      records::ExperimentRecord experiment = *found;
      experiment.mutable_gang()->set_has_started(true);
      records::Rank* record = experiment.mutable_gang()->mutable_ranks(rank);
      if (event.has_checkpoint()) {
        OnCheckpoint(tx, rank, event.checkpoint(), missing_blobs, &experiment);
      } else if (event.has_finished()) {
        record->set_outcome(event.finished().outcome());
        record->set_reason(event.finished().reason());
        if (event.finished().outcome() == Outcome::OUTCOME_STOPPED &&
            experiment.gang().phase() == records::Gang::PHASE_RUNNING) {
          workers_.SetLeaving(worker_id);
        }
      } else {
        const worker::v1::TaskExited& exited = event.exited();
        record->set_gone(true);
        if (record->outcome() == Outcome::OUTCOME_UNSPECIFIED) {
          record->set_reason(exited.signal() != 0 ? absl::StrCat("ended by signal ", exited.signal())
                                                  : absl::StrCat("ended with exit status ", exited.exit_code()));
        }
        if (!exited.last_words().empty() && record->outcome() != Outcome::OUTCOME_COMPLETED) {
          record->set_reason(absl::StrCat(record->reason(), "; its last words: ", exited.last_words()));
        }
      }
      Review(&experiment);
      tx.Put(std::move(experiment));
      break;
    }
    default:
      ++num_refused_;
      return false;
  }
  return true;
}

void Gangs::OnAlive(Tx& tx, int64_t worker_id, const worker::v1::TaskStatus& status) {
  const auto id = ParseTaskName(status.task_id());
  const auto* found = id ? tx.state().Find<records::ExperimentRecord>(*id) : nullptr;
  if (found == nullptr || !found->has_gang() || found->gang().epoch() != status.epoch() ||
      found->gang().has_started()) {
    return;
  }
  const auto& ranks = found->gang().ranks();
  if (std::none_of(ranks.begin(), ranks.end(),
                   [worker_id](const records::Rank& rank) { return rank.worker_id() == worker_id; })) {
    return;
  }
  records::ExperimentRecord experiment = *found;
  experiment.mutable_gang()->set_has_started(true);
  tx.Put(std::move(experiment));
}

void Gangs::OnProgress(Tx& tx, int64_t experiment_id, const worker::v1::TaskProgress& progress) {
  records::ProgressRecord record;
  record.set_experiment_id(experiment_id);
  record.set_step(std::max<int64_t>(0, progress.step()));
  record.set_epoch(std::max(0, progress.epoch()));
  record.set_data_wait_percent(progress.data_wait_percent());
  tx.Put(std::move(record));
}

void Gangs::Fail(records::ExperimentRecord* experiment, int32_t rank, const std::string& why) {
  records::Gang* gang = experiment->mutable_gang();
  // What breaks while a stop is under way goes on from the last checkpoint, as the stop would have.
  if (gang->phase() == records::Gang::PHASE_STOPPING) gang->set_uncounted(true);
  gang->set_failure(why);
  gang->set_failure_rank(rank);
  SetPhase(env_, records::Gang::PHASE_ENDING, gang);
  if (!HasEnded(*experiment)) experiment->set_reason(absl::StrCat("being stopped: ", why));
  URSA_LOG(WARNING) << "experiment=" << Name(experiment->id()) << " epoch=" << gang->epoch() << " gang ends: " << why;
}

void Gangs::Review(records::ExperimentRecord* experiment) {
  records::Gang* gang = experiment->mutable_gang();
  bool all_gone = true;
  for (int32_t r = 0; r < gang->ranks_size(); ++r) {
    const records::Rank& rank = gang->ranks(r);
    all_gone &= rank.gone();
    const auto outcome = rank.outcome();
    if (outcome == Outcome::OUTCOME_USER_ERROR && !gang->user_error()) {
      gang->set_user_error(true);
      Fail(experiment, r, rank.reason());
      continue;
    }
    const bool is_going_on =
        gang->phase() == records::Gang::PHASE_RUNNING || gang->phase() == records::Gang::PHASE_STOPPING;
    if (!is_going_on) continue;
    if (outcome == Outcome::OUTCOME_FAILED || (rank.gone() && outcome == Outcome::OUTCOME_UNSPECIFIED)) {
      Fail(experiment, r, absl::StrCat("rank ", r, ": ", rank.reason()));
    } else if (outcome == Outcome::OUTCOME_STOPPED) {
      SetPhase(env_, records::Gang::PHASE_STOPPING, gang);
    } else if (outcome == Outcome::OUTCOME_COMPLETED && r == 0) {
      if (experiment->trained_to_step() > 0) {
        SetPhase(env_, records::Gang::PHASE_FINISHED, gang);
        SetState(State_::STATE_COMPLETED, "", experiment);
        *experiment->mutable_end_time() = ToTimestamp(env_.clock->Now());
      } else {
        Fail(experiment, r, "rank 0: it ended without its last checkpoint");
      }
    }
  }
  if (all_gone) Conclude(experiment);
}

void Gangs::Conclude(records::ExperimentRecord* experiment) {
  const records::Gang gang = experiment->gang();
  experiment->clear_gang();
  if (HasEnded(*experiment)) return;
  const bool pauses = experiment->wanted() == records::ExperimentRecord::WANTED_PAUSE;
  if (gang.failure().empty()) {
    SetState(pauses ? State_::STATE_PAUSED : State_::STATE_QUEUED, pauses ? "" : "its worker stopped it", experiment);
    return;
  }
  std::string why = gang.failure();
  // The rank's own words may have come after the failure was seen.
  if (gang.failure_rank() < gang.ranks_size()) {
    const std::string& reason = gang.ranks(gang.failure_rank()).reason();
    if (reason.size() > why.size()) why = absl::StrCat("rank ", gang.failure_rank(), ": ", reason);
  }
  const int32_t max_restarts = experiment->spec().max_restarts();
  if (gang.user_error()) {
    *experiment->mutable_end_time() = ToTimestamp(env_.clock->Now());
    SetState(State_::STATE_ERROR, why, experiment);
  } else if (pauses) {
    SetState(State_::STATE_PAUSED, absl::StrCat("stopped without a new checkpoint: ", why), experiment);
  } else if (gang.uncounted()) {
    SetState(State_::STATE_QUEUED, absl::StrCat("starts again: ", why), experiment);
  } else if (experiment->restarts() >= max_restarts) {
    *experiment->mutable_end_time() = ToTimestamp(env_.clock->Now());
    SetState(State_::STATE_ERROR,
             absl::StrCat("failed after ", experiment->restarts(), " restarts (max_restarts is ", max_restarts,
                          "), at last: ", why),
             experiment);
  } else {
    experiment->set_restarts(experiment->restarts() + 1);
    SetState(State_::STATE_QUEUED,
             absl::StrCat("restart ", experiment->restarts(), " of at most ", max_restarts, " after: ", why),
             experiment);
  }
}

void Gangs::OnWorkerGone(Tx& tx, int64_t worker_id, const std::string& why) {
  const std::set<int64_t> experiments = tx.state().LoadOf(worker_id).experiments;
  for (const int64_t id : experiments) {
    records::ExperimentRecord experiment = *tx.state().Find<records::ExperimentRecord>(id);
    records::Gang* gang = experiment.mutable_gang();
    int32_t failed_rank = -1;
    for (int32_t r = 0; r < gang->ranks_size(); ++r) {
      records::Rank* rank = gang->mutable_ranks(r);
      if (rank->worker_id() != worker_id || rank->gone()) continue;
      rank->set_gone(true);
      const bool is_done = rank->outcome() == Outcome::OUTCOME_COMPLETED || rank->outcome() == Outcome::OUTCOME_STOPPED;
      if (!is_done && failed_rank < 0) failed_rank = r;
      if (rank->outcome() == Outcome::OUTCOME_UNSPECIFIED) rank->set_reason(why);
    }
    const bool is_going_on =
        gang->phase() == records::Gang::PHASE_RUNNING || gang->phase() == records::Gang::PHASE_STOPPING;
    if (failed_rank >= 0 && is_going_on) {
      if (!gang->has_started()) gang->set_uncounted(true);
      Fail(&experiment, failed_rank, why);
    }
    Review(&experiment);
    tx.Put(std::move(experiment));
  }
}

void Gangs::EndUncounted(Tx& tx, int64_t experiment_id, int64_t epoch, const std::string& why) {
  if (!IsCurrent(tx, experiment_id, epoch)) return;
  records::ExperimentRecord experiment = *tx.state().Find<records::ExperimentRecord>(experiment_id);
  if (experiment.gang().phase() == records::Gang::PHASE_FINISHED) return;
  experiment.mutable_gang()->set_uncounted(true);
  Fail(&experiment, 0, why);
  tx.Put(std::move(experiment));
}

void Gangs::RequestStop(const Environment& env, records::ExperimentRecord* experiment) {
  if (experiment->gang().phase() == records::Gang::PHASE_RUNNING) {
    SetPhase(env, records::Gang::PHASE_STOPPING, experiment->mutable_gang());
  }
}

void Gangs::RequestEnd(const Environment& env, records::ExperimentRecord* experiment) {
  if (experiment->has_gang()) SetPhase(env, records::Gang::PHASE_ENDING, experiment->mutable_gang());
}

void Gangs::AddOrders(const Tx& tx, int64_t worker_id, worker::v1::DesiredState* desired) const {
  for (const int64_t id : tx.state().LoadOf(worker_id).experiments) {
    const auto& experiment = *tx.state().Find<records::ExperimentRecord>(id);
    const records::Gang& gang = experiment.gang();
    if (gang.phase() == records::Gang::PHASE_ENDING) continue;
    worker::v1::TaskOrder* order = desired->add_orders();
    order->set_stop(gang.phase() == records::Gang::PHASE_STOPPING);
    worker::v1::TaskAssignment* assignment = order->mutable_assignment();
    assignment->set_task_id(TaskName(id));
    assignment->set_epoch(gang.epoch());
    assignment->set_world_size(gang.ranks_size());
    for (int32_t r = 0; r < gang.ranks_size(); ++r) {
      if (gang.ranks(r).worker_id() != worker_id || gang.ranks(r).gone()) continue;
      assignment->add_ranks(r);
      order->add_slots(gang.ranks(r).slot());
    }
    assignment->set_device(experiment.spec().execution().device());
    assignment->set_threads(experiment.spec().execution().threads_per_rank());
    assignment->set_log_name(Name(id));
    worker::v1::TrainAssignment* train = assignment->mutable_train();
    *train->mutable_spec() = experiment.spec();
    train->set_manifest_hash(experiment.manifest_hash());
    *train->mutable_classes() = experiment.classes();
    train->set_model_blob(gang.model_blob());
    train->set_optimizer_blob(gang.optimizer_blob());
    train->set_resumed_from_step(gang.from_step());
  }
}

void Gangs::Tick(Tx& tx) {
  const absl::Time now = env_.clock->Now();
  std::vector<int64_t> overdue;
  for (const int64_t id : tx.state().gangs()) {
    const records::Gang& gang = tx.state().Find<records::ExperimentRecord>(id)->gang();
    if (gang.phase() == records::Gang::PHASE_FINISHED &&
        now - FromTimestamp(gang.phase_time()) >= env_.options.finish_time) {
      overdue.push_back(id);
    }
  }
  for (const int64_t id : overdue) {
    records::ExperimentRecord experiment = *tx.state().Find<records::ExperimentRecord>(id);
    SetPhase(env_, records::Gang::PHASE_ENDING, experiment.mutable_gang());
    tx.Put(std::move(experiment));
  }
}

}  // namespace ursa
