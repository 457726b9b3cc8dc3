// Depthwise convolutions of a GPU against the CPU's. Skipped where there is none.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/sin.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "worker/comm/device.h"
#include "worker/nn/layers.h"

namespace ursa {
namespace {

struct Result {
  at::Tensor output, input_gradient, weight_gradient;
};

at::Tensor Values(at::IntArrayRef sizes, double pace) {
  return at::sin(at::arange(c10::multiply_integers(sizes), at::kDouble) * pace)
      .reshape(sizes)
      .to(at::kFloat)
      .contiguous(at::MemoryFormat::ChannelsLast);
}

Result RunLayer(const Conv2dOptions& options, const at::Tensor& images, at::Device device) {
  Conv2d layer(options);
  layer.weight = Values(layer.weight.sizes(), 0.37).to(device).requires_grad_(true);
  const at::Tensor input = images.to(device).detach().requires_grad_(true);
  const at::Tensor output = layer.Forward(input);
  output.backward(Values(output.sizes(), 0.53).to(device));
  return {output.detach().cpu(), input.grad().cpu(), layer.weight.grad().cpu()};
}

double Distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

class DepthwiseGpuTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = OpenAccelerator("cuda", std::getenv("URSA_CUDA_PLUGIN"));
    if (!opened.ok()) GTEST_SKIP() << opened.status();
    accelerator_ = *std::move(opened);
    device_ = *accelerator_->Device(0);
  }
  std::unique_ptr<Accelerator> accelerator_;
  at::Device device_ = at::Device(at::kCPU);
};

TEST_F(DepthwiseGpuTest, IsTheConvolutionOfTheCpu) {
  for (const int kernel : {3, 5}) {
    for (const int stride : {1, 2}) {
      for (const int extent : {5, 12, 33}) {
        Conv2dOptions options;
        options.in = options.out = options.groups = 48;
        options.kernel = kernel;
        options.stride = stride;
        options.same_padding = true;
        SCOPED_TRACE(testing::Message() << "kernel " << kernel << ", stride " << stride << ", extent " << extent);
        const at::Tensor images = Values({3, 48, extent, extent + 1}, 0.71);
        const Result cpu = RunLayer(options, images, at::Device(at::kCPU));
        const Result gpu = RunLayer(options, images, device_);
        EXPECT_LT(Distance(gpu.output, cpu.output), 1e-5);
        EXPECT_LT(Distance(gpu.input_gradient, cpu.input_gradient), 1e-5);
        // Sums of 3 * extent^2 products by cuDNN.
        EXPECT_LT(Distance(gpu.weight_gradient, cpu.weight_gradient), 1e-3);
        const Result again = RunLayer(options, images, device_);
        EXPECT_TRUE(again.weight_gradient.equal(gpu.weight_gradient) &&
                    again.input_gradient.equal(gpu.input_gradient));
        const Result alone = RunLayer(options, images.narrow(0, 0, 1), device_);
        EXPECT_TRUE(alone.output.equal(gpu.output.narrow(0, 0, 1))) << "the rest of the batch makes a difference";
      }
    }
  }
}

}  // namespace
}  // namespace ursa
