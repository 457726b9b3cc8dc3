// All that scheduling knows of the cluster, as a value kept by deltas.
#ifndef URSA_COORDINATOR_SCHEDULING_CLUSTER_VIEW_H_
#define URSA_COORDINATOR_SCHEDULING_CLUSTER_VIEW_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "coordinator/scheduling/fair_share.h"
#include "coordinator/scheduling/gang.h"
#include "coordinator/scheduling/options.h"
#include "coordinator/scheduling/policy.h"
#include "coordinator/scheduling/pool.h"
#include "coordinator/scheduling/wait_reason.h"

namespace ursa {

// The cluster as the scheduler sees it: workers, gangs that run and wait, use, and the time. No clock, no lock, no
// randomness: the same content gives the same decisions, and a view built anew from what the deltas said is equal to
// the one kept by them. Whoever owns it tells it of every change; a change costs O(log n), and so does a decision; but
// one that preempts costs that for each gang that has started since the last that did. A decision that finds nothing to
// do for a pool costs a fraction of a microsecond; pools in which nothing changed are not looked at.
class ClusterView {
 public:
  // The use of a user that should be put on record.
  struct UserUse {
    PoolKey pool;
    Owner owner;
    DecayedUse use;
  };
  struct QueueItem {
    GangId id;
    PoolKey pool;
    int64_t position = 0;  // from 1 in its pool, as of now
    WaitReason reason;
  };

  // Valid options.
  explicit ClusterView(const SchedulingOptions& options) : options_(options) {}

  // Adds a worker or changes it. One that has changed its pool gets nothing new until what runs there for the other
  // pool is gone.
  void PutWorker(const SchedulerWorker& worker);
  void RemoveWorker(int64_t worker_id);

  // Adds a gang or changes it, in whatever state it was before. The slots of a running one must not be another's: when
  // several gangs change at a time, first Remove those that have given slots back.
  void PutWaiting(const WaitingGang& gang);
  void PutRunning(const RunningGang& gang);
  void Remove(const GangId& id);

  // What was put on record. When a view is built anew: after all PutRunning, at the same time.
  void SetUse(const UserUse& use);
  // Time never goes back: an earlier one changes nothing. Returns whether there may be something to decide because of
  // it: waiting has changed an order, or the protection of a running gang has ended.
  bool SetTime(absl::Time now);

  // Decides (policy.h) for each pool in which something changed, and goes on from there: what starts runs from now on,
  // and a victim is stopping.
  Decisions Schedule();

  // Whose use has changed since the last call: because a gang of theirs started or ended, or because what was left of
  // it counts for nothing any more; then it is DecayedUse().
  std::vector<UserUse> TakeChangedUse();

  // A free slot of that kind in any pool, for what does not wait in the queue; nothing if all are taken.
  std::optional<RankPlace> FindFreeSlot(const std::string& kind) const;

  // Null if it has never had a worker or a gang.
  const Pool* FindPool(const PoolKey& key) const;
  // Nothing if it does not wait.
  std::optional<WaitReason> WhyWaits(const GangId& id) const;
  // What waits, by pool, in the order in which it would start; at most `num_max` of each pool.
  std::vector<QueueItem> ListQueue(size_t num_max) const;

  absl::Time now() const { return now_; }

  // Everything, as text in a fixed order. Equal contents have equal exports.
  std::string DebugExport() const;

 private:
  struct Gang {
    int32_t pool = 0;
    int32_t handle = 0;
    bool is_running = false;
  };
  struct Worker {
    SchedulerWorker worker;
    int32_t pool = 0;
  };

  int32_t PoolIndex(const PoolKey& key);
  // The pool, which will be looked at by the next Schedule.
  Pool& Touch(int32_t index);
  // Out of its pool.
  void TakeOut(const Gang& gang);
  // Tells its pool of the worker: it is usable there when no gang of another pool holds slots on it.
  void ApplyWorker(const Worker& worker);
  // The same for those of `places` that are of another pool.
  void ApplyForeignWorkers(const std::vector<RankPlace>& places, int32_t pool);

  SchedulingOptions options_;
  absl::Time now_ = absl::InfinitePast();
  std::map<PoolKey, int32_t> pool_indexes_;
  std::vector<Pool> pools_;
  std::vector<bool> is_touched_;  // by pool
  absl::flat_hash_map<GangId, Gang> gangs_;
  absl::flat_hash_map<int64_t, Worker> workers_;
  // Whether a usable worker has ever been held by a gang of another pool: nearly never, and then none need be looked
  // for.
  bool has_foreign_ = false;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_CLUSTER_VIEW_H_
