#include "worker/nn/batch_norm_kernels.h"

#include <algorithm>

#pragma GCC diagnostic ignored "-Wpsabi"  // the wide vectors of the kernels are not passed to other files

namespace ursa {

namespace baseline {
namespace {
#include "worker/nn/batch_norm_kernels.inc"
}  // namespace
}  // namespace baseline

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
namespace {
#include "worker/nn/batch_norm_kernels.inc"
}  // namespace
}  // namespace avx2
#pragma GCC pop_options

namespace {

// Code is built for x86-64-v2.
bool HasAvx2() {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}

}  // namespace

void BatchNormStatistics(const BatchNormRows& rows, float* mean, float* m2) {
  return HasAvx2() ? avx2::BatchNormStatistics(rows, mean, m2) : baseline::BatchNormStatistics(rows, mean, m2);
}

void BatchNormApply(const BatchNormRows& rows, const float* scale, const float* shift, Activation activation,
                    float* y) {
  return HasAvx2() ? avx2::BatchNormApply(rows, scale, shift, activation, y)
                   : baseline::BatchNormApply(rows, scale, shift, activation, y);
}

void BatchNormGradientSums(const BatchNormRows& rows, const float* dy, const float* scale, const float* shift,
                           Activation activation, const float* mean, float* sum_g, float* sum_gx) {
  return HasAvx2() ? avx2::BatchNormGradientSums(rows, dy, scale, shift, activation, mean, sum_g, sum_gx)
                   : baseline::BatchNormGradientSums(rows, dy, scale, shift, activation, mean, sum_g, sum_gx);
}

void BatchNormInputGradient(const BatchNormRows& rows, const float* dy, const float* scale, const float* shift,
                            Activation activation, const float* a, const float* b, const float* c, float* dx) {
  return HasAvx2() ? avx2::BatchNormInputGradient(rows, dy, scale, shift, activation, a, b, c, dx)
                   : baseline::BatchNormInputGradient(rows, dy, scale, shift, activation, a, b, c, dx);
}

}  // namespace ursa
