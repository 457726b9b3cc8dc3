#include "worker/comm/depthwise_cuda.h"
#include "worker/nn/depthwise_kernels.h"

namespace ursa {
namespace {

constexpr int kThreadsPerBlock = 256;

// Neighbouring threads have neighbouring channels: what a warp reads and writes lies together.
template <typename Body>
__global__ void __launch_bounds__(kThreadsPerBlock) ForEachThread(uint32_t num_threads, Body body) {
  const uint32_t index = blockIdx.x * kThreadsPerBlock + threadIdx.x;
  if (index < num_threads) body(index);
}

template <typename Body>
cudaError_t Launch(int64_t num_threads, const Body& body, cudaStream_t stream) {
  if (num_threads == 0) return cudaSuccess;
  if (num_threads > kMaxDepthwiseThreads) return cudaErrorInvalidConfiguration;
  const auto count = static_cast<uint32_t>(num_threads);
  ForEachThread<<<(count + kThreadsPerBlock - 1) / kThreadsPerBlock, kThreadsPerBlock, 0, stream>>>(count, body);
  return cudaGetLastError();
}

const Channels4* Fours(const float* values) { return reinterpret_cast<const Channels4*>(values); }
Channels4* Fours(float* values) { return reinterpret_cast<Channels4*>(values); }

template <int kKernel, int kStride, bool kFlip>
struct ForwardBody {
  DepthwiseShape shape;
  const Channels4 *input, *taps;
  Channels4* output;
  __device__ void operator()(uint32_t index) const {
    DepthwiseForward<kKernel, kStride, kFlip>(index, shape, input, taps, output);
  }
};

template <int kKernel, int kStride, bool kFlip>
cudaError_t Forward(const DepthwiseShape& shape, const float* input, const float* taps, float* output,
                    cudaStream_t stream) {
  const ForwardBody<kKernel, kStride, kFlip> body{shape, Fours(input), Fours(taps), Fours(output)};
  return Launch(NumDepthwiseThreads(shape.batch, shape.out_height, shape.out_width, kDepthwiseColumns, shape.channels),
                body, stream);
}

template <int kKernel>
struct InputGradient2Body {
  DepthwiseShape shape;
  const Channels4 *gradient, *taps;
  Channels4* input_gradient;
  __device__ void operator()(uint32_t index) const {
    DepthwiseInputGradient2<kKernel>(index, shape, gradient, taps, input_gradient);
  }
};

template <int kKernel>
cudaError_t InputGradient(int stride, const DepthwiseShape& shape, const float* gradient, const float* taps,
                          float* input_gradient, cudaStream_t stream) {
  if (stride == 1) {
    return Forward<kKernel, 1, true>(GradientShape(kKernel, shape), gradient, taps, input_gradient, stream);
  }
  const InputGradient2Body<kKernel> body{shape, Fours(gradient), Fours(taps), Fours(input_gradient)};
  return Launch(NumDepthwiseThreads(shape.batch, shape.height, shape.width, 1, shape.channels), body, stream);
}

}  // namespace

cudaError_t LaunchDepthwiseForward(int kernel, int stride, const DepthwiseShape& shape, const float* input,
                                   const float* taps, float* output, cudaStream_t stream) {
  if (!HasDepthwiseKernel(kernel, stride, shape.channels)) return cudaErrorInvalidValue;
  if (kernel == 3 && stride == 1) return Forward<3, 1, false>(shape, input, taps, output, stream);
  if (kernel == 3) return Forward<3, 2, false>(shape, input, taps, output, stream);
  if (stride == 1) return Forward<5, 1, false>(shape, input, taps, output, stream);
  return Forward<5, 2, false>(shape, input, taps, output, stream);
}

cudaError_t LaunchDepthwiseInputGradient(int kernel, int stride, const DepthwiseShape& shape, const float* gradient,
                                         const float* taps, float* input_gradient, cudaStream_t stream) {
  if (!HasDepthwiseKernel(kernel, stride, shape.channels)) return cudaErrorInvalidValue;
  if (kernel == 3) return InputGradient<3>(stride, shape, gradient, taps, input_gradient, stream);
  return InputGradient<5>(stride, shape, gradient, taps, input_gradient, stream);
}

}  // namespace ursa
