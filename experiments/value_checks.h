// Checks of single values that people write in recipes, with the error text they share:
// `path: value; allowed: what is allowed`.
#ifndef URSA_EXPERIMENTS_VALUE_CHECKS_H_
#define URSA_EXPERIMENTS_VALUE_CHECKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ursa {

// INVALID_ARGUMENT: `path: value; allowed: ...` and `path: missing; allowed: ...`.
absl::Status BadValue(const std::string& path, const std::string& value, const std::string& allowed);
absl::Status MissingValue(const std::string& path, const std::string& allowed);

// One of `allowed`; the error hints at the nearest one. An empty value is missing.
absl::Status CheckChoice(const std::string& path, const std::string& value, const std::vector<std::string>& allowed);

// low <= value <= high.
absl::Status CheckInt(const std::string& path, int64_t value, int64_t low, int64_t high);

// Which ends belong to a range of numbers.
enum class Ends { kBoth, kLow, kHigh, kNone };

// Within the range; NaN is in none.
absl::Status CheckDouble(const std::string& path, double value, double low, double high, Ends ends = Ends::kBoth);

// Puts `path` before the error of a check that knows nothing of fields.
absl::Status At(const std::string& path, const absl::Status& status);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_VALUE_CHECKS_H_
