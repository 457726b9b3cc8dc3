// A rate limit that allows bursts.
#ifndef URSA_WORKER_AGENT_TOKEN_BUCKET_H_
#define URSA_WORKER_AGENT_TOKEN_BUCKET_H_

#include <algorithm>

#include "absl/time/time.h"

namespace ursa {

// Fills with `rate` tokens a second up to `burst`; full at the start. Time that goes back fills nothing. Pure. Not
// thread-safe.
class TokenBucket {
 public:
  TokenBucket(double rate, double burst, absl::Time now)
      : rate_(rate), burst_(burst), tokens_(burst), filled_at_(now) {}

  // Takes `count` tokens, or none if there are fewer.
  bool Take(double count, absl::Time now) {
    Fill(now);
    if (tokens_ < count) return false;
    tokens_ -= count;
    return true;
  }

 private:
  void Fill(absl::Time now) {
    if (now <= filled_at_) return;
    tokens_ = std::min(burst_, tokens_ + absl::ToDoubleSeconds(now - filled_at_) * rate_);
    filled_at_ = now;
  }

  const double rate_;
  const double burst_;
  double tokens_;
  absl::Time filled_at_;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_TOKEN_BUCKET_H_
