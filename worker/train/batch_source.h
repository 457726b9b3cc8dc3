// Where training gets its batches: the seam between the trainer and the data loader.
#ifndef URSA_WORKER_TRAIN_BATCH_SOURCE_H_
#define URSA_WORKER_TRAIN_BATCH_SOURCE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"

namespace ursa {

struct Batch {
  at::Tensor images;                     // [N, 3, H, W] float32, normalised; channels_last memory is fastest. N >= 1
  at::Tensor labels;                     // [N] int64, in 0 .. num_classes - 1
  std::vector<int64_t> example_indices;  // [N], positions in the dataset version; names of the examples for hashes
  int64_t num_global = 0;                // examples of this step over all ranks; weighs this rank's mean loss
};

// One rank's view of the data. A pure function of (seed, epoch, step): the trainer may start anywhere. Used by the
// training thread only; an implementation reads ahead with threads of its own.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  // Steps of one training epoch, the same on every rank; >= 1.
  virtual int64_t num_train_steps() const = 0;

  // This rank's share of step `step_in_epoch` (0 <= step_in_epoch < num_train_steps()) of `epoch` (counted through all
  // phases). The trainer asks in order, except that its first request may be anywhere (resume) and that it stops early
  // when an epoch is left. Blocks until the batch is ready.
  virtual absl::StatusOr<Batch> NextTrain(int64_t epoch, int64_t step_in_epoch) = 0;

  // Examples of the validation split over all ranks; may be 0: then nothing is validated.
  virtual int64_t num_valid_examples() const = 0;

  // Starts a pass over this rank's share of the validation split. The shares of all ranks together hold each example
  // exactly once; a share may be empty.
  virtual absl::Status StartValid() = 0;

  // The next batch of the pass, or nullopt at its end. num_global is not used.
  virtual absl::StatusOr<std::optional<Batch>> NextValid() = 0;
};

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_BATCH_SOURCE_H_
