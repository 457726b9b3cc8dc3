#include "worker/nn/batch_norm_kernels.h"

#include <algorithm>

// Code is built for x86-64-v2; these functions are compiled twice, and the loader picks.
#define URSA_SIMD __attribute__((target_clones("arch=haswell", "default")))
#define URSA_INLINE inline __attribute__((always_inline))
#pragma GCC diagnostic ignored "-Wpsabi"  // the wide vectors below never cross a call

namespace ursa {
namespace {

// Eight floats at any float's address.
typedef float Vec __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(32)));
constexpr int64_t kLanes = 8;

URSA_INLINE Vec Load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
URSA_INLINE void Store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }

template <Activation activation>
URSA_INLINE Vec Activate(Vec z) {
  const Vec zero = {}, six = zero + 6.0f;
  // NaN passes, as in torch: comparisons with it are false.
  if (activation != Activation::kNone) z = z < zero ? zero : z;
  if (activation == Activation::kRelu6) z = z > six ? six : z;
  return z;
}

// dy where the activation passes gradients on, else 0 (also exactly at its corners, as torch's hardtanh and relu do).
template <Activation activation>
URSA_INLINE Vec PassedGradient(Vec dy, Vec z) {
  const Vec zero = {}, six = zero + 6.0f;
  if (activation == Activation::kNone) return dy;
  Mask keep = z > zero;
  if (activation == Activation::kRelu6) keep &= z < six;
  return reinterpret_cast<Vec>(reinterpret_cast<Mask>(dy) & keep);
}

template <Activation activation>
URSA_INLINE void Apply(const BatchNormRows& rows, const float* scale, const float* shift, float* y) {
  for (int64_t r = 0; r < rows.rows; ++r) {
    const float* x = rows.x + r * rows.channels;
    float* out = y + r * rows.channels;
    for (int64_t c = 0; c < rows.channels; c += kLanes) {
      Store(out + c, Activate<activation>(Load(x + c) * Load(scale + c) + Load(shift + c)));
    }
  }
}

template <Activation activation>
URSA_INLINE void GradientSums(const BatchNormRows& rows, const float* dy, const float* scale, const float* shift,
                              const float* mean, float* sum_g, float* sum_gx) {
  std::fill(sum_g, sum_g + rows.channels, 0.0f);
  std::fill(sum_gx, sum_gx + rows.channels, 0.0f);
  for (int64_t r = 0; r < rows.rows; r += 4) {
    const int64_t end = std::min(r + 4, rows.rows);
    for (int64_t c = 0; c < rows.channels; c += kLanes) {
      Vec g_sum = Load(sum_g + c), gx_sum = Load(sum_gx + c);
      const Vec scale_c = Load(scale + c), shift_c = Load(shift + c), mean_c = Load(mean + c);
      for (int64_t i = r; i < end; ++i) {
        const Vec x = Load(rows.x + i * rows.channels + c);
        const Vec g = PassedGradient<activation>(Load(dy + i * rows.channels + c), x * scale_c + shift_c);
        g_sum += g;
        gx_sum += g * (x - mean_c);
      }
      Store(sum_g + c, g_sum);
      Store(sum_gx + c, gx_sum);
    }
  }
}

template <Activation activation>
URSA_INLINE void InputGradient(const BatchNormRows& rows, const float* dy, const float* scale, const float* shift,
                               const float* a, const float* b, const float* c_term, float* dx) {
  for (int64_t r = 0; r < rows.rows; ++r) {
    const int64_t at = r * rows.channels;
    for (int64_t c = 0; c < rows.channels; c += kLanes) {
      const Vec x = Load(rows.x + at + c);
      const Vec g = PassedGradient<activation>(Load(dy + at + c), x * Load(scale + c) + Load(shift + c));
      Store(dx + at + c, g * Load(a + c) + (x * Load(b + c) + Load(c_term + c)));
    }
  }
}

}  // namespace

URSA_SIMD void BatchNormStatistics(const BatchNormRows& rows, float* mean, float* m2) {
  // Sums of x - (first row): no cancellation when the mean is large against the deviation.
  float* sums = mean;
  std::fill(sums, sums + rows.channels, 0.0f);
  std::fill(m2, m2 + rows.channels, 0.0f);
  for (int64_t r = 0; r < rows.rows; r += 4) {
    const int64_t end = std::min(r + 4, rows.rows);
    for (int64_t c = 0; c < rows.channels; c += kLanes) {
      Vec sum = Load(sums + c), squares = Load(m2 + c);
      const Vec origin = Load(rows.x + c);
      for (int64_t i = r; i < end; ++i) {
        const Vec d = Load(rows.x + i * rows.channels + c) - origin;
        sum += d;
        squares += d * d;
      }
      Store(sums + c, sum);
      Store(m2 + c, squares);
    }
  }
  const float inverse = 1.0f / static_cast<float>(rows.rows);
  const Vec zero = {};
  for (int64_t c = 0; c < rows.channels; c += kLanes) {
    const Vec d = Load(sums + c) * inverse;
    const Vec squares = Load(m2 + c) - d * Load(sums + c);
    Store(m2 + c, squares < zero ? zero : squares);
    Store(mean + c, Load(rows.x + c) + d);
  }
}

URSA_SIMD void BatchNormApply(const BatchNormRows& rows, const float* scale, const float* shift, Activation activation,
                              float* y) {
  switch (activation) {
    case Activation::kNone:
      return Apply<Activation::kNone>(rows, scale, shift, y);
    case Activation::kRelu:
      return Apply<Activation::kRelu>(rows, scale, shift, y);
    case Activation::kRelu6:
      return Apply<Activation::kRelu6>(rows, scale, shift, y);
  }
}

URSA_SIMD void BatchNormGradientSums(const BatchNormRows& rows, const float* dy, const float* scale, const float* shift,
                                     Activation activation, const float* mean, float* sum_g, float* sum_gx) {
  switch (activation) {
    case Activation::kNone:
      return GradientSums<Activation::kNone>(rows, dy, scale, shift, mean, sum_g, sum_gx);
    case Activation::kRelu:
      return GradientSums<Activation::kRelu>(rows, dy, scale, shift, mean, sum_g, sum_gx);
    case Activation::kRelu6:
      return GradientSums<Activation::kRelu6>(rows, dy, scale, shift, mean, sum_g, sum_gx);
  }
}

URSA_SIMD void BatchNormInputGradient(const BatchNormRows& rows, const float* dy, const float* scale,
                                      const float* shift, Activation activation, const float* a, const float* b,
                                      const float* c, float* dx) {
  switch (activation) {
    case Activation::kNone:
      return InputGradient<Activation::kNone>(rows, dy, scale, shift, a, b, c, dx);
    case Activation::kRelu:
      return InputGradient<Activation::kRelu>(rows, dy, scale, shift, a, b, c, dx);
    case Activation::kRelu6:
      return InputGradient<Activation::kRelu6>(rows, dy, scale, shift, a, b, c, dx);
  }
}

}  // namespace ursa
