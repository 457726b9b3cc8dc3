// MetricLog::Chart: as few blocks as will do.
#include <algorithm>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "storage/metric_log.h"

namespace ursa {
namespace {

uint64_t WidthOf(int level) { return uint64_t{1} << MetricLevelBits(level); }

// Collects the points of a metric between two steps as summaries of blocks no wider than `width`; at both ends of the
// range, and where a row may replace a point of a block, the points themselves.
class Collector {
 public:
  Collector(const KvReader& view, TrialKey trial, const std::string& name) : view_(view), trial_(trial), name_(name) {}

  // The first and last step that are stored within the range. False if there is none.
  absl::StatusOr<bool> FindEnds(uint64_t begin_step, uint64_t last_step) {
    lo_ = begin_step;
    hi_ = last_step;
    URSA_RETURN_IF_ERROR(ReadRows());
    bool is_any = !rows_.empty();
    uint64_t first = is_any ? rows_.front().step : hi_;
    uint64_t last = is_any ? rows_.back().step : lo_;
    const KeyRange leaves = {MetricBlockKey(trial_, name_, 0, lo_ >> MetricLevelBits(0)),
                             MetricBlockKey(trial_, name_, 0, hi_ >> MetricLevelBits(0)) + '\0'};
    URSA_ASSIGN_OR_RETURN(const auto last_key, view_.LastKey(leaves));
    if (last_key.has_value()) {
      // Whole leaves at both ends: a little wider than what is there does not matter.
      const std::unique_ptr<KvIterator> iterator = view_.NewIterator(leaves);
      const auto first_leaf = iterator->Valid() ? ParseMetricBlockKey(iterator->key()) : std::nullopt;
      const auto last_leaf = ParseMetricBlockKey(*last_key);
      URSA_RETURN_IF_ERROR(iterator->status());
      if (!first_leaf.has_value() || !last_leaf.has_value()) {
        return absl::DataLossError("metric block: its key is damaged");
      }
      first = std::min(first, first_leaf->index << MetricLevelBits(0));
      last = std::max(last, (last_leaf->index << MetricLevelBits(0)) + (WidthOf(0) - 1));
      is_any = true;
    }
    lo_ = std::max(lo_, first);
    hi_ = std::min(hi_, last);
    return is_any && lo_ <= hi_;
  }

  uint64_t lo() const { return lo_; }
  uint64_t hi() const { return hi_; }

  // Rising in first step.
  absl::StatusOr<std::vector<MetricSummary>> Collect(uint64_t width) {
    width_ = width;
    int level = 1;
    while (level < kMetricTopLevel && lo_ >> MetricLevelBits(level) != hi_ >> MetricLevelBits(level)) ++level;
    for (uint64_t index = lo_ >> MetricLevelBits(level); index <= hi_ >> MetricLevelBits(level); ++index) {
      URSA_RETURN_IF_ERROR(Visit(level, index));
    }
    for (const MetricSample& row : rows_) found_.push_back(MetricSummary::Of(row));
    std::sort(found_.begin(), found_.end(),
              [](const MetricSummary& a, const MetricSummary& b) { return a.first_step < b.first_step; });
    return std::move(found_);
  }

 private:
  absl::Status ReadRows() {
    const std::unique_ptr<KvIterator> iterator =
        view_.NewIterator({MetricKey(trial_, name_, lo_), MetricKey(trial_, name_, hi_) + '\0'});
    for (; iterator->Valid(); iterator->Next()) {
      URSA_ASSIGN_OR_RETURN(const MetricSample sample, DecodeMetricRow(iterator->key(), iterator->value()));
      rows_.push_back(sample);
    }
    return iterator->status();
  }

  // Whether there is a row of a step in [first, last].
  bool HasRow(uint64_t first, uint64_t last) const {
    const auto row = std::lower_bound(rows_.begin(), rows_.end(), first,
                                      [](const MetricSample& sample, uint64_t step) { return sample.step < step; });
    return row != rows_.end() && row->step <= last;
  }

  absl::Status Visit(int level, uint64_t index) {
    const std::string key = MetricBlockKey(trial_, name_, static_cast<uint8_t>(level), index);
    URSA_ASSIGN_OR_RETURN(const auto value, view_.Get(key));
    if (!value.has_value()) return absl::OkStatus();
    if (level == 0) {
      URSA_ASSIGN_OR_RETURN(const auto samples, DecodeMetricLeaf(key, *value));
      for (const MetricSample& sample : samples) {
        if (sample.step < lo_ || sample.step > hi_ || HasRow(sample.step, sample.step)) continue;
        found_.push_back(MetricSummary::Of(sample));
      }
      return absl::OkStatus();
    }
    URSA_ASSIGN_OR_RETURN(const MetricLevelBlock block, DecodeMetricLevel(key, *value));
    for (size_t i = 0; i < block.size(); ++i) {
      const MetricSummary& child = block[i];
      if (child.count == 0 || child.last_step < lo_ || child.first_step > hi_) continue;
      const bool is_inside = child.first_step >= lo_ && child.last_step <= hi_;
      if (is_inside && WidthOf(level - 1) <= width_ && !HasRow(child.first_step, child.last_step)) {
        found_.push_back(child);
      } else {
        URSA_RETURN_IF_ERROR(Visit(level - 1, index * kMetricFanOut + i));
      }
    }
    return absl::OkStatus();
  }

  const KvReader& view_;
  const TrialKey trial_;
  const std::string& name_;
  uint64_t lo_ = 0;
  uint64_t hi_ = 0;
  uint64_t width_ = 0;
  std::vector<MetricSample> rows_;  // within the range
  std::vector<MetricSummary> found_;
};

}  // namespace

absl::StatusOr<std::vector<MetricSummary>> MetricLog::Chart(const ChartQuery& query) const {
  URSA_RETURN_IF_ERROR(CheckMetricName(query.name));
  if (query.points_max < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("chart of ", query.name, ": points must be >= 1, are ", query.points_max));
  }
  const std::unique_ptr<KvReader> view = store_->Snapshot();
  if (query.begin_step > query.last_step) return std::vector<MetricSummary>();
  Collector collector(*view, query.trial, query.name);
  URSA_ASSIGN_OR_RETURN(const bool is_any, collector.FindEnds(query.begin_step, query.last_step));
  if (!is_any) return std::vector<MetricSummary>();
  const auto points_max = static_cast<uint64_t>(query.points_max);
  uint64_t width = (collector.hi() - collector.lo()) / points_max;  // of a neighbourhood, in steps
  if (width < std::numeric_limits<uint64_t>::max()) ++width;
  URSA_ASSIGN_OR_RETURN(std::vector<MetricSummary> found, collector.Collect(width));
  if (found.size() <= points_max) return found;
  std::vector<MetricSummary> chart;
  uint64_t last_place = 0;
  for (const MetricSummary& summary : found) {
    const uint64_t place = std::min((summary.first_step - collector.lo()) / width, points_max - 1);
    if (chart.empty() || place != last_place) chart.emplace_back();
    chart.back().Merge(summary);
    last_place = place;
  }
  return chart;
}

}  // namespace ursa
