#include "worker/task/group_watch.h"

namespace ursa {

void GroupWatch::TellStop(const worker::v1::StopDirective& stop) {
  absl::MutexLock lock(&mu_);
  stopped_ = true;
  keeps_state_ = stop.keeps_state();
}

void GroupWatch::TellReform(const worker::v1::ReformDirective& group) {
  absl::MutexLock lock(&mu_);
  if (group.epoch() > newest_.epoch()) newest_ = group;
}

bool GroupWatch::stopped() const {
  absl::MutexLock lock(&mu_);
  return stopped_;
}

bool GroupWatch::keeps_state() const {
  absl::MutexLock lock(&mu_);
  return keeps_state_;
}

std::optional<worker::v1::ReformDirective> GroupWatch::AwaitNewer(int64_t epoch) const {
  absl::MutexLock lock(&mu_);
  const auto is_told = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopped_ || newest_.epoch() > epoch; };
  mu_.Await(absl::Condition(&is_told));
  if (newest_.epoch() > epoch) return newest_;
  return std::nullopt;
}

void GroupWatch::EnterGroup(int64_t epoch) {
  absl::MutexLock lock(&mu_);
  entered_ = epoch;
}

void GroupWatch::LeaveGroup() {
  absl::MutexLock lock(&mu_);
  entered_.reset();
}

bool GroupWatch::AwaitOver(absl::Duration stop_grace) const {
  absl::MutexLock lock(&mu_);
  const auto is_over = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !entered_ || newest_.epoch() > *entered_; };
  const auto is_over_or_stops = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopped_ || is_over(); };
  mu_.Await(absl::Condition(&is_over_or_stops));
  mu_.AwaitWithTimeout(absl::Condition(&is_over), stop_grace);
  return entered_.has_value();
}

}  // namespace ursa
