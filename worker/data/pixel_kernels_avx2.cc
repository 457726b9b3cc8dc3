// All includes stand before the pragma: nothing but the kernels may be compiled for AVX2, or the linker could keep an
// AVX2 copy of a shared inline function for the whole program.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "worker/data/pixel_kernels.h"

#pragma GCC target("avx2")
#define URSA_PIXEL_KERNELS_NAME kPixelKernelsAvx2
#include "worker/data/pixel_kernels_impl.h"
