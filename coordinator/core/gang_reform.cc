// Gangs that lose a rank and go on: the others keep their state, and another is started in the place of the one that is
// gone. Nothing that was trained is lost, and nothing is read from a checkpoint.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/planted_bug.h"
#include "coordinator/core/failure_policy.h"
#include "coordinator/core/gangs.h"
#include "coordinator/core/trials.h"
#include "coordinator/state/task_name.h"

namespace ursa {
namespace {

using Outcome = worker::v1::TaskFinished;

// Ranks say that they have lost the group before the death of the one that is gone is known: it is waited for.
constexpr absl::Duration kDeathKnownIn = absl::Milliseconds(500);

}  // namespace

int64_t Gangs::ProcessEpoch(const records::Gang& gang, int32_t rank) {
  const int64_t own = gang.ranks(rank).epoch();
  return own != 0 ? own : gang.epoch();
}

bool Gangs::CanReform(const Tx& tx, const records::TrialRecord& trial, Loss loss) const {
  const records::Gang& gang = trial.gang();
  if (gang.phase() != records::Gang::PHASE_RUNNING && gang.phase() != records::Gang::PHASE_REFORMING) return false;
  if (!gang.has_started() || gang.ranks_size() < 2) return false;
  bool has_state = false;
  for (const records::Rank& rank : gang.ranks()) {
    // One that said something at its end failed by itself, or is done: that is for failure_policy.h.
    if (rank.outcome() != Outcome::OUTCOME_UNSPECIFIED) return false;
    // Of the first group, too, one that was never heard of may have no state.
    has_state |= !rank.gone() && !rank.joining();
  }
  if (!has_state && !URSA_PLANTED_BUG(reform_without_state)) return false;
  const bool is_counted = gang.phase() == records::Gang::PHASE_REFORMING && !gang.unexplained();
  if (is_counted || loss == Loss::kUnknown) return true;
  if (loss == Loss::kWorker) return trial.moves() < env_.options.moves_max;
  const auto& experiment = *tx.state().Find<records::ExperimentRecord>(trial.experiment_id());
  return trial.restarts() < experiment.spec().max_restarts();
}

void Gangs::BeginReform(Tx& tx, records::TrialRecord* trial, int32_t rank, const std::string& why, Loss loss) {
  records::Gang* gang = trial->mutable_gang();
  const bool has_begun = gang->phase() == records::Gang::PHASE_REFORMING;
  if (has_begun && (!gang->unexplained() || loss == Loss::kUnknown)) return;
  if (!has_begun) {
    gang->set_phase(records::Gang::PHASE_REFORMING);
    *gang->mutable_phase_time() = ToTimestamp(env_.clock->Now());
  }
  gang->set_reform_why(why);
  gang->set_unexplained(loss == Loss::kUnknown);
  const TrialId id(trial->experiment_id(), trial->number());
  if (loss == Loss::kWorker) {
    trial->set_moves(trial->moves() + 1);
  } else if (loss == Loss::kRank) {
    trial->set_restarts(trial->restarts() + 1);
    workers_.Strike(tx, gang->ranks(rank).worker_id(), id, Outcome::CAUSE_UNSPECIFIED, why);
  }
  trial->set_reason(absl::StrCat("forms its group anew after: ", why));
  URSA_LOG(WARNING) << "task=" << TaskName(id) << " epoch=" << gang->epoch() << (has_begun ? "" : " RUNNING->REFORMING")
                    << " reason=\"" << why << "\"";
}

bool Gangs::IsReadyToReform(const Tx& tx, const TrialId& id) const {
  const auto* trial = tx.state().Find<records::TrialRecord>(id);
  if (trial == nullptr || trial->gang().phase() != records::Gang::PHASE_REFORMING) return false;
  const auto& ranks = trial->gang().ranks();
  const absl::Time began = FromTimestamp(trial->gang().phase_time());
  const absl::Time due = env_.clock->Now() - kDeathKnownIn;
  const bool is_known = std::any_of(ranks.begin(), ranks.end(), [](const records::Rank& rank) { return rank.gone(); });
  if (!is_known && began > due) return false;
  // What has happened while a worker had no stream, it says right after it is back.
  return std::all_of(ranks.begin(), ranks.end(), [&](const records::Rank& rank) {
    return rank.gone() || workers_.ConnectedSince(rank.worker_id()) <= std::max(began, due);
  });
}

bool Gangs::Reform(Tx& tx, const TrialId& id, const std::vector<RankPlace>& places) {
  records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(id);
  records::Gang* gang = trial.mutable_gang();
  if (gang->unexplained() && !CanReform(tx, trial, Loss::kRank)) {
    Fail(&trial, 0, gang->reform_why());
    tx.Put(std::move(trial));
    return false;
  }
  if (gang->unexplained()) trial.set_restarts(trial.restarts() + 1);
  gang->set_unexplained(false);
  trial.set_epoch(trial.epoch() + 1);
  auto place = places.begin();
  bool is_drained = false;
  for (int32_t r = 0; r < gang->ranks_size(); ++r) {
    records::Rank* rank = gang->mutable_ranks(r);
    if (rank->gone()) {
      seen_.erase({id, ProcessEpoch(*gang, r), r});
      rank->Clear();
      rank->set_worker_id(place->worker_id);
      rank->set_slot(place->slot);
      rank->set_epoch(trial.epoch());
      rank->set_joining(true);
      ++place;
    } else {
      rank->set_epoch(ProcessEpoch(*gang, r));
      is_drained |= tx.state().Find<records::WorkerRecord>(rank->worker_id())->drained();
    }
  }
  gang->set_epoch(trial.epoch());
  gang->set_phase(records::Gang::PHASE_RUNNING);
  *gang->mutable_phase_time() = ToTimestamp(env_.clock->Now());
  gang->clear_reform_why();
  trial.set_reason("");
  URSA_LOG(INFO) << "task=" << TaskName(id) << " REFORMING->RUNNING epoch=" << trial.epoch()
                 << " new_ranks=" << places.size();
  // What was asked for meanwhile.
  if (Trials::Pauses(tx, trial)) {
    RequestStop(env_, &trial);
  } else if (is_drained) {
    RequestMove(env_, "moves off a worker that is being drained", &trial);
  }
  tx.Put(std::move(trial));
  return true;
}

void Gangs::GiveUpReform(Tx& tx, const TrialId& id) {
  records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(id);
  const std::string why = trial.gang().reform_why();
  if (BeginParting(env_, why, trial.mutable_gang())) {
    trial.set_reason(absl::StrCat("checkpoints, as there is no slot in place of the one that is lost: ", why));
    URSA_LOG(WARNING) << "task=" << TaskName(id) << " epoch=" << trial.epoch()
                      << " REFORMING->STOPPING reason=\"no slot for the ranks that are gone\"";
    return tx.Put(std::move(trial));
  }
  int32_t failed = 0;
  while (failed + 1 < trial.gang().ranks_size() && !trial.gang().ranks(failed).gone()) ++failed;
  Fail(&trial, failed, why);
  Review(tx, &trial);
  tx.Put(std::move(trial));
}

bool Gangs::BeginParting(const Environment& env, const std::string& why, records::Gang* gang) {
  const auto has_state = [](const records::Rank& rank) {
    return !rank.gone() && !rank.joining() && rank.outcome() == Outcome::OUTCOME_UNSPECIFIED;
  };
  const auto keeper = std::find_if(gang->ranks().begin(), gang->ranks().end(), has_state);
  if (keeper == gang->ranks().end()) return false;
  gang->set_parting_rank(static_cast<int32_t>(keeper - gang->ranks().begin()));
  gang->set_phase(records::Gang::PHASE_STOPPING);
  *gang->mutable_phase_time() = ToTimestamp(env.clock->Now());
  gang->set_stop_why(why);
  return true;
}

bool Gangs::IsParting(const records::Gang& gang) {
  return gang.phase() == records::Gang::PHASE_STOPPING && !gang.reform_why().empty();
}

}  // namespace ursa
