// How long to wait between two tries, and when to give up.
#ifndef URSA_CLIENT_LIB_RETRY_H_
#define URSA_CLIENT_LIB_RETRY_H_

#include <cstdint>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/rng.h"

namespace ursa {

// Waits that grow from 20 ms by half to 500 ms, each up to a quarter shorter by chance so that clients do not call in
// step. Not thread-safe; borrows the clock.
class GrowingWait {
 public:
  GrowingWait(Clock* clock, uint64_t seed) : clock_(clock), rng_(seed) {}

  // Sleeps for the next wait.
  void Wait();

  // The next wait is the first one again.
  void Reset() { next_ = kFirst; }

  // The next wait, without sleeping.
  absl::Duration Next();

  static constexpr absl::Duration kFirst = absl::Milliseconds(20);
  static constexpr absl::Duration kLongest = absl::Milliseconds(500);

 private:
  Clock* clock_;
  SeededRng rng_;
  absl::Duration next_ = kFirst;
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
