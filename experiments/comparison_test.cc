#include "experiments/comparison.h"

#include <algorithm>
#include <string>

#include "experiments/gates_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::HasSubstr;

struct Pair {
  LabelledLogits candidate;
  LabelledLogits baseline;
};

void AddExample(LabelledLogits* predictions, const std::string& id, bool right) {
  predictions->num_classes = 2;
  predictions->example_ids.push_back(id);
  predictions->labels.push_back(1);
  predictions->logits.push_back(right ? 0 : 2);
  predictions->logits.push_back(1);
}

Pair MakePair(const PairedCounts& counts) {
  Pair pair;
  int next = 0;
  const auto add = [&](int64_t n, bool candidate_right, bool baseline_right) {
    for (int64_t i = 0; i < n; ++i) {
      const std::string id = "x" + std::to_string(next++);
      AddExample(&pair.candidate, id, candidate_right);
      AddExample(&pair.baseline, id, baseline_right);
    }
  };
  add(counts.both_right, true, true);
  add(counts.candidate_only_right, true, false);
  add(counts.baseline_only_right, false, true);
  add(counts.both_wrong, false, false);
  return pair;
}

v1::Comparison Compare(const PairedCounts& counts, const v1::Gates& gates = DefaultGates()) {
  const Pair pair = MakePair(counts);
  const auto comparison = ComputeComparison(pair.candidate, pair.baseline, gates);
  EXPECT_TRUE(comparison.ok()) << comparison.status();
  return *comparison;
}

TEST(ComputeComparisonTest, EveryField) {
  const v1::Comparison comparison = Compare({70, 2, 6, 5});
  EXPECT_EQ(comparison.num_examples(), 83);
  EXPECT_EQ(comparison.both_right(), 70);
  EXPECT_EQ(comparison.candidate_only_right(), 2);
  EXPECT_EQ(comparison.baseline_only_right(), 6);
  EXPECT_EQ(comparison.both_wrong(), 5);
  EXPECT_NEAR(comparison.p_value(), 2 * (1 + 8 + 28) / 256.0, 1e-12);
  EXPECT_DOUBLE_EQ(comparison.difference().value(), -4.0 / 83);
  const Interval interval = PairedDifferenceInterval({70, 2, 6, 5}, 0.95);
  EXPECT_EQ(comparison.difference().low(), interval.low);
  EXPECT_EQ(comparison.difference().high(), interval.high);
  EXPECT_DOUBLE_EQ(comparison.metrics().at("accuracy").candidate(), 72.0 / 83);
  EXPECT_DOUBLE_EQ(comparison.metrics().at("accuracy").baseline(), 76.0 / 83);
  EXPECT_DOUBLE_EQ(comparison.metrics().at("error_rate").candidate(), 11.0 / 83);
  EXPECT_GT(comparison.metrics().at("log_loss").candidate(), comparison.metrics().at("log_loss").baseline());
  EXPECT_EQ(comparison.gates_hash(), GatesHash(DefaultGates()));
  EXPECT_EQ(comparison.verdict(), v1::VERDICT_NEED_MORE_DATA);
  EXPECT_EQ(comparison.examples_needed(), ExamplesNeeded({70, 2, 6, 5}, 0.01, 0.95));
  ASSERT_EQ(comparison.gates_size(), 1);
  EXPECT_EQ(comparison.gates(0).name(), "accuracy not worse by more than 0.01 at 95 %");
  EXPECT_THAT(comparison.gates(0).why(), HasSubstr("accuracy differs by -0.0482 on 83 examples, the 95 % interval ["));
  EXPECT_THAT(
      comparison.gates(0).why(),
      HasSubstr("contains -0.01; about " + std::to_string(comparison.examples_needed()) + " examples would decide"));
}

TEST(ComputeComparisonTest, Verdicts) {
  const struct {
    PairedCounts counts;
    v1::Verdict verdict;
  } cases[] = {
      {{900, 60, 20, 20}, v1::VERDICT_PASS},
      {{900, 20, 60, 20}, v1::VERDICT_FAIL},
      {{900, 20, 30, 50}, v1::VERDICT_NEED_MORE_DATA},
      // Identical predictions: as sure as their number makes it.
      {{900, 0, 0, 100}, v1::VERDICT_PASS},
      {{1000, 0, 0, 0}, v1::VERDICT_PASS},
      {{0, 0, 0, 1000}, v1::VERDICT_PASS},
      {{83, 0, 0, 0}, v1::VERDICT_NEED_MORE_DATA},
      {{1, 0, 0, 0}, v1::VERDICT_NEED_MORE_DATA},
  };
  for (const auto& test : cases) {
    const v1::Comparison comparison = Compare(test.counts);
    EXPECT_EQ(comparison.verdict(), test.verdict) << comparison.gates(0).why();
    EXPECT_EQ(comparison.examples_needed() > 0, test.verdict == v1::VERDICT_NEED_MORE_DATA);
    EXPECT_LT(comparison.difference().low(), comparison.difference().high());
    EXPECT_LE(comparison.difference().low(), comparison.difference().value());
    EXPECT_GE(comparison.difference().high(), comparison.difference().value());
  }
  EXPECT_EQ(Compare({900, 0, 0, 100}).p_value(), 1);
}

TEST(ComputeComparisonTest, GatesOfTheCaller) {
  EXPECT_EQ(
      Compare({70, 2, 6, 5}, *ParseGates("g", "gates { metric: \"accuracy\" non_inferiority_margin: 0.9 }")).verdict(),
      v1::VERDICT_PASS);
  const v1::Comparison fine =
      Compare({70, 4, 4, 5},
              *ParseGates("g", "gates { metric: \"accuracy\" non_inferiority_margin: 0.0001 confidence: 0.9999 }"));
  EXPECT_EQ(fine.verdict(), v1::VERDICT_NEED_MORE_DATA);
  EXPECT_GT(fine.examples_needed(), 83);
  const v1::Comparison equal =
      Compare({70, 4, 4, 5}, *ParseGates("g", "gates { metric: \"accuracy\" non_inferiority_margin: 0 }"));
  EXPECT_THAT(equal.gates(0).why(), HasSubstr("contains +0; the difference lies on the margin itself"));
  EXPECT_FALSE(ComputeComparison(MakePair({2, 0, 0, 0}).candidate, MakePair({2, 0, 0, 0}).baseline, v1::Gates()).ok());
}

TEST(ComputeComparisonTest, ExamplesAreMatchedById) {
  Pair pair = MakePair({5, 2, 1, 1});
  LabelledLogits reversed;
  for (int64_t i = pair.candidate.num_examples() - 1; i >= 0; --i) {
    AddExample(&reversed, pair.candidate.example_ids[static_cast<size_t>(i)], ArgMax(pair.candidate.row(i), 2) == 1);
  }
  const auto comparison = ComputeComparison(reversed, pair.baseline, DefaultGates());
  ASSERT_TRUE(comparison.ok());
  EXPECT_EQ(comparison->SerializeAsString().size(), Compare({5, 2, 1, 1}).SerializeAsString().size());
  EXPECT_EQ(comparison->candidate_only_right(), 2);
  EXPECT_EQ(comparison->baseline_only_right(), 1);
}

TEST(ComputeComparisonTest, DifferentExamplesAreRefused) {
  const auto error = [](void (*change)(Pair*)) {
    Pair pair = MakePair({5, 2, 1, 1});
    change(&pair);
    const absl::Status status = ComputeComparison(pair.candidate, pair.baseline, DefaultGates()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(error([](Pair* pair) { AddExample(&pair->candidate, "more", true); }),
              HasSubstr("10 examples of the candidate, 9"));
  EXPECT_THAT(error([](Pair* pair) { pair->candidate.example_ids[0] = "other"; }),
              HasSubstr("example x0 has no prediction"));
  EXPECT_THAT(error([](Pair* pair) { pair->candidate.labels[0] = 0; }),
              HasSubstr("example x0 has two labels, 0 and 1"));
}

}  // namespace
}  // namespace ursa
