// The operator ursa::depthwise_conv2d of the CUDA plug-in, for Conv2d on GPUs.
//
// cuDNN compiles a kernel for each shape of a depthwise convolution that a process meets, and one more for its
// gradient: 0.2 s each on an H100, 6 s before the first step of EfficientNet-Lite0 and 3 s again at a batch of another
// size. The kernels here are compiled when Ursa is. The gradient of the weight, whose kernels cuDNN has ready, is
// cuDNN's.
#include "worker/comm/depthwise_cuda.h"

#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;
using ursa::DepthwiseShape;

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

struct Geometry {
  int64_t stride = 1, padding_height = 0, padding_width = 0;
};

DepthwiseShape ShapeOf(at::IntArrayRef images, int64_t kernel, const Geometry& geometry) {
  const auto out = [&](int64_t extent, int64_t padding) {
    return static_cast<int>((extent + 2 * padding - kernel) / geometry.stride + 1);
  };
  DepthwiseShape shape;
  shape.batch = static_cast<int>(images[0]);
  shape.channels = static_cast<int>(images[1]);
  shape.height = static_cast<int>(images[2]);
  shape.width = static_cast<int>(images[3]);
  shape.out_height = out(images[2], geometry.padding_height);
  shape.out_width = out(images[3], geometry.padding_width);
  shape.padding_height = static_cast<int>(geometry.padding_height);
  shape.padding_width = static_cast<int>(geometry.padding_width);
  return shape;
}

// [C, 1, k, k] as [k * k, C]: one tap of neighbouring channels lies together.
at::Tensor Taps(const at::Tensor& weight) { return weight.detach().reshape({weight.size(0), -1}).t().contiguous(); }

at::Tensor Forward(const at::Tensor& images, const at::Tensor& weight, const Geometry& geometry) {
  TORCH_CHECK(images.dim() == 4 && images.scalar_type() == at::kFloat && weight.dim() == 4 && weight.size(1) == 1 &&
                  images.size(1) == weight.size(0) && weight.size(2) == weight.size(3),
              "depthwise_conv2d: images [N, C, H, W] of float32 and a weight [C, 1, k, k] are wanted, they are ",
              images.sizes(), " and ", weight.sizes());
  const c10::cuda::CUDAGuard guard(images.device());
  const at::Tensor input = images.detach().contiguous(kChannelsLast), taps = Taps(weight);
  const int64_t kernel = weight.size(2);
  const DepthwiseShape shape = ShapeOf(input.sizes(), kernel, geometry);
  const at::Tensor output =
      at::empty({shape.batch, shape.channels, shape.out_height, shape.out_width}, input.options(), kChannelsLast);
  C10_CUDA_CHECK(ursa::LaunchDepthwiseForward(static_cast<int>(kernel), static_cast<int>(geometry.stride), shape,
                                              input.const_data_ptr<float>(), taps.const_data_ptr<float>(),
                                              output.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return output;
}

at::Tensor InputGradient(const at::Tensor& output_gradient, at::IntArrayRef input_sizes, const at::Tensor& weight,
                         const Geometry& geometry) {
  const c10::cuda::CUDAGuard guard(output_gradient.device());
  const at::Tensor gradient = output_gradient.contiguous(kChannelsLast), taps = Taps(weight);
  const int64_t kernel = weight.size(2);
  const DepthwiseShape shape = ShapeOf(input_sizes, kernel, geometry);
  const at::Tensor result = at::empty(input_sizes, gradient.options(), kChannelsLast);
  C10_CUDA_CHECK(ursa::LaunchDepthwiseInputGradient(
      static_cast<int>(kernel), static_cast<int>(geometry.stride), shape, gradient.const_data_ptr<float>(),
      taps.const_data_ptr<float>(), result.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
  return result;
}

class DepthwiseConv2d : public torch::autograd::Function<DepthwiseConv2d> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& images, const at::Tensor& weight,
                            int64_t stride, int64_t padding_height, int64_t padding_width) {
    context->save_for_backward({images, weight});
    context->saved_data["stride"] = stride;
    context->saved_data["padding_height"] = padding_height;
    context->saved_data["padding_width"] = padding_width;
    return Forward(images, weight, {stride, padding_height, padding_width});
  }

  static tensor_list backward(AutogradContext* context, tensor_list gradients) {
    const tensor_list saved = context->get_saved_variables();
    const at::Tensor &images = saved[0], &weight = saved[1];
    const Geometry geometry{context->saved_data["stride"].toInt(), context->saved_data["padding_height"].toInt(),
                            context->saved_data["padding_width"].toInt()};
    at::Tensor of_images, of_weight;
    if (context->needs_input_grad(0)) of_images = InputGradient(gradients[0], images.sizes(), weight, geometry);
    if (context->needs_input_grad(1)) {
      of_weight = std::get<1>(at::convolution_backward(
          gradients[0], images, weight, /*bias_sizes=*/std::nullopt, {geometry.stride, geometry.stride},
          {geometry.padding_height, geometry.padding_width}, /*dilation=*/{1, 1}, /*transposed=*/false,
          /*output_padding=*/{0, 0}, /*groups=*/weight.size(0), {false, true, false}));
    }
    return {of_images, of_weight, {}, {}, {}};
  }
};

at::Tensor WithGradient(const at::Tensor& images, const at::Tensor& weight, int64_t stride, int64_t padding_height,
                        int64_t padding_width) {
  return DepthwiseConv2d::apply(images, weight, stride, padding_height, padding_width);
}

at::Tensor WithoutGradient(const at::Tensor& images, const at::Tensor& weight, int64_t stride, int64_t padding_height,
                           int64_t padding_width) {
  return Forward(images, weight, {stride, padding_height, padding_width});
}

}  // namespace

TORCH_LIBRARY(ursa, library) {
  library.def(
      "depthwise_conv2d(Tensor images, Tensor weight, int stride, int padding_height, int padding_width) -> Tensor");
}

TORCH_LIBRARY_IMPL(ursa, AutogradCUDA, library) { library.impl("depthwise_conv2d", WithGradient); }
TORCH_LIBRARY_IMPL(ursa, CUDA, library) { library.impl("depthwise_conv2d", WithoutGradient); }
