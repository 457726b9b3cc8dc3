// Depthwise convolutions on a GPU: queued on a stream, of the CUDA plug-in (libursa_cuda.so) alone.
#ifndef URSA_WORKER_COMM_DEPTHWISE_CUDA_H_
#define URSA_WORKER_COMM_DEPTHWISE_CUDA_H_

#include <driver_types.h>

#include "worker/nn/depthwise_kernels.h"

namespace ursa {

// All pointers are to the device, aligned to 16 bytes; `taps` is [kernel * kernel, C]. Errors: those of the launch;
// cudaErrorInvalidValue without HasDepthwiseKernel; cudaErrorInvalidConfiguration beyond kMaxDepthwiseThreads.
cudaError_t LaunchDepthwiseForward(int kernel, int stride, const DepthwiseShape& shape, const float* input,
                                   const float* taps, float* output, cudaStream_t stream);
// `shape` as in the forward pass.
cudaError_t LaunchDepthwiseInputGradient(int kernel, int stride, const DepthwiseShape& shape, const float* gradient,
                                         const float* taps, float* input_gradient, cudaStream_t stream);

}  // namespace ursa

#endif  // URSA_WORKER_COMM_DEPTHWISE_CUDA_H_
