#include "worker/nn/safetensors.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/nn/json.h"

namespace ursa {
namespace {

constexpr std::string_view kMetadataName = "__metadata__";
constexpr size_t kLengthBytes = 8;

struct Dtype {
  std::string_view name;
  at::ScalarType type;
  // The reference writer orders entries by this rank, largest alignment first, then by name.
  int rank;
};
constexpr Dtype kDtypes[] = {
    {"BOOL", at::kBool, 0},  {"U8", at::kByte, 1},       {"I8", at::kChar, 2}, {"I16", at::kShort, 3},
    {"F16", at::kHalf, 4},   {"BF16", at::kBFloat16, 5}, {"I32", at::kInt, 6}, {"F32", at::kFloat, 7},
    {"F64", at::kDouble, 8}, {"I64", at::kLong, 9},
};

const Dtype* FindDtype(std::string_view name) {
  for (const Dtype& dtype : kDtypes) {
    if (dtype.name == name) return &dtype;
  }
  return nullptr;
}

const Dtype* FindDtype(at::ScalarType type) {
  for (const Dtype& dtype : kDtypes) {
    if (dtype.type == type) return &dtype;
  }
  return nullptr;
}

absl::Status Damaged(std::string_view fact) {
  return absl::DataLossError(absl::StrCat("safetensors: ", std::string(fact)));
}

absl::Status DamagedEntry(const std::string& name, std::string_view fact) {
  return Damaged(absl::StrCat("entry ", JsonQuote(name), ": ", std::string(fact)));
}

// One header entry, checked by itself.
struct Entry {
  std::string name;
  const Dtype* dtype;
  std::vector<int64_t> shape;
  uint64_t begin, end;
};

absl::StatusOr<Entry> ParseEntry(const std::string& name, const Json& json, uint64_t data_bytes,
                                 const SafetensorsLimits& limits) {
  const Json* dtype = json.Find("dtype");
  const Json* shape = json.Find("shape");
  const Json* offsets = json.Find("data_offsets");
  if (!json.is_object() || json.size() != 3 || dtype == nullptr || shape == nullptr || offsets == nullptr ||
      !dtype->is_string() || !shape->is_array() || !offsets->is_array() || offsets->size() != 2) {
    return DamagedEntry(name, "expected dtype, shape and two data_offsets, and nothing else");
  }
  Entry entry{name, FindDtype(dtype->string()), {}, 0, 0};
  if (entry.dtype == nullptr) return DamagedEntry(name, absl::StrCat("unknown dtype ", JsonQuote(dtype->string())));
  if (shape->size() > static_cast<size_t>(limits.num_dimensions_max)) {
    return absl::ResourceExhaustedError(absl::StrCat("safetensors: entry ", JsonQuote(name), ": limit is ",
                                                     limits.num_dimensions_max, " dimensions, it has ", shape->size()));
  }
  // The product is bounded by the data that is there (an empty dimension bounds nothing but stores nothing).
  uint64_t num_bytes = c10::elementSize(entry.dtype->type);
  bool is_empty = false;
  for (const Json& dimension : shape->array()) {
    uint64_t extent = 0;
    if (!dimension.AsUint64(&extent) || extent > uint64_t{1} << 48) return DamagedEntry(name, "bad extent in shape");
    entry.shape.push_back(static_cast<int64_t>(extent));
    is_empty |= extent == 0;
    if (extent != 0 && num_bytes > (uint64_t{1} << 62) / extent) return DamagedEntry(name, "shape overflows");
    if (extent != 0) num_bytes *= extent;
  }
  if (is_empty) num_bytes = 0;
  if (!(*offsets)[0].AsUint64(&entry.begin) || !(*offsets)[1].AsUint64(&entry.end) || entry.begin > entry.end ||
      entry.end > data_bytes) {
    return DamagedEntry(name, absl::StrCat("data_offsets are not in 0..", data_bytes));
  }
  if (entry.end - entry.begin != num_bytes) {
    return DamagedEntry(name,
                        absl::StrCat("shape needs ", num_bytes, " bytes, data_offsets give ", entry.end - entry.begin));
  }
  return entry;
}

absl::Status ParseMetadata(const Json& json, StringMap* metadata) {
  if (!json.is_object()) return Damaged("__metadata__ is not an object");
  for (const auto& [key, value] : json.members()) {
    if (!value.is_string()) return Damaged(absl::StrCat("__metadata__: ", JsonQuote(key), " is not a string"));
    (*metadata)[key] = value.string();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsContents> ParseSafetensors(std::string_view bytes, const SafetensorsLimits& limits) {
  if (bytes.size() < kLengthBytes) return Damaged(absl::StrCat(bytes.size(), " bytes are no file"));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  if (header_bytes > limits.header_bytes_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("safetensors: header limit is ", limits.header_bytes_max, " bytes, it has ", header_bytes));
  }
  if (header_bytes > bytes.size() - kLengthBytes) {
    return Damaged(absl::StrCat("header of ", header_bytes, " bytes in a file of ", bytes.size()));
  }
  const std::string_view header = bytes.substr(kLengthBytes, header_bytes);
  const std::string_view data = bytes.substr(kLengthBytes + header_bytes);
  if (header.empty() || header[0] != '{') return Damaged("header does not start with '{'");
  auto json = Json::Parse(header, 8);
  if (!json.ok()) return Damaged(absl::StrCat("header: ", std::string(json.status().message())));
  if (json->size() > limits.num_tensors_max + 1) {
    return absl::ResourceExhaustedError(
        absl::StrCat("safetensors: limit is ", limits.num_tensors_max, " entries, it has ", json->size()));
  }

  SafetensorsContents contents;
  std::vector<Entry> entries;
  for (const auto& [name, value] : json->members()) {
    if (name == kMetadataName) {
      URSA_RETURN_IF_ERROR(ParseMetadata(value, &contents.metadata));
      continue;
    }
    URSA_ASSIGN_OR_RETURN(Entry entry, ParseEntry(name, value, data.size(), limits));
    entries.push_back(std::move(entry));
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != covered) {
      return DamagedEntry(entry.name, absl::StrCat("data starts at ", entry.begin, ", expected ", covered,
                                                   entry.begin < covered ? " (overlap)" : " (gap)"));
    }
    covered = entry.end;
  }
  if (covered != data.size()) {
    return Damaged(absl::StrCat("data ends at ", covered, ", the file at ", data.size()));
  }
  for (const Entry& entry : entries) {
    at::Tensor tensor = at::empty(entry.shape, entry.dtype->type);
    if (entry.end > entry.begin) std::memcpy(tensor.data_ptr(), data.data() + entry.begin, entry.end - entry.begin);
    contents.tensors.push_back({entry.name, std::move(tensor)});
  }
  return contents;
}

absl::StatusOr<std::string> SerializeSafetensors(const NamedTensors& tensors, const StringMap& metadata) {
  struct Item {
    const NamedTensor* source;
    const Dtype* dtype;
    at::Tensor data;
  };
  std::vector<Item> items;
  std::set<std::string_view> names;
  for (const NamedTensor& tensor : tensors) {
    if (tensor.name == kMetadataName || !names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("safetensors: entry ", JsonQuote(tensor.name), ": name is reserved or repeated"));
    }
    const Dtype* dtype = tensor.tensor.defined() ? FindDtype(tensor.tensor.scalar_type()) : nullptr;
    if (dtype == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("safetensors: entry ", JsonQuote(tensor.name), ": type has no safetensors name"));
    }
    items.push_back({&tensor, dtype, tensor.tensor.detach().cpu().contiguous()});
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return a.dtype->rank != b.dtype->rank ? a.dtype->rank > b.dtype->rank : a.source->name < b.source->name;
  });

  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) absl::StrAppend(&header, JsonQuote(key), ":", JsonQuote(value), ",");
    header.back() = '}';
    header += ",";
  }
  uint64_t offset = 0;
  for (const Item& item : items) {
    std::string shape;
    for (const int64_t extent : item.data.sizes()) absl::StrAppend(&shape, shape.empty() ? "" : ",", extent);
    const uint64_t end = offset + item.data.nbytes();
    absl::StrAppend(&header, JsonQuote(item.source->name), ":{\"dtype\":\"", std::string(item.dtype->name),
                    "\",\"shape\":[", shape, "],\"data_offsets\":[", offset, ",", end, "]},");
    offset = end;
  }
  if (header.back() == ',') header.pop_back();
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');

  std::string out;
  out.reserve(kLengthBytes + header.size() + offset);
  const uint64_t header_bytes = header.size();
  out.append(reinterpret_cast<const char*>(&header_bytes), kLengthBytes);
  out += header;
  for (const Item& item : items) {
    if (item.data.nbytes() > 0) out.append(static_cast<const char*>(item.data.data_ptr()), item.data.nbytes());
  }
  return out;
}

}  // namespace ursa
