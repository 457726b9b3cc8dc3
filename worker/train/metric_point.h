// One value of a metric of a run.
#ifndef URSA_WORKER_TRAIN_METRIC_POINT_H_
#define URSA_WORKER_TRAIN_METRIC_POINT_H_

#include <cstdint>
#include <string>

namespace ursa {

// `step` and `epoch` count through all phases. A point that is emitted again after a resume has the same value as the
// first time (bit for bit), and replaces it.
struct MetricPoint {
  std::string name;   // "train_loss" at every step (smoothed, de-biased); "valid_loss" and the metrics at epoch ends
  int64_t step = 0;   // optimizer steps done
  int64_t epoch = 0;  // the epoch in progress or just ended, from 0
  double value = 0;
};

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_METRIC_POINT_H_
