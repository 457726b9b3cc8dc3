#include "client/lib/retry.h"

#include <algorithm>

namespace ursa {

void GrowingWait::Wait(absl::Time deadline) { clock_->SleepUntil(std::min(clock_->Now() + backoff_.Next(), deadline)); }

bool Patience::WaitForNextTry() {
  const absl::Time now = clock_->Now();
  first_failure_ = std::min(first_failure_, now);
  const absl::Time end = first_failure_ + patience_;
  if (now >= end) return false;
  wait_.Wait(end);
  return true;
}

void Patience::Succeeded() {
  first_failure_ = absl::InfiniteFuture();
  wait_.Reset();
}

}  // namespace ursa
