#include "base/backoff.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace ursa {

absl::Status Backoff::Options::Validate() const {
  if (initial <= absl::ZeroDuration())
    return absl::InvalidArgumentError(
        absl::StrCat("backoff: initial is ", absl::FormatDuration(initial), ", must be over 0"));
  if (max < initial)
    return absl::InvalidArgumentError(absl::StrCat("backoff: max is ", absl::FormatDuration(max),
                                                   ", must be at least initial, ", absl::FormatDuration(initial)));
  if (!(multiplier >= 1))
    return absl::InvalidArgumentError(absl::StrCat("backoff: multiplier is ", multiplier, ", must be at least 1"));
  return absl::OkStatus();
}

Backoff::Backoff(const Options& options, Rng* rng) : options_(options), rng_(rng), ceiling_(options.initial) {
  URSA_CHECK_OK(options.Validate());
}

absl::Duration Backoff::Next() {
  const absl::Duration ceiling = ceiling_;
  ceiling_ = std::min(options_.max, ceiling_ * options_.multiplier);
  return ceiling / 2 + ceiling / 2 * rng_->Uniform();
}

}  // namespace ursa
