// How long to wait between two tries, and when to give up.
#ifndef URSA_CLIENT_LIB_RETRY_H_
#define URSA_CLIENT_LIB_RETRY_H_

#include <cstdint>

#include "absl/time/time.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/rng.h"

namespace ursa {

// Sleeps that grow by half from 20 ms to 500 ms. Not thread-safe; borrows the clock.
class GrowingWait {
 public:
  GrowingWait(Clock* clock, uint64_t seed) : clock_(clock), rng_(seed) {}
  GrowingWait(const GrowingWait&) = delete;
  GrowingWait& operator=(const GrowingWait&) = delete;

  // Sleeps for the next wait, but not past `deadline`.
  void Wait(absl::Time deadline = absl::InfiniteFuture());

  // The next wait is the first one again.
  void Reset() { backoff_.Reset(); }

 private:
  Clock* clock_;
  SeededRng rng_;
  Backoff backoff_{{absl::Milliseconds(20), absl::Milliseconds(500), 1.5}, &rng_};
};

// Decides whether a failed try is followed by another: yes, until `patience` has passed since the first failure after
// the last success. Not thread-safe; borrows the clock.
class Patience {
 public:
  Patience(Clock* clock, absl::Duration patience, uint64_t seed)
      : clock_(clock), patience_(patience), wait_(clock, seed) {}

  // After a failure: sleeps and returns true, or returns false when patience is over.
  bool WaitForNextTry();

  // After a success.
  void Succeeded();

 private:
  Clock* clock_;
  absl::Duration patience_;
  GrowingWait wait_;
  absl::Time first_failure_ = absl::InfiniteFuture();
};

}  // namespace ursa

#endif  // URSA_CLIENT_LIB_RETRY_H_
