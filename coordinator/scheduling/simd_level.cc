#include "coordinator/scheduling/simd_level.h"

#include "base/log.h"
#include "coordinator/scheduling/gang.h"

namespace ursa {
namespace {
constexpr std::string_view kNames[kNumSimdLevels] = {"x86-64-v2", "avx2", "avx512"};
}  // namespace

int32_t SimdLevel(std::string_view simd) {
  for (int32_t level = 0; level < kNumSimdLevels; ++level) {
    if (simd == kNames[level]) return level;
  }
  return -1;
}

std::string_view SimdName(int32_t level) {
  URSA_CHECK(level >= 0 && level < kNumSimdLevels) << level;
  return kNames[level];
}

}  // namespace ursa
