#include "coordinator/scheduling/options.h"

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

absl::Status CheckDuration(std::string_view name, absl::Duration value, absl::Duration least) {
  if (value >= least) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("scheduling option ", std::string(name), ": ",
                                                 absl::FormatDuration(value), "; at least ",
                                                 absl::FormatDuration(least)));
}

absl::Status CheckNumber(std::string_view name, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("scheduling option ", std::string(name), ": ", value, "; allowed: ", least, " to ", most));
}

}  // namespace

absl::Status SchedulingOptions::Validate() const {
  constexpr int64_t kMissingMax = 1 << 20;  // the tables for it still fit a few megabytes
  URSA_RETURN_IF_ERROR(CheckDuration("use_half_life", use_half_life, absl::Seconds(1)));
  URSA_RETURN_IF_ERROR(CheckDuration("order_period", order_period, absl::Milliseconds(1)));
  URSA_RETURN_IF_ERROR(CheckDuration("aging_step", aging_step, order_period));
  URSA_RETURN_IF_ERROR(CheckDuration("aged_run_min", aged_run_min, absl::ZeroDuration()));
  if (user_slots_max) URSA_RETURN_IF_ERROR(CheckNumber("user_slots_max", *user_slots_max, 1, INT64_MAX));
  if (workspace_slots_max) URSA_RETURN_IF_ERROR(CheckNumber("workspace_slots_max", *workspace_slots_max, 1, INT64_MAX));
  URSA_RETURN_IF_ERROR(CheckNumber("backfill_missing_max", backfill_missing_max, 0, kMissingMax));
  URSA_RETURN_IF_ERROR(CheckNumber("exact_victims_missing_max", exact_victims_missing_max, 0, 1 << 14));
  return absl::OkStatus();
}

}  // namespace ursa
