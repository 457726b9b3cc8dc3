#include "worker/train/early_stopping.h"

#include "absl/strings/str_cat.h"

namespace ursa {

bool SmallerIsBetter(const std::string& column) {
  return column.find("loss") != std::string::npos || column.find("error") != std::string::npos;
}

void BestTracker::Reset() {
  best = std::numeric_limits<double>::infinity();
  if (!smaller_is_better) best = -best;
}

bool BestTracker::Update(double value) {
  const bool improved = smaller_is_better ? value + min_delta < best : value - min_delta > best;
  if (improved) best = value;
  return improved;
}

absl::Status EarlyStoppingOptions::Validate() const {
  if (patience < 1) {
    return absl::InvalidArgumentError(absl::StrCat("early_stopping: patience must be >= 1, it is ", patience));
  }
  if (!(min_delta >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat("early_stopping: min_delta must be >= 0, it is ", min_delta));
  }
  return absl::OkStatus();
}

EarlyStopping::EarlyStopping(const EarlyStoppingOptions& options) : options_(options) {
  tracker_.smaller_is_better = options.smaller_is_better.value_or(SmallerIsBetter(options.monitor));
  tracker_.min_delta = options.min_delta;
  Reset();
}

void EarlyStopping::Reset() {
  tracker_.Reset();
  wait_ = 0;
}

bool EarlyStopping::Update(double value) {
  wait_ = tracker_.Update(value) ? 0 : wait_ + 1;
  return wait_ >= options_.patience;
}

}  // namespace ursa
