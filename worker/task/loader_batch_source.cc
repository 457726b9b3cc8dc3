#include "worker/task/loader_batch_source.h"

#include <ATen/ATen.h>

#include <string>

#include "base/status_macros.h"
#include "worker/eval/predictor.h"

namespace ursa {

Batch LoaderBatchSource::ToTensors(HostBatch host) const {
  Batch batch;
  batch.images = ImagesTensor(host.images, host.size(), host.height, host.width).to(device_);
  batch.labels = at::tensor(host.labels, at::kLong).to(device_);
  batch.example_indices = std::move(host.indices);
  batch.num_global = host.global_size;
  return batch;
}

absl::StatusOr<Batch> LoaderBatchSource::NextTrain(int64_t epoch, int64_t step_in_epoch) {
  URSA_ASSIGN_OR_RETURN(HostBatch host, train_->Get(epoch, step_in_epoch));
  return ToTensors(std::move(host));
}

absl::Status LoaderBatchSource::StartValid() {
  next_valid_step_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Batch>> LoaderBatchSource::NextValid() {
  while (valid_ != nullptr && next_valid_step_ < valid_->steps_per_epoch()) {
    URSA_ASSIGN_OR_RETURN(HostBatch host, valid_->Get(0, next_valid_step_++));
    if (host.size() > 0) return ToTensors(std::move(host));  // a small last batch may leave this rank without a share
  }
  return std::nullopt;
}

}  // namespace ursa
