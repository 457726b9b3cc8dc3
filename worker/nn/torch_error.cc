#include "worker/nn/torch_error.h"

#include <c10/util/Exception.h>

#include <new>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/failure_cause.h"

namespace ursa {
namespace {

// The CPU's allocator throws a plain error (c10/core/impl/alloc_cpu.cpp, torch 2.11), the CUDA one OutOfMemoryError.
constexpr const char* kOutOfMemory[] = {"DefaultCPUAllocator: can't allocate memory",
                                        "DefaultCPUAllocator: not enough memory", "CUDA out of memory",
                                        "CUDA error: out of memory"};

// Words of cudaGetErrorString (CUDA 13) for errors that no program causes.
constexpr const char* kHardware[] = {"uncorrectable ECC error", "uncorrectable NVLink error", "hardware stack error",
                                     "device is lost",          "GPU has fallen off the bus", "Contained memory error"};

template <size_t kNum>
bool HasOneOf(const std::string& text, const char* const (&words)[kNum]) {
  for (const char* word : words) {
    if (absl::StrContains(text, word)) return true;
  }
  return false;
}

}  // namespace

std::string TorchErrorText(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  return torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
}

absl::Status TorchErrorStatus(std::string_view subject, const std::exception& error, absl::StatusCode code) {
  const std::string text = TorchErrorText(error);
  const std::string message = std::string(subject) + ": " + text;
  const bool is_out_of_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
                                dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
                                HasOneOf(text, kOutOfMemory);
  if (is_out_of_memory) {
    return WithCause(
        absl::ResourceExhaustedError(absl::StrCat(
            message, " (hint: a smaller data.batch_size, or more slots_per_trial at the same batch_size)")),
        FailureCause::kOutOfMemory);
  }
  if (HasOneOf(text, kHardware)) return WithCause(absl::InternalError(message), FailureCause::kHardware);
  return absl::Status(code, message);
}

}  // namespace ursa
