// Depthwise convolution over channels_last tensors of float32, as what one thread does: the same code for the GPU's
// threads (worker/comm/depthwise_cuda.cu) and, in the test, for a loop on the CPU.
//
// Each output is summed by one thread in one order: the same bits each time, whatever else is in the batch.
#ifndef URSA_WORKER_NN_DEPTHWISE_KERNELS_H_
#define URSA_WORKER_NN_DEPTHWISE_KERNELS_H_

#include <cstdint>

#ifdef __CUDACC__
#define URSA_HOST_DEVICE __host__ __device__
#else
#define URSA_HOST_DEVICE
#endif

namespace ursa {

// Four channels, as a thread reads and writes them.
struct alignas(16) Channels4 {
  float value[4];
};

// A convolution of images [N, C, height, width] to [N, C, out_height, out_width], each channel with taps of its own.
struct DepthwiseShape {
  int batch = 0;
  int channels = 0;  // a multiple of 4
  int height = 0, width = 0;
  int out_height = 0, out_width = 0;
  int padding_height = 0, padding_width = 0;  // before the first row and column
};

// What there is a kernel for.
inline bool HasDepthwiseKernel(int64_t kernel, int64_t stride, int64_t channels) {
  return (kernel == 3 || kernel == 5) && (stride == 1 || stride == 2) && channels % 4 == 0;
}

// How many outputs of a row one thread makes; the taps and most inputs are then read once for all of them.
constexpr int kDepthwiseColumns = 4;

// Output pixels (y, x .. x + kDepthwiseColumns - 1) of four channels.
struct DepthwisePlace {
  int image = 0, y = 0, x = 0, channels = 0;  // `channels`: the index of the four
};

// The place of thread `index` in a grid over images, rows, groups of `columns` and, running fastest, channels.
URSA_HOST_DEVICE inline DepthwisePlace DepthwisePlaceOf(uint32_t index, int height, int width, int columns,
                                                        int channels) {
  const uint32_t fours = channels / 4, groups = (width + columns - 1) / columns;  // of 32 bits: they divide faster
  const uint32_t row = index / fours, image_row = row / groups;
  DepthwisePlace place;
  place.channels = static_cast<int>(index % fours);
  place.x = static_cast<int>(row % groups) * columns;
  place.y = static_cast<int>(image_row % height);
  place.image = static_cast<int>(image_row / height);
  return place;
}

// How many threads DepthwisePlaceOf numbers; of more than kMaxDepthwiseThreads it cannot.
constexpr int64_t kMaxDepthwiseThreads = INT32_MAX;
inline int64_t NumDepthwiseThreads(int batch, int height, int width, int columns, int channels) {
  return static_cast<int64_t>(batch) * height * ((width + columns - 1) / columns) * (channels / 4);
}

URSA_HOST_DEVICE inline void AddProduct(const Channels4& a, const Channels4& b, Channels4* sum) {
  for (int j = 0; j < 4; ++j) sum->value[j] += a.value[j] * b.value[j];
}

// output(y, x) = sum over (i, j) of taps(i, j) * input(y * kStride - padding + i, x * kStride - padding + j). `taps`
// is [kKernel * kKernel, C]; with `kFlip` the last tap comes first. With stride 1 and flipped taps, and the shape that
// GradientShape gives, this makes the gradient of the input from that of the output.
template <int kKernel, int kStride, bool kFlip>
URSA_HOST_DEVICE void DepthwiseForward(uint32_t index, const DepthwiseShape& shape, const Channels4* input,
                                       const Channels4* taps, Channels4* output) {
  constexpr int kInputs = (kDepthwiseColumns - 1) * kStride + kKernel;
  const int fours = shape.channels / 4;
  const DepthwisePlace place =
      DepthwisePlaceOf(index, shape.out_height, shape.out_width, kDepthwiseColumns, shape.channels);
  const int first_y = place.y * kStride - shape.padding_height, first_x = place.x * kStride - shape.padding_width;
  Channels4 sums[kDepthwiseColumns] = {};
  for (int i = 0; i < kKernel; ++i) {
    const int y = first_y + i;
    if (y < 0 || y >= shape.height) continue;
    const Channels4* row =
        input + (static_cast<int64_t>(place.image) * shape.height + y) * shape.width * fours + place.channels;
    Channels4 inputs[kInputs];
    for (int j = 0; j < kInputs; ++j) {
      const int x = first_x + j;
      inputs[j] = x >= 0 && x < shape.width ? row[static_cast<int64_t>(x) * fours] : Channels4{};
    }
    for (int j = 0; j < kKernel; ++j) {
      const int tap = kFlip ? kKernel * kKernel - 1 - (i * kKernel + j) : i * kKernel + j;
      const Channels4 weight = taps[static_cast<int64_t>(tap) * fours + place.channels];
      for (int t = 0; t < kDepthwiseColumns; ++t) AddProduct(inputs[t * kStride + j], weight, &sums[t]);
    }
  }
  Channels4* out =
      output + ((static_cast<int64_t>(place.image) * shape.out_height + place.y) * shape.out_width + place.x) * fours +
      place.channels;
  for (int t = 0; t < kDepthwiseColumns && place.x + t < shape.out_width; ++t) {
    out[static_cast<int64_t>(t) * fours] = sums[t];
  }
}

// The shape with which DepthwiseForward, stride 1 and flipped taps make the gradient of the input from that of the
// output.
inline DepthwiseShape GradientShape(int kernel, const DepthwiseShape& forward) {
  DepthwiseShape shape = forward;
  shape.height = forward.out_height;
  shape.width = forward.out_width;
  shape.out_height = forward.height;
  shape.out_width = forward.width;
  shape.padding_height = kernel - 1 - forward.padding_height;
  shape.padding_width = kernel - 1 - forward.padding_width;
  return shape;
}

// The gradient of the input of a convolution with stride 2, for one pixel and four channels of it: `shape` as in the
// forward pass, `gradient` that of the output.
template <int kKernel>
URSA_HOST_DEVICE void DepthwiseInputGradient2(uint32_t index, const DepthwiseShape& shape, const Channels4* gradient,
                                              const Channels4* taps, Channels4* input_gradient) {
  const int fours = shape.channels / 4;
  const DepthwisePlace place = DepthwisePlaceOf(index, shape.height, shape.width, 1, shape.channels);
  Channels4 sum = {};
  for (int i = 0; i < kKernel; ++i) {
    const int y = place.y + shape.padding_height - i;  // twice the output's row that tap i took this pixel to
    if (y < 0 || y % 2 != 0 || y / 2 >= shape.out_height) continue;
    for (int j = 0; j < kKernel; ++j) {
      const int x = place.x + shape.padding_width - j;
      if (x < 0 || x % 2 != 0 || x / 2 >= shape.out_width) continue;
      const int64_t pixel = (static_cast<int64_t>(place.image) * shape.out_height + y / 2) * shape.out_width + x / 2;
      AddProduct(gradient[pixel * fours + place.channels],
                 taps[static_cast<int64_t>(i * kKernel + j) * fours + place.channels], &sum);
    }
  }
  input_gradient[index] = sum;
}

}  // namespace ursa

#endif  // URSA_WORKER_NN_DEPTHWISE_KERNELS_H_
