#include "worker/comm/cuda_plugin.h"

#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

namespace {

// Runs `body`; its exception becomes the error text.
template <typename Body>
int Guarded(char* error, int error_bytes, const Body& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& e) {
    std::snprintf(error, static_cast<size_t>(error_bytes), "%s", e.what());
    return 1;
  }
}

int DeviceCount(char* error, int error_bytes) {
  int count = -1;
  Guarded(error, error_bytes, [&] { count = c10::cuda::device_count_ensure_non_zero(); });
  return count;
}

int MakeNcclBackend(void* store, int rank, int world_size, int device, long long timeout_ms, void** backend,
                    char* error, int error_bytes) {
  return Guarded(error, error_bytes, [&] {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    // Whoever waits for an operation looks for its failure and decides what then: no thread of torch's ends the
    // process.
    setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", /*overwrite=*/1);
    setenv("TORCH_NCCL_ENABLE_MONITORING", "0", 1);
    setenv("TORCH_NCCL_DUMP_ON_TIMEOUT", "0", 1);
    // When torch's watchdog is the first to see a failure it sleeps four times this long, for dumps that are not made,
    // and a group cannot be closed while it does: by default for a minute.
    setenv("TORCH_NCCL_WAIT_TIMEOUT_DUMP_MILSEC", "0", 1);
    setenv("TORCH_NCCL_RETHROW_CUDA_ERRORS", "0", 1);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(timeout_ms);
    const auto reference = c10::intrusive_ptr<c10d::Store>::reclaim_copy(static_cast<c10d::Store*>(store));
    auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(reference, rank, world_size, std::move(options));
    nccl->eagerConnectSingleDevice(guard.current_device());
    *backend = static_cast<c10d::Backend*>(nccl.release());
  });
}

int Synchronize(int device, char* error, int error_bytes) {
  return Guarded(error, error_bytes, [&] {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    c10::cuda::device_synchronize();
  });
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const UrsaCudaPlugin* ursa_cuda_plugin() {
  static const UrsaCudaPlugin plugin = {URSA_CUDA_PLUGIN_VERSION, DeviceCount, MakeNcclBackend, Synchronize};
  return &plugin;
}
