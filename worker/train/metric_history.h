// The newest metric points of a run, kept by every rank: what rank 0 had not yet handed on when it died, another one
// knows.
#ifndef URSA_WORKER_TRAIN_METRIC_HISTORY_H_
#define URSA_WORKER_TRAIN_METRIC_HISTORY_H_

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/train/metric_point.h"

namespace ursa {

class MetricHistory {
 public:
  void Add(MetricPoint point);

  // The points, oldest first, one a line, values as hexadecimal floats: nothing is rounded.
  std::string ToText() const;
  // DATA_LOSS: not such a text.
  static absl::StatusOr<std::vector<MetricPoint>> Parse(const std::string& text);

 private:
  std::deque<MetricPoint> points_;
};

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_METRIC_HISTORY_H_
