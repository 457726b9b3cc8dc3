// Whole-file reads and atomic, durable whole-file writes.
#ifndef URSA_BASE_FILE_H_
#define URSA_BASE_FILE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ursa {

// Errors of both: NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (disk full), else UNKNOWN; the text names path and
// cause.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// Writes to a temporary file beside `path`, syncs it, renames it over `path`, and syncs the folder: after a crash
// `path` has the old or the new bytes, never a mixture. `mode` is as for open(2): 0600 for what only the owner may
// read. Also deletes what writers of the same path that were killed have left there (`path`.new.*); a file whose writer
// lives is locked by it, and stays.
absl::Status WriteFileAtomically(const std::string& path, std::string_view bytes, int mode = 0644);

// The status of a failed system call: `subject`, then the text of `error_number`.
absl::Status ErrnoStatus(int error_number, std::string_view subject);

}  // namespace ursa

#endif  // URSA_BASE_FILE_H_
