// Which trials run where: keeps the scheduler's view of the cluster in step with the state, and carries out what the
// policy decides.
#ifndef URSA_COORDINATOR_CORE_SCHEDULER_H_
#define URSA_COORDINATOR_CORE_SCHEDULER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/gangs.h"
#include "coordinator/core/workers.h"
#include "coordinator/scheduling/cluster_view.h"
#include "experiments/spec.h"
#include "ursa/v1/experiments.pb.h"

namespace ursa {

// Owns the ClusterView, all in memory: built from the records at the start, and told of every change by Sync. What
// the policy decides is put on record by Gangs. Guarded by the coordinator's lock: every method takes a transaction.
class Scheduler {
 public:
  Scheduler(const Environment* env, Workers* workers, Gangs* gangs)
      : env_(*env), workers_(*workers), gangs_(*gangs), view_(env->options.scheduling) {}

  // Builds the view. Once, after Workers::Restore.
  void Restore(Tx& tx);

  // Takes over what has changed, and stops what stands on drained workers. Before HoldSlot and Decide.
  void Sync(Tx& tx, const Changes& changes);
  // Finds places for the ranks that gangs have lost, before anybody else takes them: those that they had, else others
  // of the pool. Returns the gangs that have a new epoch.
  std::vector<TrialId> Reform(Tx& tx);
  // Starts and preempts. Returns what has started.
  std::vector<TrialId> Decide(Tx& tx);
  // A free slot of that kind in any pool, from now on held by the auxiliary task, which the caller puts on record
  // there; nothing if all are taken.
  std::optional<RankPlace> HoldSlot(const Tx& tx, const std::string& kind, int64_t aux_task_id);

  // What the pool's machines offer to a new experiment (pool_offer.h); remembered until a worker changes.
  absl::StatusOr<ResolveContext> OfferOf(const Tx& tx, const std::string& pool);

  // Lets the order of the queue change with time.
  void Tick(Tx& tx);

  // Why it waits, in plain words; empty if it does not.
  std::string WhyWaits(const Tx& tx, const TrialId& id) const;
  absl::StatusOr<v1::ListQueueResponse> ListQueue(const Tx& tx, const v1::ListQueueRequest& request) const;

 private:
  // A free slot for the rank that is gone, its own before others, and none of `taken`.
  std::optional<RankPlace> FindPlace(const Tx& tx, const records::TrialRecord& trial, const records::Rank& gone,
                                     const std::set<std::pair<int64_t, int32_t>>& taken) const;
  void SyncTrial(const Tx& tx, const TrialId& id);
  void SyncAuxTask(const Tx& tx, int64_t id);
  void SyncWorker(const Tx& tx, int64_t id);
  void PutUsage(Tx& tx);

  const Environment& env_;
  Workers& workers_;
  Gangs& gangs_;
  ClusterView view_;
  std::set<TrialId> reforming_;                   // gangs that have lost a rank
  std::map<std::string, ResolveContext> offers_;  // by pool
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_SCHEDULER_H_
