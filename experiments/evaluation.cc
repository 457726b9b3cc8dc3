#include "experiments/evaluation.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "experiments/statistics/distributions.h"
#include "experiments/statistics/proportions.h"

namespace ursa {
namespace {

constexpr double kConfidence = 0.95;

// log(sum(exp(logits))) without overflow.
double LogSumExp(const float* logits, int32_t num_classes) {
  const double top = *std::max_element(logits, logits + num_classes);
  double sum = 0;
  for (int32_t c = 0; c < num_classes; ++c) sum += std::exp(static_cast<double>(logits[c]) - top);
  return top + std::log(sum);
}

v1::Estimate MakeEstimate(double value, double low, double high) {
  v1::Estimate estimate;
  estimate.set_value(value);
  estimate.set_low(low);
  estimate.set_high(high);
  return estimate;
}

// Mean of values with its normal interval. Losses are sorted before they are added up, so that the order of the
// examples does not show in the last digits.
v1::Estimate MeanLoss(std::vector<double> losses) {
  std::sort(losses.begin(), losses.end());
  const auto n = static_cast<double>(losses.size());
  double sum = 0;
  for (double loss : losses) sum += loss;
  const double mean = sum / n;
  double squares = 0;
  for (double loss : losses) squares += (loss - mean) * (loss - mean);
  // One example tells nothing of the spread.
  const double error = losses.size() > 1 ? std::sqrt(squares / (n - 1) / n) : 0;
  const double half = TwoSidedZ(kConfidence) * error;
  return MakeEstimate(mean, std::max(0.0, mean - half), mean + half);
}

}  // namespace

absl::Status CheckLabelledLogits(const LabelledLogits& predictions) {
  const size_t n = predictions.labels.size();
  if (predictions.num_classes < 1 || predictions.example_ids.size() != n ||
      predictions.logits.size() != n * static_cast<size_t>(predictions.num_classes)) {
    return absl::InvalidArgumentError(absl::StrCat("predictions: ", predictions.example_ids.size(), " ids, ", n,
                                                   " labels and ", predictions.logits.size(), " logits of ",
                                                   predictions.num_classes, " classes do not fit together"));
  }
  if (n == 0) return absl::FailedPreconditionError("predictions: there is no example");
  std::unordered_set<std::string_view> ids;
  for (size_t i = 0; i < n; ++i) {
    const std::string& id = predictions.example_ids[i];
    if (!ids.insert(id).second) {
      return absl::InvalidArgumentError(absl::StrCat("predictions: example ", absl::CEscape(id), " comes twice"));
    }
    if (predictions.labels[i] < 0 || predictions.labels[i] >= predictions.num_classes) {
      return absl::InvalidArgumentError(absl::StrCat("predictions: label ", predictions.labels[i], " of example ",
                                                     absl::CEscape(id), ", the model has ", predictions.num_classes,
                                                     " classes"));
    }
    const float* row = predictions.row(static_cast<int64_t>(i));
    if (!std::all_of(row, row + predictions.num_classes, [](float logit) { return std::isfinite(logit); })) {
      return absl::DataLossError(
          absl::StrCat("predictions: a logit of example ", absl::CEscape(id), " is not a finite number"));
    }
  }
  return absl::OkStatus();
}

int32_t ArgMax(const float* logits, int32_t num_classes) {
  return static_cast<int32_t>(std::max_element(logits, logits + num_classes) - logits);
}

std::vector<float> Softmax(const float* logits, int32_t num_classes) {
  const double log_sum = LogSumExp(logits, num_classes);
  std::vector<float> probabilities(static_cast<size_t>(num_classes));
  for (int32_t c = 0; c < num_classes; ++c) {
    probabilities[static_cast<size_t>(c)] = static_cast<float>(std::exp(static_cast<double>(logits[c]) - log_sum));
  }
  return probabilities;
}

double CrossEntropy(const float* logits, int32_t num_classes, int32_t label) {
  URSA_CHECK(label >= 0 && label < num_classes);
  return LogSumExp(logits, num_classes) - static_cast<double>(logits[label]);
}

absl::StatusOr<std::map<std::string, v1::Estimate>> ComputeMetrics(const LabelledLogits& predictions) {
  URSA_RETURN_IF_ERROR(CheckLabelledLogits(predictions));
  std::vector<double> losses;
  double right = 0;
  for (int64_t i = 0; i < predictions.num_examples(); ++i) {
    const int32_t label = predictions.labels[static_cast<size_t>(i)];
    right += ArgMax(predictions.row(i), predictions.num_classes) == label;
    losses.push_back(CrossEntropy(predictions.row(i), predictions.num_classes, label));
  }
  const auto n = static_cast<double>(predictions.num_examples());
  const Interval interval = WilsonInterval(right, n, kConfidence);
  std::map<std::string, v1::Estimate> metrics;
  metrics["accuracy"] = MakeEstimate(right / n, interval.low, interval.high);
  metrics["error_rate"] = MakeEstimate((n - right) / n, 1 - interval.high, 1 - interval.low);
  metrics["log_loss"] = MeanLoss(std::move(losses));
  return metrics;
}

absl::StatusOr<v1::Evaluation> ComputeEvaluation(const LabelledLogits& predictions,
                                                 const std::vector<std::string>& classes) {
  URSA_ASSIGN_OR_RETURN(const auto metrics, ComputeMetrics(predictions));
  if (static_cast<int64_t>(classes.size()) != predictions.num_classes) {
    return absl::InvalidArgumentError(absl::StrCat("predictions: logits of ", predictions.num_classes, " classes, but ",
                                                   classes.size(), " names of classes"));
  }
  const size_t num_classes = classes.size();
  std::vector<int64_t> counts(num_classes * num_classes);
  for (int64_t i = 0; i < predictions.num_examples(); ++i) {
    const auto actual = static_cast<size_t>(predictions.labels[static_cast<size_t>(i)]);
    const auto predicted = static_cast<size_t>(ArgMax(predictions.row(i), predictions.num_classes));
    ++counts[actual * num_classes + predicted];
  }

  v1::Evaluation evaluation;
  evaluation.set_num_examples(predictions.num_examples());
  evaluation.set_example_set_hash(ExampleSetHash(predictions.example_ids));
  evaluation.mutable_metrics()->insert(metrics.begin(), metrics.end());
  for (size_t actual = 0; actual < num_classes; ++actual) {
    v1::ConfusionRow* row = evaluation.add_confusion();
    for (size_t c = 0; c < num_classes; ++c) row->add_counts(counts[actual * num_classes + c]);
    evaluation.add_classes(classes[actual]);
  }
  return evaluation;
}

std::string ExampleSetHash(std::vector<std::string> example_ids) {
  std::sort(example_ids.begin(), example_ids.end());
  Sha256 hash;
  hash.Update("ursa example set 1\n");
  for (const std::string& id : example_ids) hash.Update(absl::StrCat(id.size(), ":", id));
  return hash.FinishHex();
}

}  // namespace ursa
