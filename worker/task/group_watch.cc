#include "worker/task/group_watch.h"

namespace ursa {

void GroupWatch::TellStop() {
  absl::MutexLock lock(&mu_);
  stopped_ = true;
}

void GroupWatch::TellReform(const worker::v1::ReformDirective& group) {
  absl::MutexLock lock(&mu_);
  if (group.epoch() > newest_.epoch()) newest_ = group;
}

bool GroupWatch::stopped() const {
  absl::MutexLock lock(&mu_);
  return stopped_;
}

std::optional<worker::v1::ReformDirective> GroupWatch::AwaitNewer(int64_t epoch) const {
  absl::MutexLock lock(&mu_);
  const auto is_told = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopped_ || newest_.epoch() > epoch; };
  mu_.Await(absl::Condition(&is_told));
  if (newest_.epoch() > epoch) return newest_;
  return std::nullopt;
}

}  // namespace ursa
