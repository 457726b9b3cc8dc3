// The seam through which time enters.
#ifndef URSA_BASE_CLOCK_H_
#define URSA_BASE_CLOCK_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace ursa {

// Tells time and waits for it. Safe for use by many threads.
class Clock {
 public:
  virtual ~Clock() = default;

  virtual absl::Time Now() = 0;

  // Returns once Now() >= `wakeup_time`.
  virtual void SleepUntil(absl::Time wakeup_time) = 0;

  // Waits until `condition` holds or Now() >= `deadline`, holding `mu` on entry and on return.
  // Returns whether `condition` holds. Spurious checks of `condition` are allowed; it must depend only on what `mu`
  // guards.
  virtual bool AwaitWithDeadline(absl::Mutex* mu, const absl::Condition& condition, absl::Time deadline) = 0;

  // The machine's clock; lives for ever. The wall's time when it was first asked for, carried on by the monotonic
  // clock: whoever sets the wall's clock later moves no lease and no timeout.
  static Clock* Real();
};

// Time that moves only when a test moves it. Sleepers wake when Advance() passes their time.
class FakeClock : public Clock {
 public:
  explicit FakeClock(absl::Time start = absl::UnixEpoch() + absl::Hours(24 * 365 * 50)) : now_(start) {}

  absl::Time Now() override;
  void SleepUntil(absl::Time wakeup_time) override;
  bool AwaitWithDeadline(absl::Mutex* mu, const absl::Condition& condition, absl::Time deadline) override;

  // Moves time forward by `step` >= 0.
  void Advance(absl::Duration step);

 private:
  absl::Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ursa

#endif  // URSA_BASE_CLOCK_H_
