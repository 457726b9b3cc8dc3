#include "storage/kv_store.h"

namespace ursa {

KeyRange PrefixRange(std::string_view prefix) {
  KeyRange range{std::string(prefix), std::string(prefix)};
  while (!range.end.empty() && static_cast<unsigned char>(range.end.back()) == 0xFF) range.end.pop_back();
  if (!range.end.empty()) ++range.end.back();
  return range;
}

void WriteBatch::Put(std::string key, std::string value) { Add(Kind::kPut, std::move(key), std::move(value)); }

void WriteBatch::Delete(std::string key) { Add(Kind::kDelete, std::move(key), ""); }

void WriteBatch::DeleteRange(std::string begin, std::string end) {
  if (begin < end) Add(Kind::kDeleteRange, std::move(begin), std::move(end));
}

void WriteBatch::Append(WriteBatch other) {
  num_bytes_ += other.num_bytes_;
  if (operations_.empty()) {
    operations_ = std::move(other.operations_);
    return;
  }
  for (Operation& operation : other.operations_) operations_.push_back(std::move(operation));
}

void WriteBatch::Add(Kind kind, std::string first, std::string second) {
  num_bytes_ += first.size() + second.size();
  operations_.push_back({kind, std::move(first), std::move(second)});
}

}  // namespace ursa
