// The inner loops over pixels, in two builds: x86-64-v2 and AVX2. Both do the same operations on the same elements in
// the same order, without fused multiply-add, so their results are equal in every bit; which one runs is only speed.
#ifndef URSA_WORKER_DATA_PIXEL_KERNELS_H_
#define URSA_WORKER_DATA_PIXEL_KERNELS_H_

#include <cstdint>

namespace ursa {

// Weights of a resize are integers with this many fractional bits, as in Pillow.
inline constexpr int kResizeWeightBits = 22;

// Row buffers of floats must be readable and writable this many values past their end.
inline constexpr int kRowSlackValues = 32;

// One row of sampling positions: column i is at (x0 + i dx, y0 + i dy) / (w0 + i dw), in pixels of the input.
struct SampleLine {
  float x0 = 0, dx = 0;
  float y0 = 0, dy = 0;
  float w0 = 1, dw = 0;
};

enum class SamplePadding { kZeros, kBorder, kReflection };

// The image that is sampled: pixels of four values (RGB and one unused), with a border of zeros around, one pixel left
// and above, two right and below.
template <typename T>
struct SampleSource {
  const T* pixels = nullptr;  // of the border's top left corner
  int stride = 0;             // pixels from one row to the next
  int width = 0;              // without border
  int height = 0;
};

struct PixelKernels {
  // Horizontal pass: output pixel i is the sum over t < taps of weights[i * weights_stride + t] * row[first[i] + t],
  // for three channels, rounded. weights_stride is even and >= taps, filled up with zeros. Reads and writes into the
  // slack of images.
  void (*resize_row)(const uint8_t* row, const int32_t* first, const int32_t* weights, int taps, int weights_stride,
                     int num_outputs, uint8_t* output);

  // Vertical pass for one output row: the sum over t < taps of weights[t] * rows[t * row_stride + i], i < num_bytes.
  void (*resize_column)(const uint8_t* rows, int64_t row_stride, const int32_t* weights, int taps, int64_t num_bytes,
                        uint8_t* output);

  // Bilinear samples of num_pixels positions, three values each. Bytes come out in 0..1.
  void (*sample_bytes)(const SampleSource<uint8_t>& source, const SampleLine& line, SamplePadding padding,
                       int num_pixels, float* output);
  void (*sample_floats)(const SampleSource<float>& source, const SampleLine& line, SamplePadding padding,
                        int num_pixels, float* output);

  // output = input / 255.
  void (*bytes_to_floats)(const uint8_t* input, int num_values, float* output);

  // Lighting in logit space, in place: sigmoid((logit(x) + logit_brightness) * contrast).
  void (*light)(float logit_brightness, float contrast, int num_values, float* values);

  // output = input * scale + offset by channel. May write up to the last value only.
  void (*scale_channels)(const float* input, const float* scale, const float* offset, int num_pixels, float* output);
};

extern const PixelKernels kPixelKernelsBaseline;
extern const PixelKernels kPixelKernelsAvx2;  // only where the machine has AVX2

// The fastest that this machine runs.
const PixelKernels& ActivePixelKernels();

// Makes ActivePixelKernels answer the baseline build, or again the fastest. For tests and benches.
void ForceBaselinePixelKernels(bool force);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_PIXEL_KERNELS_H_
