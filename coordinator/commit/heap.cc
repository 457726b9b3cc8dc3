#include "coordinator/commit/heap.h"

#include <malloc.h>

namespace ursa {
namespace {

constexpr int kStepBytes = 64 << 20;  // a whole heap of a thread: the allocator's own limit
// Larger pieces get a mapping of their own. The allocator finds this limit by itself (it is that of the largest piece
// freed so far), but no longer once any setting is made; chunks of blobs and blocks of the store stay below it.
constexpr int kMappingBytesMin = 8 << 20;

}  // namespace

absl::Status GrowHeapByLargeSteps() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return absl::OkStatus();  // the sanitizer's own allocator has no settings
#endif
  const bool ok = mallopt(M_TOP_PAD, kStepBytes) == 1 && mallopt(M_TRIM_THRESHOLD, 2 * kStepBytes) == 1 &&
                  mallopt(M_MMAP_THRESHOLD, kMappingBytesMin) == 1;
  return ok ? absl::OkStatus() : absl::InternalError("heap: mallopt refused a setting");
}

}  // namespace ursa
