// How long to wait before the next attempt.
#ifndef URSA_BASE_BACKOFF_H_
#define URSA_BASE_BACKOFF_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/rng.h"

namespace ursa {

// Waits that grow exponentially up to a limit, each drawn at random from its upper half, so that many clients of a
// server that came back do not call in step. Pure: it only computes, and draws from `rng`. Not thread-safe.
class Backoff {
 public:
  struct Options {
    absl::Duration initial = absl::Milliseconds(100);  // > 0
    absl::Duration max = absl::Seconds(5);             // >= initial
    double multiplier = 2;                             // >= 1

    // INVALID_ARGUMENT when a value is out of the range above.
    absl::Status Validate() const;
  };

  // `rng` is borrowed and must outlive this object; `options` must be valid.
  Backoff(const Options& options, Rng* rng);

  // The next wait, in [w / 2, w] where w = min(max, initial * multiplier^n) for the n-th call since the last Reset().
  absl::Duration Next();

  // To be called after a success.
  void Reset() { ceiling_ = options_.initial; }

 private:
  Options options_;
  Rng* rng_;
  absl::Duration ceiling_;
};

}  // namespace ursa

#endif  // URSA_BASE_BACKOFF_H_
