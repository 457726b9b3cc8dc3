#include "coordinator/core/gangs.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/planted_bug.h"
#include "coordinator/core/checkpoints.h"
#include "coordinator/core/failure_policy.h"
#include "coordinator/core/trials.h"
#include "coordinator/state/task_name.h"

namespace ursa {
namespace {

using Outcome = worker::v1::TaskFinished;
using State_ = v1::Experiment;

TrialId IdOf(const records::TrialRecord& trial) { return {trial.experiment_id(), trial.number()}; }

bool IsGoingOn(const records::Gang& gang) {
  return gang.phase() == records::Gang::PHASE_RUNNING || gang.phase() == records::Gang::PHASE_STOPPING ||
         gang.phase() == records::Gang::PHASE_REFORMING;
}

// Whether it ends because a rank has lost another, of whose end nothing is known.
bool IsPeersLoss(const records::Gang& gang) {
  const int32_t rank = FailedRank(gang);
  return gang.phase() == records::Gang::PHASE_ENDING && !gang.failure().empty() && rank < gang.ranks_size() &&
         gang.ranks(rank).cause() == Outcome::CAUSE_PEER_LOST;
}

void SetPhase(const Environment& env, records::Gang::Phase phase, records::Gang* gang) {
  if (gang->phase() == phase) return;
  gang->set_phase(phase);
  *gang->mutable_phase_time() = ToTimestamp(env.clock->Now());
}

void OnExited(const worker::v1::TaskExited& exited, records::Rank* rank) {
  rank->set_gone(true);
  if (rank->outcome() == Outcome::OUTCOME_UNSPECIFIED) {
    rank->set_reason(exited.signal() != 0 ? absl::StrCat("ended by signal ", exited.signal())
                                          : absl::StrCat("ended with exit status ", exited.exit_code()));
  }
  const bool says_more = exited.last_words().find(rank->reason()) == std::string::npos;
  if (says_more && !exited.last_words().empty() && rank->outcome() != Outcome::OUTCOME_COMPLETED) {
    rank->set_reason(absl::StrCat(rank->reason(), "; its last words: ", exited.last_words()));
  }
}

}  // namespace

void Gangs::Start(Tx& tx, const TrialId& id, const GangStart& start) {
  records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(id);
  if (!URSA_PLANTED_BUG(reuse_epoch) || trial.epoch() == 0) trial.set_epoch(trial.epoch() + 1);
  records::Gang* gang = trial.mutable_gang();
  gang->set_epoch(trial.epoch());
  gang->set_until_epoch(trial.until_epoch());
  SetPhase(env_, records::Gang::PHASE_RUNNING, gang);
  gang->set_pool(trial.demand().pool());
  *gang->mutable_start_time() = gang->phase_time();
  gang->set_protected_level(start.protected_level);
  if (start.protected_until != absl::InfinitePast()) {
    *gang->mutable_protected_until() = ToTimestamp(start.protected_until);
  }
  for (const RankPlace& place : start.ranks) {
    records::Rank* rank = gang->add_ranks();
    rank->set_worker_id(place.worker_id);
    rank->set_slot(place.slot);
    rank->set_joining(true);
  }
  records::ProgressRecord progress;
  progress.set_experiment_id(id.first);
  progress.set_trial(id.second);
  if (const records::CheckpointRecord* from = LatestCheckpoint(trial)) {
    gang->set_model_blob(from->model_blob());
    gang->set_optimizer_blob(from->optimizer_blob());
    gang->set_from_step(from->step());
    progress.set_step(from->step());
    progress.set_epoch(from->epoch());
  }
  trial.set_resumed_from_step(gang->from_step());
  if (!trial.has_start_time()) *trial.mutable_start_time() = ToTimestamp(env_.clock->Now());
  SetTrialState(State_::STATE_RUNNING, "", &trial);
  tx.Apply(std::move(Mutation().Put(std::move(trial)).Put(std::move(progress))));
}

void Gangs::Preempt(Tx& tx, const TrialId& id, const TrialId& for_whom) {
  records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(id);
  const int32_t priority = tx.state().Find<records::TrialRecord>(for_whom)->demand().priority();
  RequestMove(env_, absl::StrCat("preempted by ", ExperimentId(for_whom.first).ToString(), " of priority ", priority),
              &trial);
  trial.mutable_gang()->set_preempted_for_experiment(for_whom.first);
  trial.mutable_gang()->set_preempted_for_trial(for_whom.second);
  URSA_LOG(INFO) << "task=" << TaskName(id) << " RUNNING->STOPPING epoch=" << trial.epoch() << " reason=\""
                 << trial.gang().stop_why() << "\"";
  tx.Put(std::move(trial));
}

void Gangs::StopOn(Tx& tx, int64_t worker_id, const std::string& why) {
  const std::set<TrialId> trials = tx.state().LoadOf(worker_id).trials;
  for (const TrialId& id : trials) {
    const auto& found = *tx.state().Find<records::TrialRecord>(id);
    if (found.gang().phase() != records::Gang::PHASE_RUNNING) continue;  // one that is re-formed looks by itself
    records::TrialRecord trial = found;
    RequestMove(env_, why, &trial);
    tx.Put(std::move(trial));
  }
}

bool Gangs::IsCurrent(const Tx& tx, const TrialId& id, int64_t epoch) {
  const auto* trial = tx.state().Find<records::TrialRecord>(id);
  return trial != nullptr && trial->has_gang() && trial->gang().epoch() == epoch &&
         trial->gang().phase() != records::Gang::PHASE_ENDING && !IsParting(trial->gang());
}

bool Gangs::OnEvent(Tx& tx, int64_t worker_id, const worker::v1::StampedEvent& stamped,
                    const std::set<std::string>& missing_blobs) {
  const auto id = ParseTaskName(stamped.task_id());
  const auto* found = id ? tx.state().Find<records::TrialRecord>(*id) : nullptr;
  const int32_t rank = stamped.rank();
  const bool is_known = found != nullptr && found->has_gang() && rank >= 0 && rank < found->gang().ranks_size();
  const bool is_stale = is_known && ProcessEpoch(found->gang(), rank) != stamped.epoch();
  if (!is_known || (is_stale && !URSA_PLANTED_BUG(drop_fencing)) ||
      found->gang().ranks(rank).worker_id() != worker_id || found->gang().ranks(rank).gone()) {
    ++num_refused_;
    return false;
  }
  Hear(tx, *id, rank);
  found = tx.state().Find<records::TrialRecord>(*id);
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
    case worker::v1::TaskEvent::kLostGroup:
      OnLostGroup(tx, *id, rank, event.lost_group());
      break;
    case worker::v1::TaskEvent::kJoinedGroup: {
      records::TrialRecord trial = *found;
      trial.mutable_gang()->mutable_ranks(rank)->set_joining(false);
      tx.Put(std::move(trial));
      break;
    }
    case worker::v1::TaskEvent::kCheckpoint:
    case worker::v1::TaskEvent::kFinished:
    case worker::v1::TaskEvent::kExited: {
      records::TrialRecord trial = *found;
      if (event.has_checkpoint()) {
        OnCheckpoint(tx, rank, event.checkpoint(), missing_blobs, &trial);
      } else if (event.has_finished()) {
        OnFinished(rank, event.finished(), &trial);
      } else {
        OnExited(event.exited(), trial.mutable_gang()->mutable_ranks(rank));
      }
      Review(tx, &trial);
      tx.Put(std::move(trial));
      break;
    }
    default:
      ++num_refused_;
      return false;
  }
  return true;
}

void Gangs::OnFinished(int32_t rank, const worker::v1::TaskFinished& finished, records::TrialRecord* trial) {
  records::Rank* record = trial->mutable_gang()->mutable_ranks(rank);
  record->set_outcome(finished.outcome());
  record->set_reason(finished.reason());
  record->set_cause(finished.cause());
  if (URSA_PLANTED_BUG(release_early)) record->set_gone(true);
  if (finished.outcome() == Outcome::OUTCOME_STOPPED && trial->gang().phase() == records::Gang::PHASE_RUNNING) {
    // Nobody asked for it: a worker is about to end. Which one, the ranks cannot tell, they stop together.
    std::set<int64_t> worker_ids;
    for (const records::Rank& other : trial->gang().ranks()) worker_ids.insert(other.worker_id());
    workers_.SetLeaving(worker_ids);
  }
}

void Gangs::OnLostGroup(Tx& tx, const TrialId& id, int32_t rank, const worker::v1::LostGroup& lost) {
  records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(id);
  records::Gang* gang = trial.mutable_gang();
  if (lost.epoch() != gang->epoch() || !IsGoingOn(*gang) || URSA_PLANTED_BUG(ignore_lost_group)) return;
  if (IsParting(*gang)) return;  // that is why it ends
  const std::string why = absl::StrCat("rank ", rank, ": ", lost.reason());
  if (CanReform(tx, trial, Loss::kUnknown)) {
    BeginReform(tx, &trial, rank, why, Loss::kUnknown);
  } else {
    gang->mutable_ranks(rank)->set_cause(Outcome::CAUSE_PEER_LOST);
    gang->mutable_ranks(rank)->set_reason(lost.reason());
    Fail(&trial, rank, why);
  }
  tx.Put(std::move(trial));
}

void Gangs::OnAlive(Tx& tx, int64_t worker_id, const worker::v1::TaskStatus& status) {
  const auto id = ParseTaskName(status.task_id());
  const auto* found = id ? tx.state().Find<records::TrialRecord>(*id) : nullptr;
  const int32_t rank = status.rank();
  if (found == nullptr || !found->has_gang() || rank < 0 || rank >= found->gang().ranks_size() ||
      ProcessEpoch(found->gang(), rank) != status.epoch() || found->gang().ranks(rank).worker_id() != worker_id) {
    return;
  }
  Hear(tx, *id, rank);
}

void Gangs::Hear(Tx& tx, const TrialId& id, int32_t rank) {
  const auto& found = *tx.state().Find<records::TrialRecord>(id);
  seen_.insert({id, ProcessEpoch(found.gang(), rank), rank});
  // One that was started in the place of another has joined only when it says so.
  const bool is_first = found.gang().ranks(rank).joining() && found.gang().ranks(rank).epoch() == 0;
  if (found.gang().has_started() && !is_first) return;
  records::TrialRecord trial = found;
  trial.mutable_gang()->set_has_started(true);
  if (is_first) trial.mutable_gang()->mutable_ranks(rank)->set_joining(false);
  tx.Put(std::move(trial));
}

bool Gangs::IsUnseen(const TrialId& id, const records::Gang& gang, int32_t rank, int64_t worker_id) const {
  return gang.ranks(rank).worker_id() == worker_id && !gang.ranks(rank).gone() &&
         !seen_.contains({id, ProcessEpoch(gang, rank), rank});
}

void Gangs::OnHeartbeat(Tx& tx, int64_t worker_id, const worker::v1::Heartbeat& heartbeat) {
  for (const worker::v1::TaskStatus& status : heartbeat.tasks()) OnAlive(tx, worker_id, status);
  // An order, and that it is withdrawn, arrive in this order on one stream, and a new stream begins with all orders.
  if (URSA_PLANTED_BUG(wait_for_the_unseen)) return;
  const auto& trials = tx.state().LoadOf(worker_id).trials;
  if (trials.empty()) return;
  const absl::Time due = env_.clock->Now() - env_.options.unseen_time;
  if (workers_.ConnectedSince(worker_id) > due) return;
  std::vector<TrialId> overdue;
  for (const TrialId& id : trials) {
    const records::Gang& gang = tx.state().Find<records::TrialRecord>(id)->gang();
    if (gang.phase() != records::Gang::PHASE_ENDING || FromTimestamp(gang.phase_time()) > due) continue;
    for (int32_t r = 0; r < gang.ranks_size(); ++r) {
      if (!IsUnseen(id, gang, r, worker_id)) continue;
      overdue.push_back(id);
      break;
    }
  }
  for (const TrialId& id : overdue) {
    records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(id);
    for (int32_t r = 0; r < trial.gang().ranks_size(); ++r) {
      if (!IsUnseen(id, trial.gang(), r, worker_id)) continue;
      records::Rank* rank = trial.mutable_gang()->mutable_ranks(r);
      rank->set_gone(true);
      rank->set_reason("never started: it was withdrawn before");
      URSA_LOG(INFO) << "task=" << TaskName(id) << " epoch=" << trial.epoch() << " rank=" << r
                     << " never started, counts as gone";
    }
    Review(tx, &trial);
    tx.Put(std::move(trial));
  }
}

void Gangs::OnProgress(Tx& tx, const TrialId& id, const worker::v1::TaskProgress& progress) {
  records::ProgressRecord record;
  record.set_experiment_id(id.first);
  record.set_trial(id.second);
  record.set_step(std::max<int64_t>(0, progress.step()));
  record.set_epoch(std::max(0, progress.epoch()));
  record.set_data_wait_percent(progress.data_wait_percent());
  tx.Put(std::move(record));
}

void Gangs::Fail(records::TrialRecord* trial, int32_t rank, const std::string& why) {
  records::Gang* gang = trial->mutable_gang();
  // What breaks while a stop is under way goes on from the last checkpoint, as the stop would have.
  // A gang that was to be formed anew has been counted when that began, if the cause was known.
  const bool is_unexplained = gang->phase() == records::Gang::PHASE_REFORMING && gang->unexplained();
  if (gang->phase() != records::Gang::PHASE_RUNNING && !is_unexplained) gang->set_uncounted(true);
  gang->set_failure(why);
  gang->set_failure_rank(rank);
  SetPhase(env_, records::Gang::PHASE_ENDING, gang);
  if (!HasEnded(trial->state())) trial->set_reason(absl::StrCat("being stopped: ", why));
  URSA_LOG(WARNING) << "task=" << TaskName(IdOf(*trial)) << " epoch=" << gang->epoch() << " gang ends: " << why;
}

namespace {

// Whether it was started in the place of another, and has not got its state yet.
bool IsToJoin(const records::Rank& rank) { return rank.joining() && rank.epoch() != 0 && !rank.gone(); }

}  // namespace

void Gangs::Review(Tx& tx, records::TrialRecord* trial) {
  records::Gang* gang = trial->mutable_gang();
  bool all_gone = true;
  for (int32_t r = 0; r < gang->ranks_size(); ++r) {
    const records::Rank& rank = gang->ranks(r);
    all_gone &= rank.gone();
    if (gang->done()) continue;
    const auto outcome = rank.outcome();
    if (outcome == Outcome::OUTCOME_USER_ERROR && !gang->user_error()) {
      gang->set_user_error(true);
      Fail(trial, r, rank.reason());
      continue;
    }
    if (!IsGoingOn(*gang)) continue;
    if (IsParting(*gang) && r != gang->parting_rank()) continue;  // it ends with that one, however it does
    const bool has_died = rank.gone() && outcome == Outcome::OUTCOME_UNSPECIFIED;
    const bool is_done = outcome == Outcome::OUTCOME_COMPLETED || outcome == Outcome::OUTCOME_REACHED;
    if (has_died && CanReform(tx, *trial, Loss::kRank)) {
      BeginReform(tx, trial, r, absl::StrCat("rank ", r, ": ", rank.reason()), Loss::kRank);
    } else if (has_died || outcome == Outcome::OUTCOME_FAILED) {
      Fail(trial, r, absl::StrCat("rank ", r, ": ", rank.reason()));
    } else if (outcome == Outcome::OUTCOME_STOPPED) {
      SetPhase(env_, IsParting(*gang) ? records::Gang::PHASE_ENDING : records::Gang::PHASE_STOPPING, gang);
    } else if (is_done && (r == 0 || URSA_PLANTED_BUG(any_rank_completes))) {
      OnDone(tx, r, outcome == Outcome::OUTCOME_COMPLETED, trial);
    } else if (is_done && std::any_of(gang->ranks().begin(), gang->ranks().end(), IsToJoin)) {
      // It has done its work with a rank whose worker counts as lost. That one's successor waits for it in vain.
      gang->set_uncounted(true);  // it was when the worker was lost
      Fail(trial, r, absl::StrCat("rank ", r, ": it ended with the group that was lost"));
    }
  }
  if (all_gone) Conclude(tx, trial);
}

void Gangs::OnDone(const Tx& tx, int32_t rank, bool is_trained, records::TrialRecord* trial) {
  const records::CheckpointRecord* latest = LatestCheckpoint(*trial);
  if (is_trained ? trial->trained_to_step() == 0 : latest == nullptr || latest->epoch() < trial->gang().until_epoch()) {
    return Fail(trial, rank, "rank 0: it ended without its last checkpoint");
  }
  records::Gang* gang = trial->mutable_gang();
  SetPhase(env_, records::Gang::PHASE_FINISHED, gang);
  gang->set_done(true);
  if (!trial->closed_why().empty()) {
    EndClosedTrial(env_, trial);
  } else if (is_trained) {
    EndTrial(env_, State_::STATE_COMPLETED, "", trial);
  } else {
    const bool pauses = Trials::Pauses(tx, *trial);
    const bool goes_on = trial->until_epoch() != gang->until_epoch();  // promoted meanwhile
    if (goes_on) {
      SetTrialState(pauses ? State_::STATE_PAUSED : State_::STATE_QUEUED, "", trial);
    } else {
      trial->set_waits_for_search(true);
      SetTrialState(State_::STATE_PAUSED, absl::StrCat("trained ", latest->epoch(), " epochs, waits for the search"),
                    trial);
    }
  }
}

void Gangs::Conclude(Tx& tx, records::TrialRecord* trial) {
  const records::Gang gang = trial->gang();
  for (int32_t r = 0; r < gang.ranks_size(); ++r) seen_.erase({IdOf(*trial), ProcessEpoch(gang, r), r});
  trial->clear_gang();
  if (HasEnded(trial->state()) || gang.done()) return;
  if (!trial->closed_why().empty()) return EndClosedTrial(env_, trial);  // with what it has, however the gang ended
  const bool pauses = Trials::Pauses(tx, *trial);
  if (!pauses) {
    const absl::Time now = env_.clock->Now();
    const absl::Time start = gang.has_start_time() ? FromTimestamp(gang.start_time()) : now;
    const absl::Time since = FromTimestamp(trial->demand().queue_time());
    *trial->mutable_demand()->mutable_queue_time() =
        ToTimestamp(WaitsSince(env_.options.scheduling, since, start, now));
  }
  if (gang.failure().empty()) {
    const std::string why = gang.stop_why().empty() ? "its worker stopped it" : gang.stop_why();
    SetTrialState(pauses ? State_::STATE_PAUSED : State_::STATE_QUEUED, pauses ? "" : why, trial);
    return;
  }
  Remedy(tx, gang, trial);
}

void Gangs::Remedy(Tx& tx, const records::Gang& gang, records::TrialRecord* trial) {
  const auto& experiment = *tx.state().Find<records::ExperimentRecord>(trial->experiment_id());
  const int32_t failed = FailedRank(gang);
  std::string why = gang.failure();
  // The rank's own words may have come after the failure was seen.
  if (failed < gang.ranks_size()) {
    const records::Rank& rank = gang.ranks(failed);
    if (failed != gang.failure_rank() || rank.reason().size() > why.size()) {
      why = absl::StrCat("rank ", failed, ": ", rank.reason());
    }
    if (!gang.uncounted() && !gang.user_error() && !gang.worker_lost()) {
      workers_.Strike(tx, rank.worker_id(), IdOf(*trial), rank.cause(), why);
    }
  }
  const ursa::Remedy remedy = RemedyFor(gang);
  const int32_t max_restarts = experiment.spec().max_restarts();
  if (remedy == ursa::Remedy::kEnd) {
    EndTrial(env_, State_::STATE_ERROR, why, trial);
  } else if (Trials::Pauses(tx, *trial)) {
    SetTrialState(State_::STATE_PAUSED, absl::StrCat("stopped without a new checkpoint: ", why), trial);
  } else if (remedy == ursa::Remedy::kAgain) {
    const std::string first = gang.stop_why().empty() ? "starts again" : absl::StrCat(gang.stop_why(), ", then");
    SetTrialState(State_::STATE_QUEUED, absl::StrCat(first, ": ", why), trial);
  } else if (remedy == ursa::Remedy::kMove) {
    if (trial->moves() >= env_.options.moves_max) {
      return EndTrial(env_, State_::STATE_ERROR,
                      absl::StrCat("failed after ", trial->moves(), " moves (at most ", env_.options.moves_max,
                                   "), at last: ", why),
                      trial);
    }
    trial->set_moves(trial->moves() + 1);
    SetTrialState(State_::STATE_QUEUED, absl::StrCat("moved, after: ", why), trial);
  } else if (trial->restarts() >= max_restarts) {
    EndTrial(env_, State_::STATE_ERROR,
             absl::StrCat("failed after ", trial->restarts(), " restarts (max_restarts is ", max_restarts,
                          "), at last: ", why),
             trial);
  } else {
    if (!URSA_PLANTED_BUG(forget_restarts)) trial->set_restarts(trial->restarts() + 1);
    SetTrialState(State_::STATE_QUEUED,
                  absl::StrCat("restart ", trial->restarts(), " of at most ", max_restarts, " after: ", why), trial);
  }
}

void Gangs::OnWorkerGone(Tx& tx, int64_t worker_id, const std::string& why) {
  if (URSA_PLANTED_BUG(keep_lost_ranks)) return;
  const std::set<TrialId> trials = tx.state().LoadOf(worker_id).trials;
  for (const TrialId& id : trials) {
    records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(id);
    records::Gang* gang = trial.mutable_gang();
    int32_t failed_rank = -1;
    for (int32_t r = 0; r < gang->ranks_size(); ++r) {
      records::Rank* rank = gang->mutable_ranks(r);
      if (rank->worker_id() != worker_id || rank->gone()) continue;
      rank->set_gone(true);
      const bool is_done = rank->outcome() == Outcome::OUTCOME_COMPLETED ||
                           rank->outcome() == Outcome::OUTCOME_REACHED || rank->outcome() == Outcome::OUTCOME_STOPPED;
      if (!is_done && failed_rank < 0) failed_rank = r;
      if (rank->outcome() == Outcome::OUTCOME_UNSPECIFIED) rank->set_reason(why);
    }
    if (failed_rank >= 0 && CanReform(tx, trial, Loss::kWorker)) {
      BeginReform(tx, &trial, failed_rank, why, Loss::kWorker);
    } else if (failed_rank >= 0 && IsGoingOn(*gang) &&
               !(IsParting(*gang) && !gang->ranks(gang->parting_rank()).gone())) {
      gang->set_worker_lost(true);
      if (!gang->has_started()) gang->set_uncounted(true);
      Fail(&trial, failed_rank, why);
    } else if (failed_rank >= 0 && IsPeersLoss(*gang)) {
      gang->set_worker_lost(true);  // that is what the other rank has seen
    }
    Review(tx, &trial);
    tx.Put(std::move(trial));
  }
}

void Gangs::EndUncounted(Tx& tx, const TrialId& id, int64_t epoch, const std::string& why) {
  if (!IsCurrent(tx, id, epoch)) return;
  records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(id);
  if (trial.gang().done()) return;
  trial.mutable_gang()->set_uncounted(true);
  Fail(&trial, 0, why);
  tx.Put(std::move(trial));
}

void Gangs::EndStalled(Tx& tx, const TrialId& id, int32_t rank, const std::string& why) {
  records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(id);
  if (!IsGoingOn(trial.gang())) return;
  trial.mutable_gang()->mutable_ranks(rank)->set_reason(why);
  Fail(&trial, rank, why);
  tx.Put(std::move(trial));
}

void Gangs::RequestStop(const Environment& env, records::TrialRecord* trial) {
  if (trial->gang().phase() == records::Gang::PHASE_RUNNING) {
    SetPhase(env, records::Gang::PHASE_STOPPING, trial->mutable_gang());
  }
}

void Gangs::RequestMove(const Environment& env, const std::string& why, records::TrialRecord* trial) {
  records::Gang* gang = trial->mutable_gang();
  if (gang->phase() == records::Gang::PHASE_REFORMING && BeginParting(env, why, gang)) return;
  if (gang->phase() == records::Gang::PHASE_REFORMING) {  // nobody can checkpoint
    gang->set_uncounted(true);
    gang->set_failure(why);
    SetPhase(env, records::Gang::PHASE_ENDING, gang);
    return;
  }
  if (gang->phase() != records::Gang::PHASE_RUNNING) return;
  RequestStop(env, trial);
  gang->set_stop_why(why);
}

void Gangs::RequestEnd(const Environment& env, records::TrialRecord* trial) {
  if (trial->has_gang()) SetPhase(env, records::Gang::PHASE_ENDING, trial->mutable_gang());
}

void Gangs::AddOrders(const Tx& tx, int64_t worker_id, worker::v1::DesiredState* desired) const {
  for (const TrialId& id : tx.state().LoadOf(worker_id).trials) {
    const auto& experiment = *tx.state().Find<records::ExperimentRecord>(id.first);
    const auto& trial = *tx.state().Find<records::TrialRecord>(id);
    const records::Gang& gang = trial.gang();
    if (gang.phase() == records::Gang::PHASE_ENDING) continue;
    worker::v1::TaskOrder* order = desired->add_orders();
    order->set_stop(gang.phase() == records::Gang::PHASE_STOPPING);
    order->set_parting_rank(gang.parting_rank());
    worker::v1::TaskAssignment* assignment = order->mutable_assignment();
    assignment->set_task_id(TaskName(id));
    assignment->set_epoch(gang.epoch());
    assignment->set_world_size(gang.ranks_size());
    bool joins = false;
    for (int32_t r = 0; r < gang.ranks_size(); ++r) {
      joins |= ProcessEpoch(gang, r) < gang.epoch();
      if (gang.ranks(r).worker_id() != worker_id || gang.ranks(r).gone()) continue;
      assignment->add_ranks(r);
      assignment->add_rank_epochs(ProcessEpoch(gang, r));
      order->add_slots(gang.ranks(r).slot());
    }
    if (!joins) assignment->clear_rank_epochs();
    assignment->set_device(trial.demand().kind());
    assignment->set_threads(experiment.spec().execution().threads_per_rank());
    assignment->set_log_name(ExperimentId(id.first).ToString());
    worker::v1::TrainAssignment* train = assignment->mutable_train();
    *train->mutable_spec() = SpecOfTrial(experiment, trial);
    train->set_manifest_hash(experiment.manifest_hash());
    *train->mutable_classes() = experiment.classes();
    train->set_model_blob(gang.model_blob());
    train->set_optimizer_blob(gang.optimizer_blob());
    train->set_resumed_from_step(gang.from_step());
    train->set_until_epoch(gang.until_epoch());
    train->set_joins(joins);
  }
}

void Gangs::Tick(Tx& tx) {
  const absl::Time now = env_.clock->Now();
  std::vector<TrialId> overdue;
  for (const TrialId& id : tx.state().gangs()) {
    const records::Gang& gang = tx.state().Find<records::TrialRecord>(id)->gang();
    if ((gang.phase() == records::Gang::PHASE_FINISHED || IsParting(gang)) &&
        now - FromTimestamp(gang.phase_time()) >= env_.options.finish_time) {
      overdue.push_back(id);
    }
  }
  for (const TrialId& id : overdue) {
    records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(id);
    SetPhase(env_, records::Gang::PHASE_ENDING, trial.mutable_gang());
    tx.Put(std::move(trial));
  }
}

}  // namespace ursa
