#include "client/lib/retry.h"

#include <algorithm>

namespace ursa {

absl::Duration GrowingWait::Next() {
  const absl::Duration wait = next_ * (1 - 0.25 * rng_.Uniform());
  next_ = std::min(next_ * 1.5, kLongest);
  return wait;
}

void GrowingWait::Wait() { clock_->SleepUntil(clock_->Now() + Next()); }

bool Patience::WaitForNextTry() {
  const absl::Time now = clock_->Now();
  first_failure_ = std::min(first_failure_, now);
  const absl::Time end = first_failure_ + patience_;
  if (now >= end) return false;
  clock_->SleepUntil(std::min(now + wait_.Next(), end));
  return true;
}

void Patience::Succeeded() {
  first_failure_ = absl::InfiniteFuture();
  wait_.Reset();
}

}  // namespace ursa
