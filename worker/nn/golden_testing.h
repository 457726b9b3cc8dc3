// Golden values as tensors, for tests of models and training; and the files that they are in.
#ifndef URSA_WORKER_NN_GOLDEN_TESTING_H_
#define URSA_WORKER_NN_GOLDEN_TESTING_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "worker/nn/architectures.h"
#include "worker/nn/golden_files.h"  // for whoever includes this
#include "worker/nn/json.h"
#include "worker/nn/model.h"

namespace ursa {

// A number, or one of the strings "nan", "inf", "-inf".
double GoldenNumber(const Json& json);

// Nested arrays of numbers as float64; ragged ones end the program.
at::Tensor GoldenTensor(const Json& json);

// The fixtures' formula: for flat row-major index i, q = (a i^2 + b i + c) mod 65521; q is returned.
std::vector<int64_t> QmodIntegers(uint64_t a, uint64_t b, uint64_t c, int64_t count);

// offset + scale * (2 q / 65521 - 1), in float64; [shape].
at::Tensor Qmod(uint64_t a, uint64_t b, uint64_t c, double scale, double offset, const std::vector<int64_t>& shape);

// The same of an object with the members a, b, c, scale, offset, shape.
at::Tensor Qmod(const Json& json);

std::vector<int64_t> GoldenIntegers(const Json& json);

// The body and, as torchvision and timm have it, average pooling and one linear layer of 1000 classes.
std::unique_ptr<Model> ClassifierModel(BodyInfo body);

}  // namespace ursa

#endif  // URSA_WORKER_NN_GOLDEN_TESTING_H_
