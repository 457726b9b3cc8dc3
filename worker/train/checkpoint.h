// What a training run leaves behind so that it can go on as if nothing had happened.
#ifndef URSA_WORKER_TRAIN_CHECKPOINT_H_
#define URSA_WORKER_TRAIN_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"

namespace ursa {

enum class CheckpointReason {
  kSteps,      // every N steps
  kEpoch,      // end of an epoch, after its validation
  kRequested,  // asked for: pause, drain, shutdown
  kEnd,        // the last one of a run
};

// "steps", "epoch", "requested", "end".
const char* CheckpointReasonName(CheckpointReason reason);

struct CheckpointMetadata {
  int64_t step = 0;   // optimizer steps done, through all phases
  int64_t epoch = 0;  // epochs completed, through all phases
  CheckpointReason reason = CheckpointReason::kSteps;
  // Of the last validation of the run (valid_loss, train_loss, the chosen metrics); empty before the first. They belong
  // to this checkpoint's weights when `metrics_step` == step.
  std::map<std::string, double> metrics;
  int64_t metrics_step = -1;
  bool is_best = false;  // validated just now, and the best of the run so far by TrainerOptions::best_metric
};

// Two safetensors files. `model` alone is what becomes an artifact: all parameters and buffers under fastai's names.
// `state` is the rest: optimizer moments, smoothed loss, early stopping and best-metric counters, position.
struct Checkpoint {
  std::string model;
  std::string state;
  CheckpointMetadata metadata;
};

// Takes checkpoints where they belong. Write() runs on the trainer's writer thread, one call at a time, in step order;
// an error ends the run. Only rank 0 writes: all ranks hold equal weights, and BN statistics are rank 0's.
class CheckpointSink {
 public:
  virtual ~CheckpointSink() = default;
  virtual absl::Status Write(Checkpoint checkpoint) = 0;
};

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_CHECKPOINT_H_
