#include "worker/train/memory.h"

#include <ATen/Parallel.h>
#include <malloc.h>

#include <algorithm>

namespace ursa {
namespace {

constexpr int kTopPadBytes = 256 << 20;  // how much the heap grows at a time

}  // namespace

absl::Status KeepMemoryInProcess() {
#ifdef __SANITIZE_ADDRESS__
  return absl::OkStatus();  // the sanitizer's own allocator has no settings
#endif
  // No allocation gets a mapping of its own that is unmapped (and faulted in again) with each use; the heap never
  // shrinks. One arena per process: activations freed on the autograd thread serve the next forward.
  const bool ok = mallopt(M_MMAP_MAX, 0) == 1 && mallopt(M_TRIM_THRESHOLD, -1) == 1 &&
                  mallopt(M_TOP_PAD, kTopPadBytes) == 1 && mallopt(M_ARENA_MAX, 1) == 1;
  return ok ? absl::OkStatus() : absl::InternalError("memory: mallopt refused a setting");
}

void SetComputeThreads(int num_threads) { at::set_num_threads(std::max(1, num_threads)); }

}  // namespace ursa
