// The trainer's view of the data loader.
#ifndef URSA_WORKER_TASK_LOADER_BATCH_SOURCE_H_
#define URSA_WORKER_TASK_LOADER_BATCH_SOURCE_H_

#include <c10/core/Device.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "worker/data/loader.h"
#include "worker/train/batch_source.h"

namespace ursa {

// Turns the loaders' host memory into tensors (without a copy on the CPU) on `device`. Owns both loaders; `valid` may
// be null when the split is empty. Used by the training thread only.
class LoaderBatchSource : public BatchSource {
 public:
  LoaderBatchSource(std::unique_ptr<Loader> train, std::unique_ptr<Loader> valid, int64_t num_valid_examples,
                    at::Device device)
      : train_(std::move(train)), valid_(std::move(valid)), num_valid_examples_(num_valid_examples), device_(device) {}

  int64_t num_train_steps() const override { return train_->steps_per_epoch(); }
  absl::StatusOr<Batch> NextTrain(int64_t epoch, int64_t step_in_epoch) override;
  int64_t num_valid_examples() const override { return num_valid_examples_; }
  absl::Status StartValid() override;
  absl::StatusOr<std::optional<Batch>> NextValid() override;

 private:
  Batch ToTensors(HostBatch batch) const;

  std::unique_ptr<Loader> train_;
  std::unique_ptr<Loader> valid_;
  int64_t num_valid_examples_;
  at::Device device_;
  int64_t next_valid_step_ = 0;
};

}  // namespace ursa

#endif  // URSA_WORKER_TASK_LOADER_BATCH_SOURCE_H_
