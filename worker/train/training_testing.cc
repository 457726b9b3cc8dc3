#include "worker/train/training_testing.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/log.h"
#include "worker/nn/architectures.h"
#include "worker/nn/safetensors.h"

namespace ursa {

int64_t TensorBatchSource::num_train_steps() const {
  const int64_t count = data_.train_labels.numel(), batch = data_.batch_size;
  return data_.drop_last ? count / batch : (count + batch - 1) / batch;
}

Batch TensorBatchSource::Share(const at::Tensor& images, const at::Tensor& labels, int64_t begin, int64_t end) const {
  const int64_t count = end - begin;
  const int64_t first = begin + count * rank_ / world_, last = begin + count * (rank_ + 1) / world_;
  Batch batch{images.slice(0, first, last), labels.slice(0, first, last), {}, count};
  for (int64_t i = first; i < last; ++i) batch.example_indices.push_back(i);
  return batch;
}

absl::StatusOr<Batch> TensorBatchSource::NextTrain(int64_t, int64_t step_in_epoch) {
  const int64_t begin = step_in_epoch * data_.batch_size;
  return Share(data_.train_images, data_.train_labels, begin,
               std::min(begin + data_.batch_size, data_.train_labels.numel()));
}

absl::Status TensorBatchSource::StartValid() {
  next_valid_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Batch>> TensorBatchSource::NextValid() {
  while (next_valid_ < num_valid_examples()) {
    const int64_t begin = next_valid_;
    next_valid_ = std::min(begin + data_.batch_size, num_valid_examples());
    Batch batch = Share(data_.valid_images, data_.valid_labels, begin, next_valid_);
    if (batch.labels.numel() > 0) return batch;
  }
  return std::nullopt;
}

TensorBatchSource::Data MakeImages(int64_t num_train, int64_t num_valid, int num_classes, int64_t size) {
  const at::Generator generator = at::detail::createCPUGenerator(11);
  const auto draw = [&](const std::vector<int64_t>& shape) {
    at::Tensor tensor = at::empty(shape, at::kFloat);
    return tensor.normal_(0, 1, generator);
  };
  const at::Tensor labels = at::arange(num_train + num_valid, at::kLong).remainder(num_classes);
  const at::Tensor patterns = draw({num_classes, 3, size, size});
  const at::Tensor images = draw({num_train + num_valid, 3, size, size}) + patterns.index_select(0, labels);
  return {images.slice(0, 0, num_train), labels.slice(0, 0, num_train), images.slice(0, num_train),
          labels.slice(0, num_train)};
}

std::unique_ptr<Model> MakeSmallNet(int num_classes, bool with_norms, double dropout) {
  const auto block = [&](int in, int out) {
    auto layers = std::make_unique<Sequential>();
    layers->Emplace<Conv2d>(Conv2dOptions{in, out, 3, 2, 1, 0, /*same_padding=*/true});
    if (with_norms) {
      layers->Emplace<BatchNorm>(BatchNormOptions{out, 1e-3, 0.1, Activation::kRelu6});
    } else {
      layers->Emplace<Relu>();
    }
    return layers;
  };
  auto body = std::make_unique<Sequential>();
  body->Add(block(3, 8));
  body->Add(block(8, 16));
  auto head = std::make_unique<Sequential>();
  head->Emplace<GlobalPool>(true);
  head->Emplace<Flatten>();
  if (dropout > 0) head->Emplace<Dropout>(dropout);
  head->Emplace<Linear>(32, num_classes, true);
  InitializeBody(body.get(), 3);
  InitializeHead(head.get(), 4);
  Model::Parts parts;
  parts.body = std::move(body);
  parts.head = std::move(head);
  parts.group_of = [](const std::string& name) { return name[0] == '1' ? 2 : name[2] - '0'; };
  parts.num_classes = num_classes;
  return std::make_unique<Model>(std::move(parts));
}

std::string RunRecord::PointsText() const {
  std::map<std::pair<int64_t, std::string>, std::string> lines;
  for (const MetricPoint& point : points) {
    char text[64];
    std::snprintf(text, sizeof text, " %lld %a\n", static_cast<long long>(point.epoch), point.value);
    lines[{point.step, point.name}] = text;
  }
  std::string out;
  for (const auto& [key, text] : lines) out += std::to_string(key.first) + " " + key.second + text;
  return out;
}

std::string StateBytes(const Model& model) {
  const auto bytes = SerializeSafetensors(model.state());
  URSA_CHECK_OK(bytes.status());
  return *bytes;
}

}  // namespace ursa
