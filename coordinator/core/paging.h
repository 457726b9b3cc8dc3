// Pages of lists: sizes and tokens.
#ifndef URSA_COORDINATOR_CORE_PAGING_H_
#define URSA_COORDINATOR_CORE_PAGING_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace ursa {

// The size to use: `asked`, or `default_size` if it is 0, at most `max_size`. INVALID_ARGUMENT: negative.
absl::StatusOr<int> PageSize(int asked, int default_size, int max_size);

// The number in a page token; 0 for an empty token. INVALID_ARGUMENT: it is no token of ours.
absl::StatusOr<int64_t> NumberToken(const std::string& token);

absl::Status BadPageToken(const std::string& token);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_PAGING_H_
