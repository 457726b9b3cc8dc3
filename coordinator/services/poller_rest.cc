#include "coordinator/services/poller_rest.h"

namespace ursa {

void PollerRest::Count(absl::Time now) {
  if (now >= interval_end_) {
    is_worth_it_ = heartbeats_ >= options_.heartbeats_min && heartbeats_ <= options_.heartbeats_max &&
                   now < interval_end_ + options_.rest_max;
    heartbeats_ = 0;
    interval_end_ = now + options_.rest_max;
  }
  ++heartbeats_;
}

void PollerRest::OnHeartbeat() {
  const absl::Time now = clock_.Now();
  absl::MutexLock lock(&mu_);
  threads_.insert(std::this_thread::get_id());
  Count(now);
  if (!is_worth_it_ || now < quiet_until_ || num_resting_ + 1 >= threads_.size()) return;
  ++num_resting_;
  const int64_t num_other_before = num_other_;
  const auto has_work = [&] {
    mu_.AssertReaderHeld();
    return num_other_ != num_other_before;
  };
  clock_.AwaitWithDeadline(&mu_, absl::Condition(&has_work), now + options_.rest_max);
  --num_resting_;
}

void PollerRest::OnOtherWork() {
  const absl::Time now = clock_.Now();
  absl::MutexLock lock(&mu_);
  ++num_other_;
  quiet_until_ = now + options_.quiet;
}

size_t PollerRest::num_resting() const {
  absl::MutexLock lock(&mu_);
  return num_resting_;
}

}  // namespace ursa
