// Exact metrics over stored predictions. Pure: every example counts once, in float64, in any order with the same
// result.
#ifndef URSA_EXPERIMENTS_EVALUATION_H_
#define URSA_EXPERIMENTS_EVALUATION_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ursa/v1/evaluations.pb.h"

namespace ursa {

// A model's predictions for labelled examples: row i of `logits` belongs to example_ids[i], whose class is labels[i].
struct LabelledLogits {
  std::vector<std::string> example_ids;  // [N], each once, any order
  std::vector<int32_t> labels;           // [N], index into the model's classes
  std::vector<float> logits;             // [N, num_classes], row-major
  int32_t num_classes = 0;

  int64_t num_examples() const { return static_cast<int64_t>(labels.size()); }
  const float* row(int64_t i) const { return logits.data() + i * num_classes; }
};

// Checks shapes, label range, that ids differ and that all logits are finite. Errors: INVALID_ARGUMENT (shapes, labels,
// ids), FAILED_PRECONDITION (no example), DATA_LOSS (a logit that is NaN or infinite, with the example).
absl::Status CheckLabelledLogits(const LabelledLogits& predictions);

// The index of the largest of `num_classes` logits, the lowest one on a tie.
int32_t ArgMax(const float* logits, int32_t num_classes);

// Softmax of one row, computed in float64 after subtracting the maximum and rounded to float32.
std::vector<float> Softmax(const float* logits, int32_t num_classes);

// -log softmax(logits)[label], in nats, float64.
double CrossEntropy(const float* logits, int32_t num_classes, int32_t label);

// Metrics by name:
//   accuracy, error_rate  Wilson score interval, 95 %
//   log_loss              mean cross-entropy in nats; mean +- 1.96 standard errors (sample deviation), from 0
// Errors: as CheckLabelledLogits.
absl::StatusOr<std::map<std::string, v1::Estimate>> ComputeMetrics(const LabelledLogits& predictions);

// Computes num_examples, example_set_hash, metrics, confusion (row = actual class, column = predicted class) and
// classes of an Evaluation; nothing else is set. Errors: as CheckLabelledLogits; INVALID_ARGUMENT (`classes` is not
// num_classes long).
absl::StatusOr<v1::Evaluation> ComputeEvaluation(const LabelledLogits& predictions,
                                                 const std::vector<std::string>& classes);

// SHA-256 over the sorted ids. 64 lower-case hex digits.
std::string ExampleSetHash(std::vector<std::string> example_ids);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_EVALUATION_H_
