// One resource pool: its workers, what runs there and what waits.
#ifndef URSA_COORDINATOR_SCHEDULING_POOL_H_
#define URSA_COORDINATOR_SCHEDULING_POOL_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/time/time.h"
#include "coordinator/scheduling/fair_share.h"
#include "coordinator/scheduling/free_slots.h"
#include "coordinator/scheduling/gang.h"
#include "coordinator/scheduling/handle_table.h"
#include "coordinator/scheduling/options.h"
#include "coordinator/scheduling/size_counts.h"
#include "coordinator/scheduling/waiting_queue.h"

namespace ursa {

// What ClusterView holds of one pool. A value: changed by deltas alone, each of which costs O(log n) for a gang of a
// few ranks; the same content gives the same decisions, in whatever order the deltas came. Handles are good until the
// gang is removed or started. Nothing here decides: policy.h does.
class Pool {
 public:
  static constexpr int32_t kNone = -1;

  // A gang that runs.
  struct Running {
    GangId id;
    int32_t user = 0;
    int32_t priority = 0;
    std::optional<int32_t> experiment_slots_max;
    std::vector<RankPlace> places;
    absl::Time start;
    absl::Time checkpoint;
    int32_t protected_level = 0;
    absl::Time protected_until;
    bool stopping = false;
    std::optional<GangId> preempted_for;
    bool is_filed = false;        // in the order of preemption
    int32_t to_be_filed = kNone;  // where it is among those that belong there
    SlotsByLevel gives{};         // slots that come back to usable workers of this pool when it ends
    bool in_use = false;          // else the entry is nobody's
  };
  // Gangs are stopping so that a waiting one can have their slots.
  struct Claim {
    int32_t num_stopping = 0;
    int32_t waiting = kNone;  // handle of the one that it is for; kNone when it no longer waits
  };

  // Gangs that run, are not stopping and give slots back, so sorted that those which should be preempted first are
  // found without looking at the others: in groups of one priority and one size, and in each group those first that
  // lose the least work (the newest checkpoint; which stays so as time goes on), of these the latest started.
  struct PreemptionKey {
    int64_t checkpoint_nanos = 0;  // since the epoch
    int64_t start_nanos = 0;
    GangId id;
    int32_t running = kNone;
    friend bool operator<(const PreemptionKey& a, const PreemptionKey& b) {
      if (a.checkpoint_nanos != b.checkpoint_nanos) return a.checkpoint_nanos > b.checkpoint_nanos;
      if (a.start_nanos != b.start_nanos) return a.start_nanos > b.start_nanos;
      return a.id < b.id;
    }
  };
  struct PreemptionGroup {
    int64_t num_ranks = 0;
    SlotsByLevel gives{};
    absl::btree_set<PreemptionKey> gangs;  // never empty

    bool IsOf(const Running& running) const {
      return num_ranks == static_cast<int64_t>(running.places.size()) && gives == running.gives;
    }
    friend bool operator<(const PreemptionGroup& a, const PreemptionGroup& b) {
      return std::tie(a.num_ranks, a.gives) < std::tie(b.num_ranks, b.gives);
    }
  };
  // By priority; the groups of one ascending. They are few: gangs come in few sizes.
  using PreemptionOrder = std::array<std::vector<PreemptionGroup>, kPriorityMax + 1>;

  Pool(PoolKey key, const SchedulingOptions& options);

  void PutWorker(const SchedulerWorker& worker);
  void RemoveWorker(int64_t worker_id);

  int32_t AddWaiting(const WaitingGang& gang);
  void RemoveWaiting(int32_t handle);
  // Takes the slots that it holds, which must be nobody's.
  int32_t AddRunning(const RunningGang& gang, absl::Time now);
  void RemoveRunning(int32_t handle, absl::Time now);
  // It goes on where it is, with other times, another priority, or stopping.
  void UpdateRunning(int32_t handle, const RunningGang& gang);
  // The waiting gang starts on slots chosen by the request, and waits no longer. If aging had raised it, it is
  // protected for aged_run_min. Returns its handle as a running one.
  int32_t Start(int32_t waiting, const SlotRequest& request, absl::Time now);
  // The running gang is to end for the good of the waiting one.
  void Preempt(int32_t running, int32_t waiting);
  // Claims outlive the last stopping gang until this, so that whoever they were for can take its slots.
  void DropEmptyClaims();

  // What is on record about a user. After all AddRunning when a pool is built anew.
  void SetUse(const Owner& owner, const DecayedUse& use);
  bool SetTime(absl::Time now) { return queue_.SetTime(now); }
  std::vector<int32_t> TakeChangedUsers() { return queue_.shares().TakeChanged(); }

  const PoolKey& key() const { return key_; }
  const SchedulingOptions& options() const { return options_; }
  const FreeSlots& slots() const { return slots_; }
  const WaitingQueue& queue() const { return queue_; }
  const absl::btree_map<GangId, Claim>& claims() const { return claims_; }
  const Running& running(int32_t handle) const { return running_[handle]; }
  // Those that are not in use among them.
  const HandleTable<Running>& all_running() const { return running_; }
  // What each gang gives back to workers of this level or above; those that give nothing left out.
  const SizeCounts& running_sizes(int32_t level) const { return sizes_[static_cast<size_t>(level)]; }
  // The sum of it for gangs that are stopping, and for those of a lower priority that are not.
  int64_t num_stopping(int32_t level) const { return num_stopping_[static_cast<size_t>(level)]; }
  int64_t NumBelow(int32_t priority, int32_t level) const;
  // What the running gang gives back of the slots that `job` could use.
  int64_t GivesTo(const Running& running, const WaitingQueue::Job& job) const;
  // The sum of it over gangs that are stopping; with labels it looks at every running gang.
  int64_t NumStoppingFor(const WaitingQueue::Job& job) const;
  // The sizes of it over all gangs; looks at every running gang (running_sizes has those for jobs without labels).
  SizeCounts RunningSizesFor(const WaitingQueue::Job& job) const;
  // O(log n) for each gang that has started since the last call: most end without anybody having had to give way.
  const PreemptionOrder& preemption_order() {
    FileInOrder();
    return preemption_order_;
  }

  // Everything, as text in a fixed order. Equal contents have equal exports.
  std::string DebugExport() const;

 private:
  Running& mutable_running(int32_t handle) { return running_[handle]; }
  int32_t NewRunning();
  // Adds what a running gang means for sums, order and claims (sign 1) or takes it away (sign -1).
  void Count(int32_t handle, int sign);
  void PutInOrder(int32_t handle);
  void TakeOutOfOrder(int32_t handle);
  void FileInOrder();
  std::vector<PreemptionGroup>::iterator GroupOf(const Running& running);
  // The gang holds its places from now on (sign 1), or no longer (sign -1).
  void ChargeHeld(const Running& running, int sign, absl::Time now);
  // Takes over what may change while a gang runs.
  static void SetTerms(const RunningGang& gang, Running* running);
  SlotsByLevel GivesOf(const Running& running) const { return slots_.GivenBack(running.places, kNoLabels); }
  void Recount(int32_t handle);
  void SetClaimant(const GangId& id, int32_t waiting);

  PoolKey key_;
  SchedulingOptions options_;
  FreeSlots slots_;
  WaitingQueue queue_;
  HandleTable<Running> running_;
  std::array<SizeCounts, kNumSimdLevels> sizes_;
  SlotsByLevel num_stopping_{};
  std::array<SlotsByLevel, kAboveAllPriorities + 1> num_by_priority_{};  // not stopping
  PreemptionOrder preemption_order_;
  std::vector<int32_t> to_be_filed_;  // handles of those that belong there and are not there yet
  absl::btree_map<GangId, Claim> claims_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_POOL_H_
