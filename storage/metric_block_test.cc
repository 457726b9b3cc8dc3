#include "storage/metric_block.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/keys.h"

namespace ursa {
namespace {

constexpr TrialKey kTrial{17, 1};
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

MetricSample Sample(uint64_t step, double value) { return {step, step / 10.0, value, absl::FromUnixMicros(step)}; }

MetricSummary Of(const std::vector<double>& values, uint64_t first_step = 0) {
  MetricSummary summary;
  for (const double value : values) summary.Merge(MetricSummary::Of(Sample(first_step++, value)));
  return summary;
}

TEST(MetricSummaryTest, SaysWhatItsPointsAre) {
  const MetricSummary summary = Of({3, 1, 2}, 5);
  EXPECT_EQ(summary.count, 3u);
  EXPECT_EQ(summary.first_step, 5u);
  EXPECT_EQ(summary.last_step, 7u);
  EXPECT_EQ(summary.min, 1);
  EXPECT_DOUBLE_EQ(summary.mean, 2);
  EXPECT_EQ(summary.max, 3);
  EXPECT_EQ(summary.last_epoch, 0.7);
}

TEST(MetricSummaryTest, MergingPartsGivesTheWholeInAnyOrder) {
  const std::vector<double> values = {1, kNan, 4, -2, kNan, 8, 16, 1e9};
  const MetricSummary whole = Of(values);
  for (size_t cut = 0; cut <= values.size(); ++cut) {
    const MetricSummary front = Of({values.begin(), values.begin() + static_cast<ptrdiff_t>(cut)});
    const MetricSummary back = Of({values.begin() + static_cast<ptrdiff_t>(cut), values.end()}, cut);
    for (auto [a, b] : {std::make_pair(front, back), std::make_pair(back, front)}) {
      a.Merge(b);
      EXPECT_EQ(a.count, whole.count);
      EXPECT_EQ(a.num_nan, 2u);
      EXPECT_EQ(a.min, -2);
      EXPECT_EQ(a.max, 1e9);
      EXPECT_NEAR(a.mean, whole.mean, 1e-6);
      EXPECT_EQ(a.first_step, 0u);
      EXPECT_EQ(a.last_step, 7u);
      EXPECT_EQ(a.last_epoch, 0.7);
    }
  }
}

TEST(MetricSummaryTest, NanAndInfinity) {
  EXPECT_TRUE(std::isnan(Of({kNan, kNan}).min));
  EXPECT_EQ(Of({kNan, 1}).min, 1);
  EXPECT_EQ(Of({1, kInfinity}).max, kInfinity);
  EXPECT_EQ(Of({1, kInfinity}).mean, kInfinity);
  EXPECT_EQ(Of({1e308, 1e308, 1e308}).mean, 1e308);
}

TEST(MetricBlockTest, StoredFormsReadTheSame) {
  const std::string leaf_key = MetricBlockKey(kTrial, "loss", 0, 3);
  const std::vector<MetricSample> samples = {Sample(1536, 0.1), Sample(1537, -0.0), Sample(2047, kInfinity)};
  const std::string leaf = EncodeMetricLeaf(samples);
  const auto read = DecodeMetricLeaf(leaf_key, leaf);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ((*read)[i].step, samples[i].step);
    EXPECT_EQ((*read)[i].value, samples[i].value);
    EXPECT_EQ((*read)[i].epoch, samples[i].epoch);
    EXPECT_EQ((*read)[i].time, samples[i].time);
  }
  MetricLevelBlock block;
  block[0] = Of({1, 2}, 1536);
  block[15] = Of({kNan}, 9000);
  const std::string level_key = MetricBlockKey(kTrial, "loss", 1, 3);
  const std::string level = EncodeMetricLevel(block);
  const auto read_level = DecodeMetricLevel(level_key, level);
  ASSERT_TRUE(read_level.ok()) << read_level.status();
  EXPECT_EQ((*read_level)[0].mean, 1.5);
  EXPECT_EQ((*read_level)[1].count, 0u);
  EXPECT_EQ((*read_level)[15].first_step, 9000u);
  EXPECT_EQ(Total(*read_level).count, 3u);
  // Damage is told, wherever a value ends.
  for (size_t size = 0; size < leaf.size(); ++size) {
    const bool is_shorter_leaf = size % 28 == 1 && size > 1;
    EXPECT_EQ(DecodeMetricLeaf(leaf_key, leaf.substr(0, size)).ok(), is_shorter_leaf) << size;
  }
  for (size_t size = 0; size < level.size(); ++size) {
    EXPECT_FALSE(DecodeMetricLevel(level_key, level.substr(0, size)).ok()) << size;
  }
  EXPECT_EQ(DecodeMetricLeaf("x", leaf).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(DecodeMetricLeaf(leaf_key, EncodeMetricLeaf({samples[1], samples[0]})).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace ursa
