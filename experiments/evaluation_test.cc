#include "experiments/evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/digest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Three classes; examples 0 and 1 right, 2 wrong, 3 a tie that the lowest index wins.
LabelledLogits Four() {
  LabelledLogits predictions;
  predictions.num_classes = 3;
  predictions.example_ids = {"d", "b", "a", "c"};
  predictions.labels = {0, 1, 2, 1};
  predictions.logits = {2, 1, 0.1f, 0, 5, 0, 3, 0, 1, 1, 1, 0};
  return predictions;
}

TEST(ComputeEvaluationTest, CountsAndMetrics) {
  const auto evaluation = ComputeEvaluation(Four(), {"x", "y", "z"});
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  EXPECT_EQ(evaluation->num_examples(), 4);
  EXPECT_THAT(evaluation->classes(), ElementsAre("x", "y", "z"));
  ASSERT_EQ(evaluation->confusion_size(), 3);
  EXPECT_THAT(evaluation->confusion(0).counts(), ElementsAre(1, 0, 0));
  EXPECT_THAT(evaluation->confusion(1).counts(), ElementsAre(1, 1, 0));
  EXPECT_THAT(evaluation->confusion(2).counts(), ElementsAre(1, 0, 0));
  const v1::Estimate& accuracy = evaluation->metrics().at("accuracy");
  EXPECT_EQ(accuracy.value(), 0.5);
  // Wilson, 2 of 4, from its formula: (1/2 + z^2/8 +- z sqrt(1/16 + z^2/64)) / (1 + z^2/4), z = 1.959964.
  EXPECT_NEAR(accuracy.low(), 0.150039, 1e-6);
  EXPECT_NEAR(accuracy.high(), 0.849961, 1e-6);
  const v1::Estimate& error_rate = evaluation->metrics().at("error_rate");
  EXPECT_EQ(error_rate.value(), 0.5);
  EXPECT_EQ(error_rate.low(), 1 - accuracy.high());
  EXPECT_EQ(error_rate.high(), 1 - accuracy.low());
}

TEST(ComputeEvaluationTest, LogLossWithItsInterval) {
  const v1::Estimate log_loss = ComputeEvaluation(Four(), {"x", "y", "z"})->metrics().at("log_loss");
  const double losses[] = {0.417030016, std::log(1 + 2 * std::exp(-5.0)), std::log(1 + std::exp(2.0) + std::exp(-1.0)),
                           std::log(2 + std::exp(-1.0))};
  double mean = 0;
  for (double loss : losses) mean += loss / 4;
  double variance = 0;
  for (double loss : losses) variance += (loss - mean) * (loss - mean) / 3;
  EXPECT_NEAR(log_loss.value(), mean, 1e-8);
  EXPECT_NEAR(log_loss.high(), mean + 1.959963985 * std::sqrt(variance / 4), 1e-7);
  EXPECT_NEAR(log_loss.low(), std::max(0.0, mean - 1.959963985 * std::sqrt(variance / 4)), 1e-7);
}

TEST(ComputeEvaluationTest, TheOrderOfExamplesDoesNotMatter) {
  LabelledLogits one;
  one.num_classes = 2;
  for (int i = 0; i < 1000; ++i) {
    one.example_ids.push_back(Sha256Hex(std::to_string(i)));
    one.labels.push_back(i % 2);
    one.logits.push_back(std::sin(static_cast<float>(i)));
    one.logits.push_back(std::cos(static_cast<float>(3 * i)));
  }
  LabelledLogits other;
  other.num_classes = 2;
  for (int i = 999; i >= 0; --i) {
    other.example_ids.push_back(one.example_ids[i]);
    other.labels.push_back(one.labels[i]);
    other.logits.insert(other.logits.end(), one.row(i), one.row(i) + 2);
  }
  EXPECT_EQ(ComputeEvaluation(one, {"a", "b"})->SerializeAsString().size(),
            ComputeEvaluation(other, {"a", "b"})->SerializeAsString().size());
  const auto a = *ComputeEvaluation(one, {"a", "b"});
  const auto b = *ComputeEvaluation(other, {"a", "b"});
  EXPECT_EQ(a.example_set_hash(), b.example_set_hash());
  for (const char* metric : {"accuracy", "error_rate", "log_loss"}) {
    EXPECT_EQ(a.metrics().at(metric).value(), b.metrics().at(metric).value()) << metric;
    EXPECT_EQ(a.metrics().at(metric).high(), b.metrics().at(metric).high()) << metric;
  }
}

TEST(ComputeEvaluationTest, OneExample) {
  LabelledLogits predictions;
  predictions.num_classes = 2;
  predictions.example_ids = {"a"};
  predictions.labels = {1};
  predictions.logits = {0, 1};
  const auto metrics = ComputeMetrics(predictions);
  ASSERT_TRUE(metrics.ok());
  EXPECT_EQ(metrics->at("accuracy").value(), 1);
  EXPECT_EQ(metrics->at("accuracy").high(), 1);
  EXPECT_LT(metrics->at("accuracy").low(), 0.3);
  EXPECT_TRUE(std::isfinite(metrics->at("log_loss").high()));
}

TEST(CheckLabelledLogitsTest, WhatIsWrong) {
  const struct {
    void (*change)(LabelledLogits*);
    absl::StatusCode code;
    const char* expected;
  } cases[] = {
      {[](LabelledLogits* p) { p->logits.pop_back(); }, absl::StatusCode::kInvalidArgument, "11 logits of 3 classes"},
      {[](LabelledLogits* p) { p->example_ids.pop_back(); }, absl::StatusCode::kInvalidArgument, "3 ids, 4 labels"},
      {[](LabelledLogits* p) { p->labels[1] = 3; }, absl::StatusCode::kInvalidArgument, "label 3 of example b"},
      {[](LabelledLogits* p) { p->labels[1] = -1; }, absl::StatusCode::kInvalidArgument, "label -1 of example b"},
      {[](LabelledLogits* p) { p->example_ids[1] = "a"; }, absl::StatusCode::kInvalidArgument, "example a comes twice"},
      {[](LabelledLogits* p) { p->logits[4] = std::nanf(""); }, absl::StatusCode::kDataLoss,
       "example b is not a finite"},
      {[](LabelledLogits* p) { p->logits[0] = std::numeric_limits<float>::infinity(); }, absl::StatusCode::kDataLoss,
       "example d is not"},
      {[](LabelledLogits* p) {
         *p = LabelledLogits();
         p->num_classes = 3;
       },
       absl::StatusCode::kFailedPrecondition, "there is no example"},
  };
  for (const auto& test : cases) {
    LabelledLogits predictions = Four();
    test.change(&predictions);
    const absl::Status status = CheckLabelledLogits(predictions);
    EXPECT_EQ(status.code(), test.code) << test.expected;
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.expected));
    EXPECT_EQ(ComputeMetrics(predictions).status(), status);
  }
  EXPECT_EQ(ComputeEvaluation(Four(), {"x", "y"}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SoftmaxTest, SumsToOneWithoutOverflow) {
  const float logits[] = {1e30f, 0, -1e30f};
  EXPECT_THAT(Softmax(logits, 3), ElementsAre(1, 0, 0));
  const float small[] = {2, 1, 0.1f};
  const std::vector<float> probabilities = Softmax(small, 3);
  EXPECT_NEAR(probabilities[0], 0.6590011, 1e-6);
  EXPECT_NEAR(probabilities[0] + probabilities[1] + probabilities[2], 1, 1e-6);
  EXPECT_EQ(CrossEntropy(logits, 3, 2), 2 * static_cast<double>(1e30f));
}

TEST(ArgMaxTest, LowestIndexOnATie) {
  const float logits[] = {1, 3, 3, 2};
  EXPECT_EQ(ArgMax(logits, 4), 1);
}

TEST(ExampleSetHashTest, IsOfTheSet) {
  EXPECT_EQ(ExampleSetHash({"a", "b"}), ExampleSetHash({"b", "a"}));
  EXPECT_NE(ExampleSetHash({"a", "b"}), ExampleSetHash({"ab"}));
  EXPECT_TRUE(IsDigestHex(ExampleSetHash({})));
}

}  // namespace
}  // namespace ursa
