#include "coordinator/core/paging.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"

namespace ursa {

absl::StatusOr<int> PageSize(int asked, int default_size, int max_size) {
  if (asked < 0) return absl::InvalidArgumentError(absl::StrCat("page_size: ", asked, " is negative"));
  return asked == 0 ? default_size : std::min(asked, max_size);
}

absl::StatusOr<int64_t> NumberToken(const std::string& token) {
  if (token.empty()) return 0;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number);
  if (error != std::errc() || end != token.data() + token.size() || number < 0) return BadPageToken(token);
  return number;
}

absl::Status BadPageToken(const std::string& token) {
  return absl::InvalidArgumentError(
      absl::StrCat("page_token \"", token.substr(0, 64), "\": is not from an answer to this list"));
}

}  // namespace ursa
