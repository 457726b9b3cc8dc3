#include "worker/train/loss.h"

#include <ATen/ops/cross_entropy_loss.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace ursa {
namespace {

constexpr double kSmoothing = 0.98;

at::Tensor CrossEntropy(const LossOptions& options, const at::Tensor& logits, const at::Tensor& labels,
                        at::Reduction::Reduction reduction) {
  return at::cross_entropy_loss(logits, labels, /*weight=*/{}, reduction, /*ignore_index=*/-100,
                                options.label_smoothing);
}

}  // namespace

absl::Status LossOptions::Validate() const {
  if (label_smoothing >= 0 && label_smoothing < 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("loss: label_smoothing must be in [0, 1), it is ", label_smoothing));
}

at::Tensor ClassificationLoss(const LossOptions& options, const at::Tensor& logits, const at::Tensor& labels) {
  return CrossEntropy(options, logits, labels, at::Reduction::Mean);
}

at::Tensor ClassificationLossPerExample(const LossOptions& options, const at::Tensor& logits,
                                        const at::Tensor& labels) {
  return CrossEntropy(options, logits, labels, at::Reduction::None);
}

const std::vector<std::string>& ClassificationMetricNames() {
  static const auto* const kNames = new std::vector<std::string>{"accuracy", "error_rate"};
  return *kNames;
}

uint64_t HashExample(int64_t index) {
  uint64_t z = static_cast<uint64_t>(index) + 1;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void ValidationSums::Add(const LossOptions& options, const at::Tensor& logits, const at::Tensor& labels,
                         const std::vector<int64_t>& example_indices) {
  loss_sum += ClassificationLossPerExample(options, logits, labels).sum(at::kDouble).item<double>();
  num_correct += logits.argmax(-1).eq(labels).sum().item<int64_t>();
  num_examples += labels.numel();
  for (const int64_t index : example_indices) examples_hash += HashExample(index);
}

std::map<std::string, double> ValidationSums::Metrics(const std::vector<std::string>& names) const {
  URSA_CHECK(num_examples > 0);
  const auto count = static_cast<double>(num_examples);
  std::map<std::string, double> metrics = {{"valid_loss", loss_sum / count}};
  for (const std::string& name : names) {
    const auto correct = static_cast<double>(num_correct);
    metrics[name] = name == "accuracy" ? correct / count : (count - correct) / count;
  }
  return metrics;
}

double SmoothedLoss::Add(double loss) {
  sum_ = kSmoothing * sum_ + (1 - kSmoothing) * loss;
  ++count_;
  return value();
}

double SmoothedLoss::value() const {
  return count_ == 0 ? std::nan("") : sum_ / (1 - std::pow(kSmoothing, static_cast<double>(count_)));
}

}  // namespace ursa
