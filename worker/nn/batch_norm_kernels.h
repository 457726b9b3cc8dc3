// The passes over memory of batch normalisation with an activation behind it, over rows of `channels` numbers (NHWC).
#ifndef URSA_WORKER_NN_BATCH_NORM_KERNELS_H_
#define URSA_WORKER_NN_BATCH_NORM_KERNELS_H_

#include <cstdint>

#include "worker/nn/layers.h"

namespace ursa {

// All arrays are float32; `x`, `y`, `dy`, `dx` [rows, channels], the others [channels]; `channels` is a
// multiple of 8. Run-time dispatch to AVX2.
// With z = x * scale + shift and y = activation(z), g = dy * activation'(z):
struct BatchNormRows {
  const float* x;
  int64_t rows;
  int64_t channels;
};

// mean[c] and m2[c] = sum (x - mean)^2 over these rows.
void BatchNormStatistics(const BatchNormRows& rows, float* mean, float* m2);

// y = activation(x * scale + shift).
void BatchNormApply(const BatchNormRows& rows, const float* scale, const float* shift, Activation activation, float* y);

// sum_g[c] = sum g; sum_gx[c] = sum g * (x - mean).
void BatchNormGradientSums(const BatchNormRows& rows, const float* dy, const float* scale, const float* shift,
                           Activation activation, const float* mean, float* sum_g, float* sum_gx);

// dx = a * g + b * x + c.
void BatchNormInputGradient(const BatchNormRows& rows, const float* dy, const float* scale, const float* shift,
                            Activation activation, const float* a, const float* b, const float* c, float* dx);

}  // namespace ursa

#endif  // URSA_WORKER_NN_BATCH_NORM_KERNELS_H_
