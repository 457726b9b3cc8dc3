#include "storage/rocks_insert_hint.h"

#include <cstdint>
#include <string_view>

#include "storage/keys.h"

namespace ursa {
namespace {

class InsertHintGroups : public rocksdb::SliceTransform {
 public:
  const char* Name() const override { return "ursa.InsertHintGroups"; }

  rocksdb::Slice Transform(const rocksdb::Slice& key) const override { return {key.data(), GroupBytes(key)}; }

  bool InDomain(const rocksdb::Slice& key) const override { return GroupBytes(key) > 0; }

 private:
  // Of the group's name, at the start of the key; 0: it is in none.
  static size_t GroupBytes(const rocksdb::Slice& slice) {
    const std::string_view key(slice.data(), slice.size());
    if (key.empty()) return 0;
    switch (static_cast<KeyPrefix>(key[0])) {
      case KeyPrefix::kRecord: {
        const size_t end = key.find('\0');
        return end == std::string_view::npos ? 0 : end + 1;
      }
      case KeyPrefix::kEvent:
        return key.size() <= sizeof(uint64_t) ? 0 : key.size() - sizeof(uint64_t);
      default:
        return 0;
    }
  }
};

}  // namespace

std::unique_ptr<const rocksdb::SliceTransform> NewInsertHintGroups() { return std::make_unique<InsertHintGroups>(); }

}  // namespace ursa
