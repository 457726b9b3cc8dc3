#include "client/lib/retry.h"

#include <algorithm>

namespace ursa {

std::optional<absl::Time> Patience::NextTry(absl::Time now) {
  first_failure_ = std::min(first_failure_, now);
  const absl::Time end = first_failure_ + patience_;
  if (now >= end) return std::nullopt;
  return std::min(now + wait_.Next(), end);
}

void Patience::Succeeded() {
  first_failure_ = absl::InfiniteFuture();
  wait_.Reset();
}

}  // namespace ursa
