#include "worker/data/pixel_kernels.h"

#include <atomic>

#define URSA_PIXEL_KERNELS_NAME kPixelKernelsBaseline
#include "worker/data/pixel_kernels_impl.h"

namespace ursa {
namespace {

std::atomic<bool> baseline_forced{false};

}  // namespace

const PixelKernels& ActivePixelKernels() {
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2 && !baseline_forced.load(std::memory_order_relaxed) ? kPixelKernelsAvx2 : kPixelKernelsBaseline;
}

void ForceBaselinePixelKernels(bool force) { baseline_forced.store(force, std::memory_order_relaxed); }

}  // namespace ursa
