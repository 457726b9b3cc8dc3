// For tests: the scheduling policy once more, written plainly: lists that are searched from end to end, and every
// "could that ever be" tried out. It shares with the real one the values of gang.h and the formula of decayed use, no
// more.
#ifndef URSA_COORDINATOR_SCHEDULING_POLICY_MODEL_TESTING_H_
#define URSA_COORDINATOR_SCHEDULING_POLICY_MODEL_TESTING_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/scheduling/fair_share.h"
#include "coordinator/scheduling/gang.h"
#include "coordinator/scheduling/options.h"
#include "coordinator/scheduling/policy.h"

namespace ursa {

// The truth about a small cluster with one pool.
struct PolicyModel {
  SchedulingOptions options;
  absl::Time now;
  std::map<int64_t, SchedulerWorker> workers;
  std::map<GangId, WaitingGang> waiting;
  std::map<GangId, RunningGang> running;
  std::map<Owner, DecayedUse> use;
  std::set<GangId> claims;    // for whom gangs were preempted, until their slots have been given to somebody
  int64_t num_backfills = 0;  // that Check has seen

  // Slots that such a gang could use: all, those that are free, those of them that such another one could use too, and
  // those that a running one gives back.
  int64_t Capacity(const GangSpec& spec) const;
  int64_t Free(const GangSpec& spec) const;
  int64_t FreeOfBoth(const GangSpec& spec, const GangSpec& other) const;
  int64_t Gives(const RunningGang& gang, const GangSpec& spec) const;
  int64_t HeldByUser(const Owner& owner) const;
  int64_t HeldByWorkspace(const std::string& workspace) const;
  int64_t HeldByExperiment(int64_t experiment_id) const;
  // Level in the queue: priority and aging, at most 100.
  int32_t LevelOf(const WaitingGang& gang) const;
  // All that may start by the limits, first to last.
  std::vector<GangId> InOrder() const;
  // Who is to start next: with respect to claims and to what the cluster can hold.
  std::optional<GangId> First() const;
  // How many slots of those that the head can use may be taken before it: by trying every set of gangs that may have
  // ended.
  int64_t BackfillAllowance(const WaitingGang& head) const;
  // How many ranks the gang gets of `available` slots.
  int32_t RanksFor(const WaitingGang& gang, int64_t available) const;
  // Checks what was decided, step by step, against what this model would do, and takes it over. Returns what is wrong
  // with it; empty if nothing is.
  std::string Check(const Decisions& decisions);

 private:
  int64_t RoomOf(const Owner& owner) const;
  std::set<GangId> HeldBack() const;
  std::pair<int64_t, int64_t> ScoresOf(const Owner& owner) const;
  absl::Time OrderTime() const;
  int64_t CountFree(const std::function<bool(const SchedulerWorker&)>& counts) const;
  // `head`: of the slots that it could use, at most kept_max may be taken; null: any.
  std::string CheckStart(const GangStart& start, int64_t available, const GangSpec* head, int64_t kept_max);
  // Of the decisions from `next` on, which is moved on.
  std::string CheckPreemptions(const Decisions& decisions, const WaitingGang& head, size_t* next);
  std::string CheckBackfill(const Decisions& decisions, const WaitingGang& head, size_t* next);
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_POLICY_MODEL_TESTING_H_
