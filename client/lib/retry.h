// How long to wait between two tries, and when to give up.
#ifndef URSA_CLIENT_LIB_RETRY_H_
#define URSA_CLIENT_LIB_RETRY_H_

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "base/backoff.h"
#include "base/rng.h"

namespace ursa {

// Waits that grow by half from 20 ms to 500 ms. Not thread-safe.
class GrowingWait {
 public:
  explicit GrowingWait(uint64_t seed) : rng_(seed) {}
  GrowingWait(const GrowingWait&) = delete;
  GrowingWait& operator=(const GrowingWait&) = delete;

  absl::Duration Next() { return backoff_.Next(); }

  // The next wait is the first one again.
  void Reset() { backoff_.Reset(); }

 private:
  SeededRng rng_;
  Backoff backoff_{{absl::Milliseconds(20), absl::Milliseconds(500), 1.5}, &rng_};
};

// Decides whether a failed try is followed by another: yes, until `patience` has passed since the first failure after
// the last success. Not thread-safe.
class Patience {
 public:
  Patience(absl::Duration patience, uint64_t seed) : patience_(patience), wait_(seed) {}

  // After a failure at `now`: when to try next; nothing when patience is over.
  std::optional<absl::Time> NextTry(absl::Time now);

  // After a success.
  void Succeeded();

 private:
  absl::Duration patience_;
  GrowingWait wait_;
  absl::Time first_failure_ = absl::InfiniteFuture();
};

}  // namespace ursa

#endif  // URSA_CLIENT_LIB_RETRY_H_
