// Which checkpoints of an experiment are kept, and which is the best. Pure.
#ifndef URSA_COORDINATOR_CORE_CHECKPOINTS_H_
#define URSA_COORDINATOR_CORE_CHECKPOINTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/state/entities.h"

namespace ursa {

// Adds a checkpoint to an experiment, or replaces the one of the same step (which keeps its id), then keeps the
// `keep_latest` newest ones and the `keep_best` best ones, at most `num_checkpoints_max` in all, and marks the best.
// Best is the one with the best `best_metric` of those whose metrics were measured on their own weights; the earlier
// one on a tie; never one without the metric or with NaN.
void AddCheckpoint(records::CheckpointRecord checkpoint, int64_t num_checkpoints_max,
                   records::ExperimentRecord* experiment);

// Where training goes on; null: at the start.
const records::CheckpointRecord* LatestCheckpoint(const records::ExperimentRecord& experiment);

// "best", "last" or an id ("k9"). "best" is the latest one if none has been validated. Errors: NOT_FOUND,
// INVALID_ARGUMENT (another word).
absl::StatusOr<records::CheckpointRecord> FindCheckpoint(const records::ExperimentRecord& experiment,
                                                         const std::string& which);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_CHECKPOINTS_H_
