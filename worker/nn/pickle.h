// Python's pickle format as far as torch.save uses it, interpreted without executing anything.
#ifndef URSA_WORKER_NN_PICKLE_H_
#define URSA_WORKER_NN_PICKLE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace ursa {

struct PickleItems;

// A value of the few kinds that state dicts are made of. Containers are shared, as in Python.
struct PickleValue {
  enum class Kind {
    kMark,  // inside the interpreter only
    kNone,
    kBool,
    kInt,  // 64 bits; wider ones become kString with their little-endian bytes
    kFloat,
    kString,  // text or bytes
    kTuple,
    kList,
    kDict,   // plain or ordered; `items` alternates keys and values
    kClass,  // a name that the file mentions: "module name" in `text`
    kStorage,
    kTensor,
  };
  // A flat buffer of numbers, stored elsewhere in the file under `key`.
  struct Storage {
    std::string type;  // "FloatStorage"
    std::string key;
    int64_t num_elements;
  };
  // A strided view of a storage; nothing of it has been checked yet.
  struct Tensor {
    std::shared_ptr<const Storage> storage;
    int64_t offset;
    std::vector<int64_t> sizes, strides;
  };

  Kind kind = Kind::kNone;
  int64_t number = 0;  // kBool, kInt
  double real = 0;
  std::string text;
  std::shared_ptr<PickleItems> items;
  std::shared_ptr<const Storage> storage;
  std::shared_ptr<const Tensor> tensor;

  // The value under `key` of a dictionary, the last one if repeated; null if none.
  const PickleValue* Find(std::string_view key) const;
};

// A container's contents. Once inside another container it does not change any more (picklers do not do that, apart
// from cycles), so there are no cycles, and depth is known.
struct PickleItems {
  std::vector<PickleValue> values;
  bool is_inside = false;
  int depth = 1;
};

// Interprets the pickle that starts at `bytes`' first byte; `*used` becomes its length. Nothing that the file names is
// looked up or called: the reader itself knows OrderedDict, torch's tensor rebuilding and its storage types. Errors:
// DATA_LOSS (truncated, malformed, cyclic, nested over 64 levels), INVALID_ARGUMENT (names anything else),
// RESOURCE_EXHAUSTED (over the limit).
absl::StatusOr<PickleValue> ReadPickle(std::string_view bytes, uint64_t num_operations_max, size_t* used);

}  // namespace ursa

#endif  // URSA_WORKER_NN_PICKLE_H_
