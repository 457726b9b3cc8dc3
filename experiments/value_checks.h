// Checks of single values that people write in recipes, with the error text they share:
// `path: value; allowed: what is allowed`.
#ifndef URSA_EXPERIMENTS_VALUE_CHECKS_H_
#define URSA_EXPERIMENTS_VALUE_CHECKS_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace ursa {

// Where a value stands in a recipe, as "train.fine_tune" + ".epochs". Put together only when something is wrong there:
// a search checks the recipe of each trial. Refers to the texts that it was made of.
class FieldPath {
 public:
  // NOLINTBEGIN(google-explicit-constructor): a path is mostly a literal
  FieldPath(const char* path) : FieldPath(std::string_view(path)) {}
  FieldPath(const std::string& path) : FieldPath(std::string_view(path)) {}
  FieldPath(std::string_view parent, std::string_view field = "") : parent_(parent), field_(field) {}
  // NOLINTEND(google-explicit-constructor)

  std::string ToString() const { return std::string(parent_).append(field_); }
  // Of a path that is whole: one step at most is added.
  friend FieldPath operator+(const FieldPath& parent, const char* field) { return {parent.parent_, field}; }

 private:
  std::string_view parent_;
  std::string_view field_;
};

// INVALID_ARGUMENT: `path: value; allowed: ...` and `path: missing; allowed: ...`.
absl::Status BadValue(const FieldPath& path, const std::string& value, const std::string& allowed);
absl::Status MissingValue(const FieldPath& path, const std::string& allowed);

// One of `allowed`; the error hints at the nearest one. An empty value is missing.
absl::Status CheckChoice(const FieldPath& path, const std::string& value, const std::vector<std::string>& allowed);
absl::Status CheckChoice(const FieldPath& path, const std::string& value,
                         std::initializer_list<std::string_view> allowed);

// low <= value <= high.
absl::Status CheckInt(const FieldPath& path, int64_t value, int64_t low, int64_t high);

// Which ends belong to a range of numbers.
enum class Ends { kBoth, kLow, kHigh, kNone };

// Within the range; NaN is in none.
absl::Status CheckDouble(const FieldPath& path, double value, double low, double high, Ends ends = Ends::kBoth);

// Puts `path` before the error of a check that knows nothing of fields.
absl::Status At(const FieldPath& path, const absl::Status& status);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_VALUE_CHECKS_H_
