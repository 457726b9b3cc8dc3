// BatchNorm, and batch normalisation with its activation as one autograd function: two passes over memory forward and
// two backward, where torch's separate operators take five and eight.
#include <ATen/Parallel.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/hardtanh.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/nn/batch_norm_kernels.h"
#include "worker/nn/layers.h"

namespace ursa {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

at::Tensor Activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return at::relu(x);
    case Activation::kRelu6:
      return at::hardtanh(x, 0, 6);
  }
  return x;
}

// Whether the kernels here can take `x`; others go torch's way.
bool IsFusable(const at::Tensor& x) {
  return x.dim() == 4 && x.is_cpu() && x.scalar_type() == at::kFloat && x.size(1) % 8 == 0 && x.numel() > 0 &&
         x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

// [N, C, H, W] in channels_last as rows of C, cut into blocks that depend on the shape alone: the sums over blocks come
// out the same with any number of threads.
class Blocks {
 public:
  explicit Blocks(const at::Tensor& x)
      : channels_(x.size(1)),
        rows_(x.numel() / channels_),
        rows_per_block_(std::clamp<int64_t>(kFloatsPerBlock / channels_, 4, 4096)),
        count_((rows_ + rows_per_block_ - 1) / rows_per_block_) {}

  int64_t count() const { return count_; }
  int64_t channels() const { return channels_; }
  int64_t rows() const { return rows_; }
  int64_t offset(int64_t block) const { return block * rows_per_block_ * channels_; }
  BatchNormRows Rows(const float* x, int64_t block) const {
    return {x + offset(block), std::min(rows_per_block_, rows_ - block * rows_per_block_), channels_};
  }
  template <typename F>
  void ForEach(const F& f) const {
    at::parallel_for(0, count_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) f(block);
    });
  }

 private:
  static constexpr int64_t kFloatsPerBlock = 1 << 15;  // 128 KiB: stays in the second-level cache
  int64_t channels_, rows_, rows_per_block_, count_;
};

struct Moments {
  std::vector<double> mean, m2;  // m2 = sum of squared deviations
};

// Mean and squared deviations per channel: per block, then combined in block order (Chan, Golub and LeVeque 1979).
Moments ComputeMoments(const Blocks& blocks, const float* x) {
  const int64_t channels = blocks.channels();
  std::vector<float> partial(static_cast<size_t>(2 * blocks.count() * channels));
  blocks.ForEach([&](int64_t block) {
    float* mean = partial.data() + 2 * block * channels;
    BatchNormStatistics(blocks.Rows(x, block), mean, mean + channels);
  });
  Moments total{std::vector<double>(static_cast<size_t>(channels)), std::vector<double>(static_cast<size_t>(channels))};
  double count = 0;
  for (int64_t block = 0; block < blocks.count(); ++block) {
    const auto rows = static_cast<double>(blocks.Rows(x, block).rows);
    const float* mean = partial.data() + 2 * block * channels;
    const double weight = rows / (count + rows), scale = count * weight;
    for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
      const double delta = mean[c] - total.mean[c];
      total.mean[c] += delta * weight;
      total.m2[c] += mean[channels + static_cast<int64_t>(c)] + delta * delta * scale;
    }
    count += rows;
  }
  return total;
}

// scale = weight / deviation and shift = bias - mean * scale, so that the output is x * scale + shift.
void FoldAffine(const at::Tensor& weight, const at::Tensor& bias, const float* mean, const float* inverse_deviation,
                float* scale, float* shift) {
  const float* w = weight.const_data_ptr<float>();
  const float* b = bias.const_data_ptr<float>();
  for (int64_t c = 0; c < weight.numel(); ++c) {
    scale[c] = w[c] * inverse_deviation[c];
    shift[c] = b[c] - mean[c] * scale[c];
  }
}

at::Tensor ApplyAffine(const at::Tensor& x, const float* scale, const float* shift, Activation activation) {
  at::Tensor y = at::empty_like(x, at::MemoryFormat::ChannelsLast);
  const Blocks blocks(x);
  const float* in = x.const_data_ptr<float>();
  auto* out = y.mutable_data_ptr<float>();
  blocks.ForEach([&](int64_t block) {
    BatchNormApply(blocks.Rows(in, block), scale, shift, activation, out + blocks.offset(block));
  });
  return y;
}

// Rows of the [4, C] tensor that forward keeps for backward.
enum { kMean, kInverseDeviation, kScale, kShift, kNumFolded };

class BatchNormActivation : public torch::autograd::Function<BatchNormActivation> {
 public:
  // Normalises `x` with its own statistics and moves the running ones, as at::batch_norm in training does.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            at::Tensor running_mean, at::Tensor running_var, double momentum, double epsilon,
                            int64_t activation) {
    const Blocks blocks(x);
    const Moments moments = ComputeMoments(blocks, x.const_data_ptr<float>());
    const int64_t channels = blocks.channels();
    const auto rows = static_cast<double>(blocks.rows());
    at::Tensor folded = at::empty({kNumFolded, channels});
    auto* mean = folded.mutable_data_ptr<float>();
    float* inverse_deviation = mean + kInverseDeviation * channels;
    auto* running_m = running_mean.mutable_data_ptr<float>();
    auto* running_v = running_var.mutable_data_ptr<float>();
    const auto keep = static_cast<float>(1 - momentum), take = static_cast<float>(momentum);
    for (int64_t c = 0; c < channels; ++c) {
      const auto i = static_cast<size_t>(c);
      mean[c] = static_cast<float>(moments.mean[i]);
      inverse_deviation[c] = static_cast<float>(1 / std::sqrt(moments.m2[i] / rows + epsilon));
      const auto unbiased = static_cast<float>(moments.m2[i] / (rows - 1));
      running_m[c] = keep * running_m[c] + take * mean[c];
      running_v[c] = keep * running_v[c] + take * unbiased;
    }
    FoldAffine(weight, bias, mean, inverse_deviation, mean + kScale * channels, mean + kShift * channels);
    ctx->save_for_backward({x, weight, folded});
    ctx->saved_data["activation"] = activation;
    return ApplyAffine(x, mean + kScale * channels, mean + kShift * channels, static_cast<Activation>(activation));
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &folded = saved[2];
    const auto activation = static_cast<Activation>(ctx->saved_data["activation"].toInt());
    const at::Tensor dy = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    const Blocks blocks(x);
    const int64_t channels = blocks.channels();
    const auto* in = x.const_data_ptr<float>();
    const auto* out_gradient = dy.const_data_ptr<float>();
    const auto* mean = folded.const_data_ptr<float>();
    const float *inverse_deviation = mean + kInverseDeviation * channels, *scale = mean + kScale * channels,
                *shift = mean + kShift * channels;

    std::vector<float> partial(static_cast<size_t>(2 * blocks.count() * channels));
    blocks.ForEach([&](int64_t block) {
      float* sum_g = partial.data() + 2 * block * channels;
      BatchNormGradientSums(blocks.Rows(in, block), out_gradient + blocks.offset(block), scale, shift, activation, mean,
                            sum_g, sum_g + channels);
    });
    at::Tensor d_weight = at::empty({channels}), d_bias = at::empty({channels});
    at::Tensor terms = at::empty({3, channels});  // dx = a * g + b * x + c
    auto* a = terms.mutable_data_ptr<float>();
    float *b = a + channels, *c_term = b + channels;
    const auto* w = weight.const_data_ptr<float>();
    for (int64_t c = 0; c < channels; ++c) {
      double sum_g = 0, sum_gx = 0;
      for (int64_t block = 0; block < blocks.count(); ++block) {
        sum_g += partial[static_cast<size_t>(2 * block * channels + c)];
        sum_gx += partial[static_cast<size_t>((2 * block + 1) * channels + c)];
      }
      const double inverse = inverse_deviation[c], rows = static_cast<double>(blocks.rows());
      d_bias.mutable_data_ptr<float>()[c] = static_cast<float>(sum_g);
      d_weight.mutable_data_ptr<float>()[c] = static_cast<float>(sum_gx * inverse);
      const double slope = w[c] * inverse, on_x = -slope * inverse * inverse * sum_gx / rows;
      a[c] = static_cast<float>(slope);
      b[c] = static_cast<float>(on_x);
      c_term[c] = static_cast<float>(-slope * sum_g / rows - on_x * mean[c]);
    }
    at::Tensor dx;
    if (ctx->needs_input_grad(0)) {
      dx = at::empty_like(x, at::MemoryFormat::ChannelsLast);
      auto* in_gradient = dx.mutable_data_ptr<float>();
      blocks.ForEach([&](int64_t block) {
        BatchNormInputGradient(blocks.Rows(in, block), out_gradient + blocks.offset(block), scale, shift, activation, a,
                               b, c_term, in_gradient + blocks.offset(block));
      });
    }
    return {dx, d_weight, d_bias, {}, {}, {}, {}, {}};
  }
};

}  // namespace

BatchNorm::BatchNorm(const BatchNormOptions& options) : options_(options) {
  weight = at::ones({options.channels});
  bias = at::zeros({options.channels});
  running_mean = at::zeros({options.channels});
  running_var = at::ones({options.channels});
  num_batches_tracked = at::zeros({}, at::kLong);
  AddTensor("weight", &weight, /*is_parameter=*/true);
  AddTensor("bias", &bias, /*is_parameter=*/true);
  AddTensor("running_mean", &running_mean, /*is_parameter=*/false);
  AddTensor("running_var", &running_var, /*is_parameter=*/false);
  AddTensor("num_batches_tracked", &num_batches_tracked, /*is_parameter=*/false);
}

at::Tensor BatchNorm::Forward(const at::Tensor& input) {
  const bool needs_graph = at::GradMode::is_enabled() && (input.requires_grad() || weight.requires_grad());
  if (uses_batch()) num_batches_tracked += 1;
  if (is_fused() && IsFusable(input)) {
    if (uses_batch() && input.numel() > input.size(1)) {
      return BatchNormActivation::apply(input, weight, bias, running_mean, running_var, options_.momentum,
                                        options_.epsilon, static_cast<int64_t>(options_.activation));
    }
    if (!uses_batch() && !needs_graph) {
      const auto channels = static_cast<size_t>(options_.channels);
      std::vector<float> folded(3 * channels);
      float *inverse_deviation = folded.data(), *scale = inverse_deviation + channels, *shift = scale + channels;
      const auto* variance = running_var.const_data_ptr<float>();
      for (size_t c = 0; c < channels; ++c) {
        inverse_deviation[c] = static_cast<float>(1 / std::sqrt(variance[c] + options_.epsilon));
      }
      FoldAffine(weight, bias, running_mean.const_data_ptr<float>(), inverse_deviation, scale, shift);
      return ApplyAffine(input, scale, shift, options_.activation);
    }
  }
  return Activate(at::batch_norm(input, weight, bias, running_mean, running_var, uses_batch(), options_.momentum,
                                 options_.epsilon, /*cudnn_enabled=*/true),
                  options_.activation);
}

}  // namespace ursa
