#include "worker/data/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/log.h"
#include "worker/data/pixel_kernels.h"

namespace ursa {
namespace {

// One axis of a resize: for each output position that is kept, its first input position and its weights.
struct Axis {
  int taps = 0;
  int weights_stride = 0;
  int num_outputs = 0;
  bool unchanged = false;  // input and output have the same size
  std::vector<int32_t>* first = nullptr;
  std::vector<int32_t>* weights = nullptr;

  int input_begin() const { return first->front(); }
  int input_end() const { return first->back() + taps; }
};

// Output position i, at centre (i + 0.5) * scale of the input, is made of the input positions within max(1, scale) of
// it, by a triangle. All positions get the same number of taps; a window that would reach past the end is moved back,
// with zero weights in front.
Axis MakeAxis(int in_size, int out_size, int keep_first, int keep_size, std::vector<int32_t>* first,
              std::vector<int32_t>* weights) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double support = std::max(1.0, scale);
  const int taps_max = static_cast<int>(std::ceil(support)) * 2 + 1;
  Axis axis;
  axis.taps = std::min(taps_max, in_size);
  axis.weights_stride = axis.taps + axis.taps % 2;
  axis.num_outputs = keep_size;
  axis.unchanged = in_size == out_size;
  axis.first = first;
  axis.weights = weights;
  first->resize(keep_size);
  weights->assign(static_cast<size_t>(keep_size) * axis.weights_stride, 0);
  std::vector<double> exact(taps_max);
  for (int i = 0; i < keep_size; ++i) {
    const double center = (keep_first + i + 0.5) * scale;
    const int begin = std::max(0, static_cast<int>(center - support + 0.5));
    const int end = std::min(in_size, static_cast<int>(center + support + 0.5));
    double sum = 0;
    for (int k = begin; k < end; ++k) {
      exact[k - begin] = std::max(0.0, 1 - std::abs((k - center + 0.5) * (1 / support)));
      sum += exact[k - begin];
    }
    const int start = std::min(begin, in_size - axis.taps);
    (*first)[i] = start;
    int32_t* const out = weights->data() + static_cast<size_t>(i) * axis.weights_stride + (begin - start);
    for (int k = 0; k < end - begin; ++k) {
      const double normalised = sum == 0 ? exact[k] : exact[k] / sum;
      out[k] = static_cast<int32_t>(0.5 + normalised * (1 << kResizeWeightBits));
    }
  }
  return axis;
}

// The first of the rows that a pass reads, and the way to the next.
struct Rows {
  const uint8_t* data;
  int64_t stride;
};

// `row` starts at the axis' first used input position.
void PassAcross(const PixelKernels& kernels, const Axis& axis, const uint8_t* row, uint8_t* output) {
  if (axis.unchanged) {
    std::memcpy(output, row, size_t{3} * axis.num_outputs);
    return;
  }
  kernels.resize_row(row - int64_t{3} * axis.input_begin(), axis.first->data(), axis.weights->data(), axis.taps,
                     axis.weights_stride, axis.num_outputs, output);
}

// Makes kept output row y; `rows` start at the axis' first used input position.
void PassDown(const PixelKernels& kernels, const Axis& axis, const Rows& rows, int y, int64_t num_bytes,
              uint8_t* output) {
  kernels.resize_column(rows.data + rows.stride * ((*axis.first)[y] - axis.input_begin()), rows.stride,
                        axis.weights->data() + static_cast<size_t>(y) * axis.weights_stride, axis.taps, num_bytes,
                        output);
}

// Pillow's rule since version 13: down first if the height shrinks by more than twice the pixels of the width. The
// order can be seen in the last bit, as each pass rounds.
bool VerticalPassFirst(const PixelBox& window, int scaled_width, int scaled_height) {
  const int64_t fewer_rows = int64_t{window.height} - scaled_height;
  const int64_t fewer_columns = int64_t{window.width} - scaled_width;
  return fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
}

}  // namespace

void ResizeBilinear(const RgbImage& source, const PixelBox& window, int scaled_width, int scaled_height,
                    const PixelBox& keep, ResizeScratch* scratch, RgbImage* output) {
  URSA_CHECK(window.left >= 0 && window.top >= 0 && window.width > 0 && window.height > 0 &&
             window.left + window.width <= source.width && window.top + window.height <= source.height);
  URSA_CHECK(keep.left >= 0 && keep.top >= 0 && keep.width > 0 && keep.height > 0 &&
             keep.left + keep.width <= scaled_width && keep.top + keep.height <= scaled_height);
  const PixelKernels& kernels = ActivePixelKernels();
  output->Reset(keep.width, keep.height);
  const Axis across =
      MakeAxis(window.width, scaled_width, keep.left, keep.width, &scratch->first_x, &scratch->weights_x);
  const Axis down =
      MakeAxis(window.height, scaled_height, keep.top, keep.height, &scratch->first_y, &scratch->weights_y);

  // Only the part of the window that kept pixels are made of.
  const int num_columns = across.input_end() - across.input_begin();
  const int num_rows = down.input_end() - down.input_begin();
  const Rows input = {source.Row(window.top + down.input_begin()) + int64_t{3} * (window.left + across.input_begin()),
                      int64_t{3} * source.width};
  std::vector<uint8_t>& between = scratch->between_passes;
  if (VerticalPassFirst(window, scaled_width, scaled_height)) {
    const int64_t row_bytes = int64_t{3} * num_columns;
    between.resize(row_bytes * keep.height + kPixelSlackBytes);
    for (int y = 0; y < keep.height; ++y) {
      PassDown(kernels, down, input, y, row_bytes, between.data() + row_bytes * y);
    }
    for (int y = 0; y < keep.height; ++y) {
      PassAcross(kernels, across, between.data() + row_bytes * y, output->Row(y));
    }
    return;
  }
  const int64_t row_bytes = int64_t{3} * keep.width;
  between.resize(row_bytes * num_rows + kPixelSlackBytes);
  for (int y = 0; y < num_rows; ++y) {
    PassAcross(kernels, across, input.data + input.stride * y, between.data() + row_bytes * y);
  }
  for (int y = 0; y < keep.height; ++y) {
    PassDown(kernels, down, {between.data(), row_bytes}, y, row_bytes, output->Row(y));
  }
}

}  // namespace ursa
