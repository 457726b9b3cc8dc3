// Bodies of the pixel kernels; compiled once per instruction set by pixel_kernels*.cc, which define
// URSA_PIXEL_KERNELS_NAME and, for AVX2, URSA_PIXEL_KERNELS_AVX2. Everything here is local to its translation unit.
#ifndef URSA_PIXEL_KERNELS_NAME
#error "included by pixel_kernels*.cc only"
#endif

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "worker/data/pixel_kernels.h"

namespace ursa {
namespace {

// Eight lanes, in one register with AVX2 and in two without.
typedef float Floats __attribute__((vector_size(32)));
typedef int32_t Ints __attribute__((vector_size(32)));
constexpr int kLanes = 8;

#define URSA_INLINE inline __attribute__((always_inline))

URSA_INLINE void Load(const float* from, Floats* to) { std::memcpy(to, from, sizeof(*to)); }
URSA_INLINE void Store(const Floats* from, float* to) { std::memcpy(to, from, sizeof(*from)); }

// Eight bytes, one in each lane.
URSA_INLINE void LoadBytes(const uint8_t* from, Ints* to) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
#ifdef URSA_PIXEL_KERNELS_AVX2
  const __m256i lanes = _mm256_cvtepu8_epi32(bytes);
#else
  const __m128i lanes[2] = {_mm_cvtepu8_epi32(bytes), _mm_cvtepu8_epi32(_mm_srli_si128(bytes, 4))};
#endif
  std::memcpy(to, &lanes, sizeof(*to));
}

// --- Resize ---

constexpr int32_t kHalf = 1 << (kResizeWeightBits - 1);

// Four sums to four bytes; the weights are not negative, so only the upper bound can be passed.
URSA_INLINE uint32_t RoundToBytes(__m128i sums) {
  const __m128i shifted = _mm_srai_epi32(sums, kResizeWeightBits);
  const __m128i words = _mm_packus_epi32(shifted, shifted);
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_packus_epi16(words, words)));
}

void ResizeRow(const uint8_t* row, const int32_t* first, const int32_t* weights, int taps, int weights_stride,
               int num_outputs, uint8_t* output) {
  for (int i = 0; i < num_outputs; ++i, weights += weights_stride, output += 3) {
    const uint8_t* pixel = row + 3 * first[i];
#ifdef URSA_PIXEL_KERNELS_AVX2
    // Two taps at once: bytes RGBRGB of two neighbours become two groups of four lanes.
    const __m128i spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i repeat = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    __m256i sums = _mm256_setzero_si256();
    for (int t = 0; t < taps; t += 2, pixel += 6) {
      const __m128i bytes = _mm_shuffle_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(pixel)), spread);
      const __m128i pair = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(weights + t));
      const __m256i weight = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(pair), repeat);
      sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), weight));
    }
    const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
#else
    __m128i sum = _mm_setzero_si128();
    for (int t = 0; t < taps; ++t, pixel += 3) {
      int32_t bytes;
      std::memcpy(&bytes, pixel, sizeof(bytes));
      const __m128i values = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes));
      sum = _mm_add_epi32(sum, _mm_mullo_epi32(values, _mm_set1_epi32(weights[t])));
    }
#endif
    const uint32_t rgb = RoundToBytes(_mm_add_epi32(sum, _mm_set1_epi32(kHalf)));
    std::memcpy(output, &rgb, sizeof(rgb));  // the fourth byte is overwritten by the next pixel
  }
}

void ResizeColumn(const uint8_t* rows, int64_t row_stride, const int32_t* weights, int taps, int64_t num_bytes,
                  uint8_t* output) {
  constexpr int kVectors = 4;
  int64_t i = 0;
  for (; i + kVectors * kLanes <= num_bytes; i += kVectors * kLanes) {
    Ints sums[kVectors];
#pragma GCC unroll 4
    for (Ints& sum : sums) sum = Ints{} + kHalf;
    for (int t = 0; t < taps; ++t) {
      const uint8_t* bytes = rows + t * row_stride + i;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        Ints values;
        LoadBytes(bytes + v * kLanes, &values);
        sums[v] += values * weights[t];
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      __m128i halves[2];
      std::memcpy(halves, &sums[v], sizeof(halves));
      const uint32_t result[2] = {RoundToBytes(halves[0]), RoundToBytes(halves[1])};
      std::memcpy(output + i + v * kLanes, result, sizeof(result));
    }
  }
  for (; i < num_bytes; ++i) {
    int32_t sum = kHalf;
    for (int t = 0; t < taps; ++t) sum += weights[t] * rows[t * row_stride + i];
    sum >>= kResizeWeightBits;
    output[i] = static_cast<uint8_t>(sum > 255 ? 255 : sum);
  }
}

// --- Sampling ---

// Not-a-number becomes `low`, so that what follows can be used as an index.
URSA_INLINE void ClampLanes(Floats* value, float low, float high) {
  *value = *value > low ? *value : Floats{} + low;
  *value = *value < high ? *value : Floats{} + high;
}

// Positions beyond the picture brought to where the padding says; grid_sample's rule with align_corners.
URSA_INLINE void PadPosition(SamplePadding padding, int size, Floats* position) {
  const float last = static_cast<float>(size - 1);
  if (padding == SamplePadding::kZeros) {
    ClampLanes(position, -1, last + 1);  // from there on all neighbours are border
    return;
  }
  if (padding == SamplePadding::kReflection && size > 1) {
    constexpr float kFarAway = 1e6f;  // so that the number of reflections fits an integer
    ClampLanes(position, -kFarAway, kFarAway);
    *position = *position < 0.0f ? -*position : *position;
    const Ints flips = __builtin_convertvector(*position / last, Ints);
    *position -= __builtin_convertvector(flips, Floats) * last;
    *position = (flips & 1) != 0 ? last - *position : *position;
  }
  ClampLanes(position, 0, last);
}

URSA_INLINE void Floor(const Floats& value, Ints* floor) {
  const Ints truncated = __builtin_convertvector(value, Ints);
  *floor = truncated + (__builtin_convertvector(truncated, Floats) > value);  // a true comparison is -1
}

URSA_INLINE __m128 LoadPixel(const uint8_t* pixel) {
  int32_t bytes;
  std::memcpy(&bytes, pixel, sizeof(bytes));
  return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes)));
}
URSA_INLINE __m128 LoadPixel(const float* pixel) { return _mm_loadu_ps(pixel); }

#ifdef URSA_PIXEL_KERNELS_AVX2
URSA_INLINE __m256 LoadTwoPixels(const uint8_t* pixel) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(pixel))));
}
URSA_INLINE __m256 LoadTwoPixels(const float* pixel) { return _mm256_loadu_ps(pixel); }
#endif

// Between four neighbours: first down, then across. `pixel` is the upper left one.
template <typename T>
URSA_INLINE __m128 Interpolate(const T* pixel, int64_t row_values, float across, float down) {
#ifdef URSA_PIXEL_KERNELS_AVX2
  const __m256 columns = _mm256_add_ps(_mm256_mul_ps(LoadTwoPixels(pixel), _mm256_set1_ps(1.0f - down)),
                                       _mm256_mul_ps(LoadTwoPixels(pixel + row_values), _mm256_set1_ps(down)));
  const __m128 left = _mm256_castps256_ps128(columns);
  const __m128 right = _mm256_extractf128_ps(columns, 1);
#else
  const __m128 upper = _mm_set1_ps(1.0f - down);
  const __m128 lower = _mm_set1_ps(down);
  const __m128 left = _mm_add_ps(_mm_mul_ps(LoadPixel(pixel), upper), _mm_mul_ps(LoadPixel(pixel + row_values), lower));
  const __m128 right =
      _mm_add_ps(_mm_mul_ps(LoadPixel(pixel + 4), upper), _mm_mul_ps(LoadPixel(pixel + 4 + row_values), lower));
#endif
  return _mm_add_ps(_mm_mul_ps(left, _mm_set1_ps(1.0f - across)), _mm_mul_ps(right, _mm_set1_ps(across)));
}

template <typename T>
URSA_INLINE void Sample(const SampleSource<T>& source, const SampleLine& line, SamplePadding padding, int num_pixels,
                        float value_max, float* output) {
  const __m128 scale = _mm_set1_ps(1.0f / value_max);
  const int64_t row_values = int64_t{4} * source.stride;
  const Floats lane = {0, 1, 2, 3, 4, 5, 6, 7};
  const bool projective = line.w0 != 1.0f || line.dw != 0.0f;
  for (int i = 0; i < num_pixels; i += kLanes) {
    const Floats column = lane + static_cast<float>(i);
    Floats x = line.x0 + column * line.dx;
    Floats y = line.y0 + column * line.dy;
    if (projective) {
      const Floats w = line.w0 + column * line.dw;
      x /= w;
      y /= w;
    }
    PadPosition(padding, source.width, &x);
    PadPosition(padding, source.height, &y);
    Ints left, top;
    Floor(x, &left);
    Floor(y, &top);
    const Floats across = x - __builtin_convertvector(left, Floats);
    const Floats down = y - __builtin_convertvector(top, Floats);
    const Ints offset = ((top + 1) * source.stride + left + 1) * 4;  // the border is one pixel wide here
    for (int k = 0; k < kLanes; ++k) {
      const __m128 value = Interpolate(source.pixels + offset[k], row_values, across[k], down[k]);
      _mm_storeu_ps(output + 3 * (i + k), _mm_mul_ps(value, scale));  // the fourth value is overwritten by the next
    }
  }
}

void SampleBytes(const SampleSource<uint8_t>& source, const SampleLine& line, SamplePadding padding, int num_pixels,
                 float* output) {
  Sample(source, line, padding, num_pixels, 255, output);
}

void SampleFloats(const SampleSource<float>& source, const SampleLine& line, SamplePadding padding, int num_pixels,
                  float* output) {
  Sample(source, line, padding, num_pixels, 1, output);
}

// --- Values ---

void BytesToFloats(const uint8_t* input, int num_values, float* output) {
  for (int i = 0; i < num_values; i += kLanes) {
    Ints bytes;
    LoadBytes(input + i, &bytes);
    const Floats values = __builtin_convertvector(bytes, Floats) / 255.0f;
    Store(&values, output + i);
  }
}

// exp and natural logarithm by the polynomials of Cephes' expf and logf (S. Moshier); relative error about 1e-7.
URSA_INLINE void Exp(Floats* value) {
  Floats x = *value;
  ClampLanes(&x, -87.0f, 87.0f);
  Ints power;
  Floor(x * 1.44269504088896341f + 0.5f, &power);
  const Floats n = __builtin_convertvector(power, Floats);
  x -= n * 0.693359375f;
  x -= n * -2.12194440e-4f;
  Floats y = Floats{} + 1.9875691500e-4f;
  y = y * x + 1.3981999507e-3f;
  y = y * x + 8.3334519073e-3f;
  y = y * x + 4.1665795894e-2f;
  y = y * x + 1.6666665459e-1f;
  y = y * x + 5.0000001201e-1f;
  y = y * x * x + x + 1.0f;
  const Ints bits = (power + 127) << 23;
  Floats scale;
  std::memcpy(&scale, &bits, sizeof(scale));
  *value = y * scale;
}

// For normal positive values.
URSA_INLINE void Log(Floats* value) {
  Ints bits;
  std::memcpy(&bits, value, sizeof(bits));
  Ints exponent = (bits >> 23) - 126;
  bits = (bits & 0x007FFFFF) | 0x3F000000;
  Floats m;  // in [0.5, 1)
  std::memcpy(&m, &bits, sizeof(m));
  const Ints small = m < 0.707106781186547524f;
  exponent += small;
  m = (small != 0 ? m + m : m) - 1.0f;
  const Floats z = m * m;
  Floats y = Floats{} + 7.0376836292e-2f;
  y = y * m - 1.1514610310e-1f;
  y = y * m + 1.1676998740e-1f;
  y = y * m - 1.2420140846e-1f;
  y = y * m + 1.4249322787e-1f;
  y = y * m - 1.6668057665e-1f;
  y = y * m + 2.0000714765e-1f;
  y = y * m - 2.4999993993e-1f;
  y = y * m + 3.3333331174e-1f;
  y = y * m * z;
  const Floats e = __builtin_convertvector(exponent, Floats);
  *value = m + (y + e * -2.12194440e-4f - 0.5f * z) + e * 0.693359375f;
}

void Light(float logit_brightness, float contrast, int num_values, float* values) {
  constexpr float kLow = 1e-7f;
  constexpr float kHigh = static_cast<float>(1 - 1e-7);
  Floats neutral_factor = Floats{} - logit_brightness;  // with contrast 1 one exponential does for all
  Exp(&neutral_factor);
  for (int i = 0; i < num_values; i += kLanes) {
    Floats x;
    Load(values + i, &x);
    ClampLanes(&x, kLow, kHigh);
    Floats odds_against = (1.0f - x) / x;
    if (contrast == 1.0f) {
      odds_against *= neutral_factor;
    } else {
      Log(&odds_against);
      odds_against = (odds_against - logit_brightness) * contrast;
      Exp(&odds_against);
    }
    x = 1.0f / (1.0f + odds_against);
    Store(&x, values + i);
  }
}

void ScaleChannels(const float* input, const float* scale, const float* offset, int num_pixels, float* output) {
  // Three vectors of eight lanes hold eight pixels.
  float pattern[2][3 * kLanes];
  for (int i = 0; i < 3 * kLanes; ++i) {
    pattern[0][i] = scale[i % 3];
    pattern[1][i] = offset[i % 3];
  }
  const int num_values = 3 * num_pixels;
  int i = 0;
  for (; i + 3 * kLanes <= num_values; i += 3 * kLanes) {
    for (int part = 0; part < 3; ++part) {
      Floats x, factor, constant;
      Load(input + i + part * kLanes, &x);
      Load(pattern[0] + part * kLanes, &factor);
      Load(pattern[1] + part * kLanes, &constant);
      x = x * factor + constant;
      Store(&x, output + i + part * kLanes);
    }
  }
  for (; i < num_values; ++i) output[i] = input[i] * scale[i % 3] + offset[i % 3];
}

}  // namespace

extern const PixelKernels URSA_PIXEL_KERNELS_NAME;
const PixelKernels URSA_PIXEL_KERNELS_NAME = {ResizeRow,     ResizeColumn, SampleBytes,  SampleFloats,
                                              BytesToFloats, Light,        ScaleChannels};

}  // namespace ursa
