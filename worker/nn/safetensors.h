// The safetensors format (github.com/huggingface/safetensors, 0.8), read and written.
//   file   := length header data
//   length := uint64, little endian, bytes of header
//   header := JSON object: name -> {"dtype": D, "shape": [..], "data_offsets": [begin, end]}, and an optional
//             "__metadata__": {string: string}; padded with spaces to a multiple of 8 bytes
//   data   := the tensors' bytes, row-major, without gaps
#ifndef URSA_WORKER_NN_SAFETENSORS_H_
#define URSA_WORKER_NN_SAFETENSORS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/nn/tensors.h"

namespace ursa {

struct SafetensorsContents {
  NamedTensors tensors;  // in the order of their data
  StringMap metadata;
};

struct SafetensorsLimits {
  uint64_t header_bytes_max = 32 << 20;
  uint64_t num_tensors_max = 1 << 20;
  int num_dimensions_max = 16;
};

// Reads a whole file's bytes; the tensors own copies of their data (CPU, contiguous). Checks everything: header length
// and syntax, types, shapes, byte counts, offsets in bounds, without overlap or gap, unique names, no trailing bytes.
// Errors: DATA_LOSS naming the entry and the fact; RESOURCE_EXHAUSTED over a limit.
absl::StatusOr<SafetensorsContents> ParseSafetensors(std::string_view bytes, const SafetensorsLimits& limits = {});

// The file's bytes. Deterministic: the same tensors (names, types, shapes, values) in any order and memory format, and
// the same metadata give the same bytes (entries are sorted by alignment, then name). Types: bool, uint8, int8, int16,
// int32, int64, float16, bfloat16, float32, float64. Errors: INVALID_ARGUMENT on another type, a repeated or reserved
// name.
absl::StatusOr<std::string> SerializeSafetensors(const NamedTensors& tensors, const StringMap& metadata = {});

}  // namespace ursa

#endif  // URSA_WORKER_NN_SAFETENSORS_H_
