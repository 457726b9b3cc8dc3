// Torch's exceptions as statuses.
#ifndef URSA_WORKER_NN_TORCH_ERROR_H_
#define URSA_WORKER_NN_TORCH_ERROR_H_

#include <exception>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace ursa {

// What `error` says, without torch's stack frames.
std::string TorchErrorText(const std::exception& error);

// A status "SUBJECT: what the error says", with its cause: RESOURCE_EXHAUSTED (kOutOfMemory), INTERNAL (kHardware) as
// far as exceptions tell; all others get `code` and `cause`.
absl::Status TorchErrorStatus(std::string_view subject, const std::exception& error, absl::StatusCode code);

}  // namespace ursa

#endif  // URSA_WORKER_NN_TORCH_ERROR_H_
