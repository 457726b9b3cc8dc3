// Gangs that do not go on: why, and the end of those that stand still for too long.
#ifndef URSA_COORDINATOR_CORE_HANG_DOCTOR_H_
#define URSA_COORDINATOR_CORE_HANG_DOCTOR_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/gangs.h"
#include "coordinator/doctor/diagnosis.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa {

// Owns what the ranks last said of where they are; in memory only, heartbeats bring it again after a restart. Guarded
// by the coordinator's lock: every method takes a transaction.
class HangDoctor {
 public:
  HangDoctor(const Environment* env, Gangs* gangs) : env_(*env), gangs_(*gangs) {}

  // A process lives, and may say where it is; ignored if it is none of the gang's of now.
  void OnStatus(const Tx& tx, int64_t worker_id, const worker::v1::TaskStatus& status);
  // A new stream of the worker: while it was away nothing could be heard, so waiting starts anew.
  void OnReconnected(const Tx& tx, int64_t worker_id);

  // Why the gang of the trial does not go on, in one sentence; empty if it does, or nothing is known.
  std::string Explain(const Tx& tx, const TrialId& id) const;

  // Ends gangs of which nothing moved for CoordinatorOptions::stall_limit, as a failure of the rank that is late.
  void Tick(Tx& tx);

 private:
  struct Watch {
    int64_t epoch = 0;
    absl::Time began;                              // nothing before counts
    std::vector<std::optional<RankReport>> ranks;  // of each rank
  };

  // Nothing unless all ranks that still work have been heard of.
  std::optional<Diagnosis> Examine(const Tx& tx, const TrialId& id, const Watch& watch) const;

  const Environment& env_;
  Gangs& gangs_;
  std::map<TrialId, Watch> watches_;
  absl::Time next_round_ = absl::InfinitePast();
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_HANG_DOCTOR_H_
