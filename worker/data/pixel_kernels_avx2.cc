// All includes stand before the pragma: nothing but the kernels may be compiled for AVX2, or the linker could keep an
// AVX2 copy of a shared inline function for the whole program.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "worker/data/pixel_kernels.h"

#pragma GCC target("avx2")
#define URSA_PIXEL_KERNELS_NAME kPixelKernelsAvx2
#define URSA_PIXEL_KERNELS_AVX2  // g++ reads the whole file before it obeys the pragma, so __AVX2__ is not defined
#include "worker/data/pixel_kernels_impl.h"
