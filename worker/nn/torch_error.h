// The text of a torch exception, as it may stand in a status.
#ifndef URSA_WORKER_NN_TORCH_ERROR_H_
#define URSA_WORKER_NN_TORCH_ERROR_H_

#include <c10/util/Exception.h>

#include <exception>
#include <string>

namespace ursa {

// What `error` says, without torch's stack frames.
inline std::string TorchErrorText(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  return torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
}

}  // namespace ursa

#endif  // URSA_WORKER_NN_TORCH_ERROR_H_
