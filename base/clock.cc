#include "base/clock.h"

#include "absl/time/clock.h"
#include "base/log.h"

namespace ursa {
namespace {

class RealClock : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }

  void SleepUntil(absl::Time wakeup_time) override {
    for (absl::Time now = Now(); now < wakeup_time; now = Now()) absl::SleepFor(wakeup_time - now);
  }

  bool AwaitWithDeadline(absl::Mutex* mu, const absl::Condition& condition, absl::Time deadline) override {
    return mu->AwaitWithDeadline(condition, deadline);
  }
};

}  // namespace

Clock* Clock::Real() {
  static RealClock* const clock = new RealClock;
  return clock;
}

absl::Time FakeClock::Now() {
  absl::MutexLock lock(&mu_);
  return now_;
}

void FakeClock::SleepUntil(absl::Time wakeup_time) {
  absl::MutexLock lock(&mu_);
  auto awake = [this, wakeup_time]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return now_ >= wakeup_time; };
  mu_.Await(absl::Condition(&awake));
}

bool FakeClock::AwaitWithDeadline(absl::Mutex* mu, const absl::Condition& condition, absl::Time deadline) {
  // Two mutexes cannot be waited for at once: look again after a moment of real time.
  while (!mu->AwaitWithTimeout(condition, absl::Milliseconds(1))) {
    if (Now() >= deadline) return condition.Eval();
  }
  return true;
}

void FakeClock::Advance(absl::Duration step) {
  URSA_CHECK(step >= absl::ZeroDuration());
  absl::MutexLock lock(&mu_);
  now_ += step;
}

}  // namespace ursa
