// What the GPU's threads do, done by a loop on the CPU, against torch's convolution.
#include "worker/nn/depthwise_kernels.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/sin.h>
#include <gtest/gtest.h>

#include <string>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace ursa {
namespace {

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

struct Case {
  int kernel, stride, batch, channels, height, width, padding_height, padding_width;
};

std::string Name(const Case& c) {
  return absl::StrCat("k", c.kernel, "s", c.stride, "n", c.batch, "c", c.channels, "h", c.height, "w", c.width, "p",
                      c.padding_height, "_", c.padding_width);
}

at::Tensor Values(at::IntArrayRef sizes, double pace) {
  return at::sin(at::arange(c10::multiply_integers(sizes), at::kDouble) * pace)
      .reshape(sizes)
      .to(at::kFloat)
      .contiguous(kChannelsLast);
}

DepthwiseShape ShapeOf(const Case& c, const at::Tensor& output) {
  DepthwiseShape shape{c.batch, c.channels, c.height, c.width};
  shape.out_height = static_cast<int>(output.size(2));
  shape.out_width = static_cast<int>(output.size(3));
  shape.padding_height = c.padding_height;
  shape.padding_width = c.padding_width;
  return shape;
}

const Channels4* Fours(const at::Tensor& tensor) {
  return reinterpret_cast<const Channels4*>(tensor.const_data_ptr<float>());
}

// A result of `sizes`, written by `thread(index, pointer)` of each index below `num_threads`. What no thread writes
// shows.
template <typename Thread>
at::Tensor RunThreads(at::IntArrayRef sizes, int64_t num_threads, const Thread& thread) {
  at::Tensor result = at::empty(sizes, at::TensorOptions(at::kFloat), kChannelsLast).fill_(1e9);
  for (int64_t i = 0; i < num_threads; ++i) {
    thread(static_cast<uint32_t>(i), reinterpret_cast<Channels4*>(result.mutable_data_ptr<float>()));
  }
  return result;
}

template <int kKernel, int kStride, bool kFlip>
at::Tensor RunForward(const DepthwiseShape& shape, const at::Tensor& input, const at::Tensor& taps) {
  return RunThreads(
      {shape.batch, shape.channels, shape.out_height, shape.out_width},
      NumDepthwiseThreads(shape.batch, shape.out_height, shape.out_width, kDepthwiseColumns, shape.channels),
      [&](uint32_t index, Channels4* output) {
        DepthwiseForward<kKernel, kStride, kFlip>(index, shape, Fours(input), Fours(taps), output);
      });
}

template <int kKernel>
at::Tensor RunInputGradient(int stride, const DepthwiseShape& shape, const at::Tensor& gradient,
                            const at::Tensor& taps) {
  if (stride == 1) return RunForward<kKernel, 1, true>(GradientShape(kKernel, shape), gradient, taps);
  return RunThreads({shape.batch, shape.channels, shape.height, shape.width},
                    NumDepthwiseThreads(shape.batch, shape.height, shape.width, 1, shape.channels),
                    [&](uint32_t index, Channels4* result) {
                      DepthwiseInputGradient2<kKernel>(index, shape, Fours(gradient), Fours(taps), result);
                    });
}

class DepthwiseKernelsTest : public testing::TestWithParam<Case> {};

TEST_P(DepthwiseKernelsTest, AreTheConvolutionAndItsGradient) {
  const Case& c = GetParam();
  ASSERT_TRUE(HasDepthwiseKernel(c.kernel, c.stride, c.channels));
  const at::Tensor input = Values({c.batch, c.channels, c.height, c.width}, 0.71);
  const at::Tensor weight = Values({c.channels, 1, c.kernel, c.kernel}, 0.37);
  const int64_t padding[2] = {c.padding_height, c.padding_width}, stride[2] = {c.stride, c.stride};
  const at::Tensor expected =
      at::conv2d(input, weight, /*bias=*/{}, stride, at::IntArrayRef(padding, 2), /*dilation=*/1, c.channels);
  const DepthwiseShape shape = ShapeOf(c, expected);
  const at::Tensor taps = weight.reshape({c.channels, -1}).t().contiguous();
  const at::Tensor output = c.kernel == 3 ? (c.stride == 1 ? RunForward<3, 1, false>(shape, input, taps)
                                                           : RunForward<3, 2, false>(shape, input, taps))
                                          : (c.stride == 1 ? RunForward<5, 1, false>(shape, input, taps)
                                                           : RunForward<5, 2, false>(shape, input, taps));
  EXPECT_TRUE(at::allclose(output, expected, 1e-5, 1e-5)) << (output - expected).abs().max().item<float>();

  const at::Tensor gradient = Values(expected.sizes(), 0.53);
  const at::Tensor expected_gradient = std::get<0>(
      at::convolution_backward(gradient, input, weight, std::nullopt, stride, padding, /*dilation=*/{1, 1},
                               /*transposed=*/false, /*output_padding=*/{0, 0}, c.channels, {true, false, false}));
  const at::Tensor input_gradient = c.kernel == 3 ? RunInputGradient<3>(c.stride, shape, gradient, taps)
                                                  : RunInputGradient<5>(c.stride, shape, gradient, taps);
  EXPECT_TRUE(at::allclose(input_gradient, expected_gradient, 1e-5, 1e-5))
      << (input_gradient - expected_gradient).abs().max().item<float>();
}

INSTANTIATE_TEST_SUITE_P(Shapes, DepthwiseKernelsTest,
                         testing::Values(Case{3, 1, 2, 8, 7, 9, 1, 1}, Case{3, 2, 2, 8, 7, 9, 1, 1},
                                         Case{3, 2, 1, 12, 8, 8, 0, 0}, Case{5, 1, 2, 4, 6, 5, 2, 2},
                                         Case{5, 2, 1, 8, 9, 12, 2, 2}, Case{5, 2, 3, 4, 11, 10, 0, 1},
                                         Case{5, 1, 1, 32, 3, 3, 2, 2}, Case{3, 1, 1, 4, 1, 1, 1, 1}),
                         [](const testing::TestParamInfo<Case>& info) { return Name(info.param); });

TEST(HasDepthwiseKernelTest, SaysWhatThereIs) {
  EXPECT_TRUE(HasDepthwiseKernel(3, 2, 32));
  EXPECT_FALSE(HasDepthwiseKernel(7, 1, 32));
  EXPECT_FALSE(HasDepthwiseKernel(3, 3, 32));
  EXPECT_FALSE(HasDepthwiseKernel(3, 1, 6));
}

}  // namespace
}  // namespace ursa
