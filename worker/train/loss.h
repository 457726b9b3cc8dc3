// Losses and metrics of classification.
#ifndef URSA_WORKER_TRAIN_LOSS_H_
#define URSA_WORKER_TRAIN_LOSS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ursa {

struct LossOptions {
  // Cross entropy against (1 - s) on the true class plus s / C on each class, the true one included. In [0, 1).
  double label_smoothing = 0;
  absl::Status Validate() const;
};

// Mean over the batch. `logits` [N, C] float32, `labels` [N] int64. Returns a scalar with a graph.
at::Tensor ClassificationLoss(const LossOptions& options, const at::Tensor& logits, const at::Tensor& labels);

// The same per example: [N].
at::Tensor ClassificationLossPerExample(const LossOptions& options, const at::Tensor& logits, const at::Tensor& labels);

// "accuracy", "error_rate".
const std::vector<std::string>& ClassificationMetricNames();

// What validation adds up over batches and ranks; all metrics are functions of it. Sums are exact in any order but for
// `loss_sum`, a float64 sum.
struct ValidationSums {
  double loss_sum = 0;
  int64_t num_correct = 0;  // argmax == label
  int64_t num_examples = 0;
  uint64_t examples_hash = 0;  // sum of HashExample(index) modulo 2^64: depends on the set, not on the order

  void Add(const LossOptions& options, const at::Tensor& logits, const at::Tensor& labels,
           const std::vector<int64_t>& example_indices);
  // "valid_loss" and the metrics named. num_examples > 0.
  std::map<std::string, double> Metrics(const std::vector<std::string>& names) const;
};

// A 64-bit mix of an example's index (SplitMix64's finaliser of index + 1).
uint64_t HashExample(int64_t index);

// fastai's displayed training loss: an exponential mean over batches with factor 0.98, de-biased. Reset per phase.
class SmoothedLoss {
 public:
  // Adds a batch's loss; returns the smoothed value.
  double Add(double loss);
  void Reset() { *this = SmoothedLoss(); }
  double value() const;
  // For checkpoints.
  double sum() const { return sum_; }
  int64_t count() const { return count_; }
  void Restore(double sum, int64_t count) { sum_ = sum, count_ = count; }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_LOSS_H_
