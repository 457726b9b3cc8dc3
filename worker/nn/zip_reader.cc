#include "worker/nn/zip_reader.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kDirectoryEntry = 0x02014b50, kDirectoryEnd = 0x06054b50;
constexpr uint32_t kDirectoryEnd64 = 0x06064b50, kDirectoryEnd64Locator = 0x07064b50;
constexpr size_t kDirectoryEndBytes = 22, kLocatorBytes = 20, kDirectoryEnd64Bytes = 56, kEntryBytes = 46,
                 kLocalBytes = 30;
constexpr uint32_t kMax32 = 0xffffffff;
constexpr uint16_t kMax16 = 0xffff;

absl::Status Damaged(std::string_view fact) { return absl::DataLossError(absl::StrCat("zip: ", std::string(fact))); }

// Little-endian number at `at`, which the caller has checked to be inside.
template <typename T>
T Load(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

uint32_t Crc32(std::string_view bytes) {
  static const auto* const kTable = [] {
    auto* table = new std::array<uint32_t, 256>;
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1) != 0 ? 0xedb88320u : 0);
      (*table)[i] = c;
    }
    return table;
  }();
  uint32_t crc = 0xffffffff;
  for (const char c : bytes) crc = (*kTable)[(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

struct Directory {
  uint64_t offset, num_entries;
};

absl::StatusOr<Directory> FindDirectory(std::string_view bytes) {
  if (bytes.size() < kDirectoryEndBytes) return Damaged("too short");
  const size_t last = bytes.size() - kDirectoryEndBytes;
  const size_t first = last > kMax16 ? last - kMax16 : 0;
  for (size_t at = last + 1; at-- > first;) {
    if (Load<uint32_t>(bytes, at) != kDirectoryEnd) continue;
    Directory directory{Load<uint32_t>(bytes, at + 16), Load<uint16_t>(bytes, at + 10)};
    if (at >= kLocatorBytes && Load<uint32_t>(bytes, at - kLocatorBytes) == kDirectoryEnd64Locator) {
      const uint64_t end64 = Load<uint64_t>(bytes, at - kLocatorBytes + 8);
      if (end64 > bytes.size() || bytes.size() - end64 < kDirectoryEnd64Bytes ||
          Load<uint32_t>(bytes, end64) != kDirectoryEnd64) {
        return Damaged("zip64 directory end is not where it should be");
      }
      directory = {Load<uint64_t>(bytes, end64 + 48), Load<uint64_t>(bytes, end64 + 32)};
    }
    return directory;
  }
  return Damaged("no directory (truncated?)");
}

// Replaces the fields that are all ones by the zip64 extra field's, in the format's fixed order.
absl::Status ApplyZip64(std::string_view extra, uint64_t* size, uint64_t* compressed, uint64_t* offset) {
  while (extra.size() >= 4) {
    const auto id = Load<uint16_t>(extra, 0);
    const size_t length = Load<uint16_t>(extra, 2);
    if (length > extra.size() - 4) return Damaged("extra field runs over its end");
    std::string_view field = extra.substr(4, length);
    if (id == 1) {
      for (uint64_t* value : {size, compressed, offset}) {
        if (*value != kMax32) continue;
        if (field.size() < 8) return Damaged("zip64 extra field is too short");
        *value = Load<uint64_t>(field, 0);
        field.remove_prefix(8);
      }
    }
    extra.remove_prefix(4 + length);
  }
  return absl::OkStatus();
}

}  // namespace

bool LooksLikeZip(std::string_view bytes) { return bytes.size() >= 4 && Load<uint32_t>(bytes, 0) == kLocalHeader; }

absl::StatusOr<std::map<std::string, std::string_view>> ReadStoredZip(std::string_view bytes) {
  URSA_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(bytes));
  std::map<std::string, std::string_view> members;
  uint64_t at = directory.offset;
  for (uint64_t i = 0; i < directory.num_entries; ++i) {
    if (at > bytes.size() || bytes.size() - at < kEntryBytes || Load<uint32_t>(bytes, at) != kDirectoryEntry) {
      return Damaged(absl::StrCat("directory entry ", i, " is not where it should be"));
    }
    const auto flags = Load<uint16_t>(bytes, at + 8), method = Load<uint16_t>(bytes, at + 10);
    const auto crc = Load<uint32_t>(bytes, at + 16);
    uint64_t compressed = Load<uint32_t>(bytes, at + 20), size = Load<uint32_t>(bytes, at + 24);
    const size_t name_bytes = Load<uint16_t>(bytes, at + 28), extra_bytes = Load<uint16_t>(bytes, at + 30);
    const size_t comment_bytes = Load<uint16_t>(bytes, at + 32);
    uint64_t offset = Load<uint32_t>(bytes, at + 42);
    if (bytes.size() - at - kEntryBytes < name_bytes + extra_bytes + comment_bytes) {
      return Damaged(absl::StrCat("directory entry ", i, " runs over the end"));
    }
    std::string name(bytes.substr(at + kEntryBytes, name_bytes));
    URSA_RETURN_IF_ERROR(
        ApplyZip64(bytes.substr(at + kEntryBytes + name_bytes, extra_bytes), &size, &compressed, &offset));
    at += kEntryBytes + name_bytes + extra_bytes + comment_bytes;

    if (method != 0 || (flags & 1) != 0 || compressed != size) {
      return absl::InvalidArgumentError(absl::StrCat("zip: member ", name, " is compressed or encrypted"));
    }
    if (offset > bytes.size() || bytes.size() - offset < kLocalBytes || Load<uint32_t>(bytes, offset) != kLocalHeader) {
      return Damaged(absl::StrCat("member ", name, " is not where it should be"));
    }
    const uint64_t data =
        offset + kLocalBytes + Load<uint16_t>(bytes, offset + 26) + Load<uint16_t>(bytes, offset + 28);
    if (data > bytes.size() || size > bytes.size() - data) {
      return Damaged(absl::StrCat("member ", name, " runs over the end"));
    }
    const std::string_view contents = bytes.substr(data, size);
    if (Crc32(contents) != crc) return Damaged(absl::StrCat("member ", name, " has a wrong checksum"));
    if (!members.emplace(name, contents).second) {
      return absl::InvalidArgumentError(absl::StrCat("zip: two members are called ", name));
    }
  }
  return members;
}

}  // namespace ursa
