// Watching one column of the epoch table: is it the best so far, and is it time to stop.
#ifndef URSA_WORKER_TRAIN_EARLY_STOPPING_H_
#define URSA_WORKER_TRAIN_EARLY_STOPPING_H_

#include <limits>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace ursa {

// Whether a smaller value of the column is the better one: its name contains "loss" or "error" (fastai's rule).
bool SmallerIsBetter(const std::string& column);

// fastai's TrackerCallback rule: improved iff value + min_delta < best (smaller is better) or value - min_delta > best.
// `best` moves only on such an improvement. NaN never improves.
struct BestTracker {
  bool smaller_is_better = true;
  double min_delta = 0;
  double best = std::numeric_limits<double>::infinity();  // -infinity when larger is better: use Reset()

  void Reset();
  // Takes the next value; returns whether it is a new best.
  bool Update(double value);
};

struct EarlyStoppingOptions {
  std::string monitor = "valid_loss";
  int patience = 1;                                      // >= 1 epochs without improvement
  double min_delta = 0;                                  // >= 0
  std::optional<bool> smaller_is_better = std::nullopt;  // without it: by the column's name
  absl::Status Validate() const;
};

// Counts epochs without improvement. Counters start again with each phase, as in fastai.
class EarlyStopping {
 public:
  explicit EarlyStopping(const EarlyStoppingOptions& options);
  void Reset();
  // Takes an epoch's value; returns whether to stop now.
  bool Update(double value);
  const EarlyStoppingOptions& options() const { return options_; }
  const BestTracker& tracker() const { return tracker_; }
  int num_without_improvement() const { return wait_; }
  void Restore(double best, int wait) { tracker_.best = best, wait_ = wait; }

 private:
  EarlyStoppingOptions options_;
  BestTracker tracker_;
  int wait_ = 0;
};

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_EARLY_STOPPING_H_
