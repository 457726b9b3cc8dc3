// How metric points are laid out: rows as they come, blocks of points, and above them blocks of summaries.
#ifndef URSA_STORAGE_METRIC_BLOCK_H_
#define URSA_STORAGE_METRIC_BLOCK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ursa {

// The blocks of one metric, as a tree over its steps. A block of level l and index i spans the steps
// [i << b, (i + 1) << b) with b = MetricLevelBits(l):
//
//   level 0: the points of 512 steps
//   level l: the summaries of its 16 children, the blocks of level l - 1
//
// A block is there if it has a point, and its ancestors up to kMetricTopLevel, whose blocks span 2^61 steps each, with
// it. So what a block says depends on its points alone, not on the order in which they came.
inline constexpr int kMetricTopLevel = 13;
inline constexpr size_t kMetricFanOut = 16;

constexpr int MetricLevelBits(int level) { return 9 + 4 * level; }

// One point without its name.
struct MetricSample {
  uint64_t step = 0;
  double epoch = 0;
  double value = 0;
  absl::Time time;  // to the microsecond
};

// What is known of some points of one metric.
struct MetricSummary {
  uint64_t count = 0;  // NaN ones too
  uint64_t num_nan = 0;
  uint64_t first_step = 0;
  uint64_t last_step = 0;
  // Of all but NaN; NaN if there are none.
  double min = std::numeric_limits<double>::quiet_NaN();
  double mean = std::numeric_limits<double>::quiet_NaN();
  double max = std::numeric_limits<double>::quiet_NaN();
  double last_epoch = 0;  // of the point of last_step

  static MetricSummary Of(const MetricSample& sample);
  // Takes in other points.
  void Merge(const MetricSummary& other);
};

// Summaries of the children of a block; count 0: it is not there.
using MetricLevelBlock = std::array<MetricSummary, kMetricFanOut>;

MetricSummary Total(const MetricLevelBlock& block);

// Stored forms. `key` is that under which the value was found: DATA_LOSS if one of both is damaged.
std::string EncodeMetricRow(const MetricSample& sample);
absl::StatusOr<MetricSample> DecodeMetricRow(std::string_view key, std::string_view value);
// `samples` of one block, rising in step.
std::string EncodeMetricLeaf(const std::vector<MetricSample>& samples);
absl::StatusOr<std::vector<MetricSample>> DecodeMetricLeaf(std::string_view key, std::string_view value);
std::string EncodeMetricLevel(const MetricLevelBlock& block);
absl::StatusOr<MetricLevelBlock> DecodeMetricLevel(std::string_view key, std::string_view value);

}  // namespace ursa

#endif  // URSA_STORAGE_METRIC_BLOCK_H_
