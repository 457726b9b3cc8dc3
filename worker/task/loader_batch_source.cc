#include "worker/task/loader_batch_source.h"

#include <ATen/ATen.h>

#include <string>

#include "base/failure_cause.h"
#include "worker/eval/predictor.h"

namespace ursa {
namespace {

absl::Status LoadError(const absl::Status& status) {
  const bool is_the_examples = absl::IsDataLoss(status) || absl::IsInvalidArgument(status);
  return is_the_examples ? WithCause(status, FailureCause::kBadData) : status;
}

}  // namespace

Batch LoaderBatchSource::ToTensors(HostBatch host) const {
  Batch batch;
  batch.images = ImagesTensor(host.images, host.size(), host.height, host.width).to(device_);
  batch.labels = at::tensor(host.labels, at::kLong).to(device_);
  batch.example_indices = std::move(host.indices);
  batch.num_global = host.global_size;
  return batch;
}

absl::StatusOr<Batch> LoaderBatchSource::NextTrain(int64_t epoch, int64_t step_in_epoch) {
  absl::StatusOr<HostBatch> host = train_->Get(epoch, step_in_epoch);
  if (!host.ok()) return LoadError(host.status());
  return ToTensors(*std::move(host));
}

absl::Status LoaderBatchSource::StartValid() {
  next_valid_step_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Batch>> LoaderBatchSource::NextValid() {
  while (valid_ != nullptr && next_valid_step_ < valid_->steps_per_epoch()) {
    absl::StatusOr<HostBatch> host = valid_->Get(0, next_valid_step_++);
    if (!host.ok()) return LoadError(host.status());
    if (host->size() > 0) return ToTensors(*std::move(host));  // a small last batch may leave this rank without a share
  }
  return std::nullopt;
}

}  // namespace ursa
