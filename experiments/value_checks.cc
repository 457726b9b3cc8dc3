#include "experiments/value_checks.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"

namespace ursa {

absl::Status BadValue(const FieldPath& path, const std::string& value, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat(path.ToString(), ": ", value, "; allowed: ", allowed));
}

absl::Status MissingValue(const FieldPath& path, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat(path.ToString(), ": missing; allowed: ", allowed));
}

absl::Status CheckChoice(const FieldPath& path, const std::string& value, const std::vector<std::string>& allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return absl::OkStatus();
  const std::string words = absl::StrJoin(allowed, ", ");
  if (value.empty()) return MissingValue(path, words);
  const std::string nearest = NearestWord(value, allowed);
  return BadValue(path, absl::StrCat("\"", absl::CEscape(value), "\""),
                  nearest.empty() ? words : absl::StrCat(words, " (hint: ", nearest, "?)"));
}

absl::Status CheckChoice(const FieldPath& path, const std::string& value,
                         std::initializer_list<std::string_view> allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return absl::OkStatus();
  return CheckChoice(path, value, std::vector<std::string>(allowed.begin(), allowed.end()));
}

absl::Status CheckInt(const FieldPath& path, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return BadValue(path, absl::StrCat(value), absl::StrCat(low, " to ", high));
}

absl::Status CheckDouble(const FieldPath& path, double value, double low, double high, Ends ends) {
  const bool with_low = ends == Ends::kBoth || ends == Ends::kLow;
  const bool with_high = ends == Ends::kBoth || ends == Ends::kHigh;
  // NaN is in no range.
  if ((with_low ? value >= low : value > low) && (with_high ? value <= high : value < high)) return absl::OkStatus();
  return BadValue(path, absl::StrCat(value),
                  with_low && with_high ? absl::StrCat(low, " to ", high)
                                        : absl::StrCat(with_low ? "at least " : "more than ", low,
                                                       with_high ? ", at most " : ", less than ", high));
}

absl::Status At(const FieldPath& path, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(path.ToString(), ": ", status.message()));
}

}  // namespace ursa
