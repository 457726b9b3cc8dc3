// Which checkpoints of a trial are kept, and which is the best. Pure.
#ifndef URSA_COORDINATOR_CORE_CHECKPOINTS_H_
#define URSA_COORDINATOR_CORE_CHECKPOINTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/state/entities.h"

namespace ursa {

// Adds a checkpoint to a trial, or replaces the one of the same step (which keeps its id), then keeps the `keep_latest`
// newest ones and the `keep_best` best ones, at most `num_checkpoints_max` in all, and marks the best. Best is the one
// with the best `best_metric` of those whose metrics were measured on their own weights; the earlier one on a tie;
// never one without the metric or with NaN.
void AddCheckpoint(records::CheckpointRecord checkpoint, const v1::CheckpointSpec& spec, int64_t num_checkpoints_max,
                   records::TrialRecord* trial);

// Where training goes on; null: at the start.
const records::CheckpointRecord* LatestCheckpoint(const records::TrialRecord& trial);

struct FoundCheckpoint {
  const records::TrialRecord* trial = nullptr;
  const records::CheckpointRecord* checkpoint = nullptr;
};

// "best", "last" or an id ("k9") among the checkpoints of an experiment's trials. "best" is the best one of the trial
// that has the best one of all by `metric` (its latest one if none has been validated), "last" the latest one of that
// trial; the earlier trial on a tie. Errors: NOT_FOUND, INVALID_ARGUMENT (another word).
absl::StatusOr<FoundCheckpoint> FindCheckpoint(int64_t experiment_id,
                                               const std::vector<const records::TrialRecord*>& trials,
                                               const std::string& metric, const std::string& which);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_CHECKPOINTS_H_
