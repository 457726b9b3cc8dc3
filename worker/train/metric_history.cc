#include "worker/train/metric_history.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace ursa {
namespace {

// A rank hands points on every 150 ms: many times more than the steps of a second.
constexpr size_t kPointsMax = 4096;

}  // namespace

void MetricHistory::Add(MetricPoint point) {
  if (points_.size() == kPointsMax) points_.pop_front();
  points_.push_back(std::move(point));
}

std::string MetricHistory::ToText() const {
  std::string text;
  for (const MetricPoint& point : points_) {
    absl::StrAppendFormat(&text, "%s %d %d %a\n", point.name, point.step, point.epoch, point.value);
  }
  return text;
}

absl::StatusOr<std::vector<MetricPoint>> MetricHistory::Parse(const std::string& text) {
  std::vector<MetricPoint> points;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    MetricPoint point;
    char* end = nullptr;
    if (words.size() == 4) point.value = std::strtod(words[3].c_str(), &end);
    if (end == nullptr || *end != '\0' || !absl::SimpleAtoi(words[1], &point.step) ||
        !absl::SimpleAtoi(words[2], &point.epoch)) {
      return absl::DataLossError(absl::StrCat("metric history: cannot read \"", line, "\""));
    }
    point.name = words[0];
    points.push_back(std::move(point));
  }
  return points;
}

}  // namespace ursa
