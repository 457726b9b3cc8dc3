// Reads PyTorch's pickled state dicts (`torch.save`), both the zip container and the legacy stream, without executing
// anything: the reader knows tensors, storages, ordered dictionaries and plain values; any other class or function that
// a file names is an error.
#ifndef URSA_WORKER_NN_STATE_DICT_READER_H_
#define URSA_WORKER_NN_STATE_DICT_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/nn/tensors.h"

namespace ursa {

struct StateDictOptions {
  // Take the dictionary under this key of the outermost one, for example "model" of a fastai checkpoint saved with its
  // optimizer. Without it the outermost dictionary is taken, and entries that are not tensors are an error.
  std::optional<std::string> key;
  uint64_t num_operations_max = 1'000'000;         // pickle operations
  uint64_t tensor_bytes_max = uint64_t{16} << 30;  // all storages together
};

// The tensors of a state dict in file order, as contiguous copies on the CPU. Errors: DATA_LOSS (damaged, truncated),
// INVALID_ARGUMENT (a class that the reader does not know, values that are not tensors, a missing key),
// RESOURCE_EXHAUSTED (a limit).
absl::StatusOr<NamedTensors> ReadStateDict(std::string_view bytes, const StateDictOptions& options = {});

// The same for a file: .safetensors by its name's end, else a torch pickle. Errors also: as ReadFile.
absl::StatusOr<NamedTensors> ReadWeightsFile(const std::string& path, const StateDictOptions& options = {});

}  // namespace ursa

#endif  // URSA_WORKER_NN_STATE_DICT_READER_H_
