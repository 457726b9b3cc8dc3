// Tensors with names: what state dicts, safetensors files and checkpoints are made of.
#ifndef URSA_WORKER_NN_TENSORS_H_
#define URSA_WORKER_NN_TENSORS_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

namespace ursa {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

// In a fixed order; names are unique. Tensors share memory with their source unless the maker says otherwise.
using NamedTensors = std::vector<NamedTensor>;

// What safetensors calls `__metadata__`.
using StringMap = std::map<std::string, std::string>;

}  // namespace ursa

#endif  // URSA_WORKER_NN_TENSORS_H_
