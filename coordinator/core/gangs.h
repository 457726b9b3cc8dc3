// Training tasks: starting gangs of ranks, hearing of them, ending them, starting them again.
#ifndef URSA_COORDINATOR_CORE_GANGS_H_
#define URSA_COORDINATOR_CORE_GANGS_H_

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/workers.h"
#include "coordinator/scheduling/policy.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa {

// What the ranks of a trial's task do, as Gang in storage/v1 keeps it:
//
//   (queued) --1--> RUNNING --2--> FINISHED --6--> (completed, or waits for its search)
//                    | ^ | `---3--> STOPPING --6--> (paused, or queued again with its old place)
//                    | 8 | `---4--> ENDING --6--> (queued again, or error; canceled)
//                    7 |            STOPPING --5--> ENDING
//                  REFORMING --5--> ENDING
//   1 all ranks have slots: a new fencing epoch            2 rank 0 is done and the last checkpoint is committed
//   3 a pause, a preemption, a drain; a worker that ends    4 a rank failed, or it is canceled
//     stops its tasks by itself                             5 as 4; or there is no place for the rank that is gone
//   6 all processes are gone                                7 a rank died, or has lost the group; others live
//   8 a new epoch: the others go on with their state, and one is started for each that is gone
//
// Slots are free when a rank is gone. What comes from another process than the gang's, by its epoch, is refused. What a
// failure leads to is failure_policy.h's to say; a stop for the cluster's sake (Gang.stop_why) counts against nothing.
// Guarded by the coordinator's lock: every method takes a transaction.
class Gangs {
 public:
  Gangs(const Environment* env, Workers* workers) : env_(*env), workers_(*workers) {}

  // Carries out what the scheduler has decided: a new gang, and the stop of one for another.
  void Start(Tx& tx, const TrialId& id, const GangStart& start);
  void Preempt(Tx& tx, const TrialId& id, const TrialId& for_whom);
  // Stops the gangs of the worker, with checkpoints; they are queued again.
  void StopOn(Tx& tx, int64_t worker_id, const std::string& why);

  // An event of a rank that stands on that worker. `missing_blobs`: those named by checkpoints that are not stored.
  // Returns whether it was taken; false: from a stale epoch, or not one of this worker's ranks.
  bool OnEvent(Tx& tx, int64_t worker_id, const worker::v1::StampedEvent& event,
               const std::set<std::string>& missing_blobs);

  // What a worker says lives there. A rank that is no longer wanted and that nobody has heard of, ever, counts as gone
  // after a while: its order was withdrawn before the agent saw it, so nothing will be said of its end.
  void OnHeartbeat(Tx& tx, int64_t worker_id, const worker::v1::Heartbeat& heartbeat);

  void OnWorkerGone(Tx& tx, int64_t worker_id, const std::string& why);

  // Ends the gang, if it has one that is of that epoch, as failed for a reason that is not the job's.
  void EndUncounted(Tx& tx, const TrialId& id, int64_t epoch, const std::string& why);

  // Fencing epoch of the rank's process: what it says is stamped with it. Older than the gang's if the gang was
  // re-formed.
  static int64_t ProcessEpoch(const records::Gang& gang, int32_t rank);

  // Gangs that are being re-formed, and may be now: those that count as living can be asked, and a rank is gone or has
  // had the time to be found so. One whose worker has no stream is waited for: the worker comes back, or it is lost.
  bool IsReadyToReform(const Tx& tx, const TrialId& id) const;
  // A new epoch, in which the ranks that live keep their processes, and those that are gone are started at `places`,
  // in the order of ranks. False: the gang ends, as nothing explains what it lost, and it has no restarts left.
  bool Reform(Tx& tx, const TrialId& id, const std::vector<RankPlace>& places);
  // There is no place for the ranks that are gone. The gang parts: the first rank that has the state checkpoints where
  // it stands, so that no step is lost, and the gang ends. If none has it, it starts anew from its last checkpoint.
  void GiveUpReform(Tx& tx, const TrialId& id);

  // The gang stands still because of that rank: it fails.
  void EndStalled(Tx& tx, const TrialId& id, int32_t rank, const std::string& why);

  // The gang is to end, with a checkpoint (pause) or without (cancel); the experiment's record says what then.
  static void RequestStop(const Environment& env, records::TrialRecord* trial);
  static void RequestEnd(const Environment& env, records::TrialRecord* trial);
  // The same as a pause, but it is queued again, and says why.
  static void RequestMove(const Environment& env, const std::string& why, records::TrialRecord* trial);

  void AddOrders(const Tx& tx, int64_t worker_id, worker::v1::DesiredState* desired) const;

  // Whether that epoch of the trial's task is the present one and may meet for a rendezvous.
  static bool IsCurrent(const Tx& tx, const TrialId& id, int64_t epoch);

  void Tick(Tx& tx);

  // Events that were refused since the start.
  int64_t num_refused() const { return num_refused_; }

 private:
  void OnAlive(Tx& tx, int64_t worker_id, const worker::v1::TaskStatus& status);
  // The rank's process is known to have started.
  void Hear(Tx& tx, const TrialId& id, int32_t rank);
  bool IsUnseen(const TrialId& id, const records::Gang& gang, int32_t rank, int64_t worker_id) const;
  void OnMetrics(Tx& tx, const records::TrialRecord& trial, const worker::v1::MetricPoints& metrics);
  void OnLog(Tx& tx, const TrialId& id, int64_t epoch, int32_t rank, const worker::v1::LogChunk& log);
  void OnProgress(Tx& tx, const TrialId& id, const worker::v1::TaskProgress& progress);
  void OnCheckpoint(Tx& tx, int32_t rank, const worker::v1::CheckpointSaved& saved,
                    const std::set<std::string>& missing_blobs, records::TrialRecord* trial);
  void OnFinished(int32_t rank, const worker::v1::TaskFinished& finished, records::TrialRecord* trial);
  void OnLostGroup(Tx& tx, const TrialId& id, int32_t rank, const worker::v1::LostGroup& lost);
  // Looks at what the ranks have said, moves the gang on, and ends it when all ranks are gone.
  void Review(Tx& tx, records::TrialRecord* trial);
  // Rank 0 has done what the gang was started for.
  void OnDone(const Tx& tx, int32_t rank, bool is_trained, records::TrialRecord* trial);
  void Conclude(Tx& tx, records::TrialRecord* trial);
  // What becomes of a trial whose gang failed.
  void Remedy(Tx& tx, const records::Gang& gang, records::TrialRecord* trial);
  void Fail(records::TrialRecord* trial, int32_t rank, const std::string& why);
  // Why a group is lost: a worker's loss counts as a move, another death as a restart. What is not known is counted
  // when it is, or when the gang is formed anew.
  enum class Loss { kUnknown, kRank, kWorker };
  // Whether the others can go on without those that are gone; and that they will.
  bool CanReform(const Tx& tx, const records::TrialRecord& trial, Loss loss) const;
  void BeginReform(Tx& tx, records::TrialRecord* trial, int32_t rank, const std::string& why, Loss loss);
  // A gang that cannot be re-formed stops. False: nobody is there to checkpoint.
  static bool BeginParting(const Environment& env, const std::string& why, records::Gang* gang);
  static bool IsParting(const records::Gang& gang);

  const Environment& env_;
  Workers& workers_;
  // Processes of present gangs that have been heard of since this process began, by trial, epoch and rank. What has
  // been heard of will be heard to end: its agent keeps that until it is acknowledged.
  absl::flat_hash_set<std::tuple<TrialId, int64_t, int32_t>> seen_;
  int64_t num_refused_ = 0;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_GANGS_H_
