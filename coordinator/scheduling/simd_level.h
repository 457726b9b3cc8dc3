// The order of instruction sets.
#ifndef URSA_COORDINATOR_SCHEDULING_SIMD_LEVEL_H_
#define URSA_COORDINATOR_SCHEDULING_SIMD_LEVEL_H_

#include <cstdint>
#include <string_view>

namespace ursa {

// x86-64-v2: 0, avx2: 1, avx512: 2; -1 for another word.
int32_t SimdLevel(std::string_view simd);

// The word for a level of 0..2.
std::string_view SimdName(int32_t level);

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_SIMD_LEVEL_H_
