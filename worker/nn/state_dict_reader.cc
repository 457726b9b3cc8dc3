#include "worker/nn/state_dict_reader.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "worker/nn/pickle.h"
#include "worker/nn/safetensors.h"
#include "worker/nn/torch_error.h"
#include "worker/nn/zip_reader.h"

namespace ursa {
namespace {

using Kind = PickleValue::Kind;
using Storages = std::map<std::string, std::string_view>;  // key -> bytes in the file

// torch.save before 1.6: five pickles, then the storages. The first is a number that marks the format.
constexpr std::string_view kLegacyMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr int64_t kLegacyProtocol = 1001;

absl::Status Damaged(std::string_view fact) {
  return absl::DataLossError(absl::StrCat("state dict: ", std::string(fact)));
}

absl::StatusOr<at::ScalarType> StorageType(const std::string& name) {
  static const std::pair<const char*, at::ScalarType> kTypes[] = {
      {"FloatStorage", at::kFloat},       {"DoubleStorage", at::kDouble}, {"HalfStorage", at::kHalf},
      {"BFloat16Storage", at::kBFloat16}, {"LongStorage", at::kLong},     {"IntStorage", at::kInt},
      {"ShortStorage", at::kShort},       {"CharStorage", at::kChar},     {"ByteStorage", at::kByte},
      {"BoolStorage", at::kBool}};
  for (const auto& [known, type] : kTypes) {
    if (name == known) return type;
  }
  return absl::InvalidArgumentError(absl::StrCat("state dict: unknown storage type \"", name, "\""));
}

// Every storage that `value` mentions, by key.
void CollectStorages(const PickleValue& value, std::set<const void*>* seen,
                     std::map<std::string, std::shared_ptr<const PickleValue::Storage>>* found) {
  if (value.kind == Kind::kTensor) (*found)[value.tensor->storage->key] = value.tensor->storage;
  if (value.kind == Kind::kStorage) (*found)[value.storage->key] = value.storage;
  if (value.items == nullptr || !seen->insert(value.items.get()).second) return;
  for (const PickleValue& item : value.items->values) CollectStorages(item, seen, found);
}

absl::StatusOr<at::Tensor> MakeTensor(const PickleValue::Tensor& view, const Storages& storages) {
  URSA_ASSIGN_OR_RETURN(const at::ScalarType type, StorageType(view.storage->type));
  const auto data = storages.find(view.storage->key);
  if (data == storages.end()) return Damaged(absl::StrCat("storage ", view.storage->key, " is missing"));
  const auto num_elements = static_cast<uint64_t>(data->second.size() / c10::elementSize(type));
  if (view.storage->num_elements < 0 || num_elements != static_cast<uint64_t>(view.storage->num_elements)) {
    return Damaged(absl::StrCat("storage ", view.storage->key, " has ", data->second.size(), " bytes for ",
                                view.storage->num_elements, " elements"));
  }
  // The last element that the view reaches must be inside; unsigned 128 bits hold any sum of products of these.
  if (view.sizes.size() != view.strides.size() || view.sizes.size() > 16 || view.offset < 0) {
    return Damaged("odd shape of a tensor");
  }
  bool is_empty = false;
  unsigned __int128 last = static_cast<uint64_t>(view.offset), count = 1;
  for (size_t i = 0; i < view.sizes.size(); ++i) {
    if (view.sizes[i] < 0 || view.strides[i] < 0) return Damaged("negative size or stride of a tensor");
    is_empty |= view.sizes[i] == 0;
    if (view.sizes[i] == 0) continue;
    last += static_cast<unsigned __int128>(view.sizes[i] - 1) * static_cast<uint64_t>(view.strides[i]);
    count *= static_cast<uint64_t>(view.sizes[i]);
    // A view may repeat elements (stride 0), but a state dict's tensor has no more of them than its storage.
    if (count > num_elements) break;
  }
  if (is_empty) return at::empty(view.sizes, type);
  if (last >= num_elements || count > num_elements) {
    return Damaged(absl::StrCat("a tensor reaches beyond storage ", view.storage->key));
  }
  // The file's bytes may be unaligned: copy what the view spans, then view.
  const auto offset = static_cast<uint64_t>(view.offset), span = static_cast<uint64_t>(last) - offset + 1;
  at::Tensor flat = at::empty({static_cast<int64_t>(span)}, type);
  std::memcpy(flat.data_ptr(), data->second.data() + offset * flat.element_size(), flat.nbytes());
  return flat.as_strided(view.sizes, view.strides).contiguous();
}

absl::Status CheckTotal(uint64_t total, const StateDictOptions& options) {
  if (total <= options.tensor_bytes_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("state dict: limit is ", options.tensor_bytes_max, " bytes of tensors, it has ", total));
}

absl::StatusOr<NamedTensors> Extract(const PickleValue& root, const StateDictOptions& options,
                                     const Storages& storages) {
  const PickleValue* dict = options.key ? root.Find(*options.key) : &root;
  if (dict == nullptr || dict->kind != Kind::kDict) {
    return absl::InvalidArgumentError(
        options.key ? absl::StrCat("state dict: has no dictionary under the key \"", *options.key, "\"")
                    : std::string("state dict: the file holds something else than a dictionary"));
  }
  NamedTensors tensors;
  std::map<std::string, size_t> positions;  // a repeated key replaces, as in Python
  uint64_t total = 0;
  const std::vector<PickleValue>& items = dict->items->values;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    const PickleValue& key = items[i];
    const PickleValue& value = items[i + 1];
    if (key.kind != Kind::kString || value.kind != Kind::kTensor) {
      return absl::InvalidArgumentError(
          absl::StrCat("state dict: entry \"", key.text, "\" is no named tensor (hint: give the key of the model)"));
    }
    auto tensor = MakeTensor(*value.tensor, storages);
    if (!tensor.ok()) {
      return absl::Status(tensor.status().code(),
                          absl::StrCat(tensor.status().message(), " (entry \"", key.text, "\")"));
    }
    // Entries may share a storage, each becomes a copy.
    URSA_RETURN_IF_ERROR(CheckTotal(total += tensor->nbytes(), options));
    const auto [position, is_new] = positions.emplace(key.text, tensors.size());
    if (is_new) {
      tensors.push_back({key.text, *std::move(tensor)});
    } else {
      tensors[position->second].tensor = *std::move(tensor);
    }
  }
  return tensors;
}

absl::StatusOr<NamedTensors> ReadZip(std::string_view bytes, const StateDictOptions& options) {
  URSA_ASSIGN_OR_RETURN(const auto members, ReadStoredZip(bytes));
  constexpr std::string_view kPickleName = "/data.pkl";
  std::string folder;
  std::string_view pickle;
  for (const auto& [name, contents] : members) {
    if (name.size() <= kPickleName.size() || name.find('/') != name.size() - kPickleName.size() ||
        name.compare(name.size() - kPickleName.size(), kPickleName.size(), kPickleName) != 0) {
      continue;
    }
    folder = name.substr(0, name.size() - kPickleName.size());
    pickle = contents;
  }
  if (folder.empty()) return Damaged("the zip file has no data.pkl: torch.save did not write it");
  const auto order = members.find(folder + "/byteorder");
  if (order != members.end() && order->second != "little") {
    return absl::InvalidArgumentError("state dict: written on a big-endian machine");
  }
  Storages storages;
  uint64_t total = 0;
  const std::string data_folder = folder + "/data/";
  for (const auto& [name, contents] : members) {
    if (name.compare(0, data_folder.size(), data_folder) != 0) continue;
    storages[name.substr(data_folder.size())] = contents;
    total += contents.size();
  }
  URSA_RETURN_IF_ERROR(CheckTotal(total, options));
  size_t used = 0;
  URSA_ASSIGN_OR_RETURN(const PickleValue root, ReadPickle(pickle, options.num_operations_max, &used));
  return Extract(root, options, storages);
}

absl::StatusOr<NamedTensors> ReadLegacy(std::string_view bytes, const StateDictOptions& options) {
  PickleValue parts[5];  // magic, protocol, system information, object, storage keys
  for (PickleValue& part : parts) {
    size_t used = 0;
    URSA_ASSIGN_OR_RETURN(part, ReadPickle(bytes, options.num_operations_max, &used));
    bytes.remove_prefix(used);
    if (&part == &parts[0] && part.text != kLegacyMagic) {
      return absl::InvalidArgumentError("state dict: a pickle, but not one of torch.save");
    }
  }
  const PickleValue* little_endian = parts[2].Find("little_endian");
  if (parts[1].number != kLegacyProtocol || little_endian == nullptr || little_endian->number != 1) {
    return absl::InvalidArgumentError("state dict: unknown protocol, or written on a big-endian machine");
  }
  if (parts[4].kind != Kind::kList) return Damaged("no list of storages");
  std::set<const void*> seen;
  std::map<std::string, std::shared_ptr<const PickleValue::Storage>> known;
  CollectStorages(parts[3], &seen, &known);
  Storages storages;
  uint64_t total = 0;
  for (const PickleValue& key : parts[4].items->values) {
    const auto storage = known.find(key.text);
    if (storage == known.end()) return Damaged(absl::StrCat("storage ", key.text, " belongs to no tensor"));
    URSA_ASSIGN_OR_RETURN(const at::ScalarType type, StorageType(storage->second->type));
    int64_t num_elements = 0;
    if (bytes.size() < sizeof num_elements) return Damaged("truncated before a storage");
    std::memcpy(&num_elements, bytes.data(), sizeof num_elements);
    bytes.remove_prefix(sizeof num_elements);
    if (num_elements < 0 || static_cast<uint64_t>(num_elements) > bytes.size() / c10::elementSize(type)) {
      return Damaged(absl::StrCat("storage ", key.text, " is truncated"));
    }
    const size_t num_bytes = static_cast<size_t>(num_elements) * c10::elementSize(type);
    storages[key.text] = bytes.substr(0, num_bytes);
    bytes.remove_prefix(num_bytes);
    total += num_bytes;
  }
  URSA_RETURN_IF_ERROR(CheckTotal(total, options));
  if (!bytes.empty()) return Damaged(absl::StrCat(bytes.size(), " bytes after the last storage"));
  return Extract(parts[3], options, storages);
}

}  // namespace

absl::StatusOr<NamedTensors> ReadStateDict(std::string_view bytes, const StateDictOptions& options) {
  try {
    return LooksLikeZip(bytes) ? ReadZip(bytes, options) : ReadLegacy(bytes, options);
  } catch (const std::exception& e) {
    return Damaged(TorchErrorText(e));
  }
}

absl::StatusOr<NamedTensors> ReadWeightsFile(const std::string& path, const StateDictOptions& options) {
  URSA_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  constexpr std::string_view kSuffix = ".safetensors";
  absl::StatusOr<NamedTensors> tensors;
  if (path.size() > kSuffix.size() && path.compare(path.size() - kSuffix.size(), kSuffix.size(), kSuffix) == 0) {
    auto contents = ParseSafetensors(bytes);
    tensors = contents.ok() ? absl::StatusOr<NamedTensors>(std::move(contents->tensors)) : contents.status();
  } else {
    tensors = ReadStateDict(bytes, options);
  }
  if (tensors.ok()) return tensors;
  return absl::Status(tensors.status().code(), absl::StrCat(path, ": ", tensors.status().message()));
}

}  // namespace ursa
