#include "worker/nn/layers.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/adaptive_max_pool2d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "worker/nn/depthwise_kernels.h"

namespace ursa {
namespace {

std::string Join(const std::string& prefix, const std::string& name) {
  if (prefix.empty() || name.empty()) return prefix + name;
  return prefix + "." + name;
}

// The CUDA plug-in's (worker/comm/depthwise_cuda.cc): where there is a tensor on a GPU, the plug-in has been loaded.
at::Tensor DepthwiseConv2dOnGpu(const at::Tensor& input, const at::Tensor& weight, int64_t stride,
                                const int64_t padding[2]) {
  using Operator = at::Tensor(const at::Tensor&, const at::Tensor&, int64_t, int64_t, int64_t);
  static const auto conv2d =
      c10::Dispatcher::singleton().findSchemaOrThrow("ursa::depthwise_conv2d", "").typed<Operator>();
  return conv2d.call(input, weight, stride, padding[0], padding[1]);
}

bool IsDepthwise(const Conv2dOptions& options) { return options.groups == options.in && options.in == options.out; }

}  // namespace

void Layer::Visit(const std::string& prefix, const std::function<void(const LayerTensor&)>& visit) {
  for (const Own& own : own_) visit({Join(prefix, own.name), own.tensor, own.is_parameter, is_norm()});
  for (const auto& [name, child] : children_) child->Visit(Join(prefix, name), visit);
}

void Layer::VisitLayers(const std::string& prefix, const std::function<void(const std::string&, Layer*)>& visit) {
  visit(prefix, this);
  for (const auto& [name, child] : children_) child->VisitLayers(Join(prefix, name), visit);
}

void Layer::SetTraining(bool training) {
  training_ = training;
  for (const auto& [name, child] : children_) child->SetTraining(training);
}

void Layer::AddTensor(std::string name, at::Tensor* tensor, bool is_parameter) {
  own_.push_back({std::move(name), tensor, is_parameter});
}

Conv2d::Conv2d(const Conv2dOptions& options) : options_(options) {
  weight = at::empty({options.out, options.in / options.groups, options.kernel, options.kernel}, at::kFloat,
                     at::MemoryFormat::ChannelsLast);
  weight.zero_();
  AddTensor("weight", &weight, /*is_parameter=*/true);
}

at::Tensor Conv2d::Forward(const at::Tensor& input) {
  int64_t padding[2] = {options_.padding, options_.padding};
  at::Tensor padded = input;
  if (options_.same_padding) {
    int64_t total[2];
    for (int i = 0; i < 2; ++i) {
      const int64_t extent = input.size(2 + i), steps = (extent + options_.stride - 1) / options_.stride;
      total[i] = std::max<int64_t>(0, (steps - 1) * options_.stride + options_.kernel - extent);
      padding[i] = total[i] / 2;
    }
    if (total[0] % 2 != 0 || total[1] % 2 != 0) {
      padded = at::constant_pad_nd(input, {padding[1], total[1] - padding[1], padding[0], total[0] - padding[0]});
      padding[0] = padding[1] = 0;
    }
  }
  if (is_fused() && padded.is_cuda() && padded.scalar_type() == at::kFloat && IsDepthwise(options_) &&
      HasDepthwiseKernel(options_.kernel, options_.stride, options_.in)) {
    return DepthwiseConv2dOnGpu(padded, weight, options_.stride, padding);
  }
  return at::conv2d(padded, weight, /*bias=*/{}, options_.stride, at::IntArrayRef(padding, 2), /*dilation=*/1,
                    options_.groups);
}

Linear::Linear(int in, int out, bool has_bias) {
  weight = at::zeros({out, in});
  AddTensor("weight", &weight, /*is_parameter=*/true);
  if (!has_bias) return;
  bias = at::zeros({out});
  AddTensor("bias", &bias, /*is_parameter=*/true);
}

at::Tensor Linear::Forward(const at::Tensor& input) {
  return at::linear(input, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

at::Tensor Relu::Forward(const at::Tensor& input) { return at::relu(input); }

at::Tensor Dropout::Forward(const at::Tensor& input) { return at::dropout(input, probability_, training()); }

at::Tensor MaxPool2d::Forward(const at::Tensor& input) {
  return at::max_pool2d(input, {kernel_, kernel_}, {stride_, stride_}, {padding_, padding_});
}

at::Tensor GlobalPool::Forward(const at::Tensor& input) {
  const at::Tensor average = at::adaptive_avg_pool2d(input, {1, 1});
  if (!concat_) return average;
  return at::cat({std::get<0>(at::adaptive_max_pool2d(input, {1, 1})), average}, 1);
}

at::Tensor Flatten::Forward(const at::Tensor& input) { return input.flatten(1); }

at::Tensor Sequential::Forward(const at::Tensor& input) {
  at::Tensor x = input;
  for (const auto& [name, child] : children()) x = child->Forward(x);
  return x;
}

}  // namespace ursa
