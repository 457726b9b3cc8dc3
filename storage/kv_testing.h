// Short forms for tests over a KvStore.
#ifndef URSA_STORAGE_KV_TESTING_H_
#define URSA_STORAGE_KV_TESTING_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "storage/kv_store.h"

namespace ursa {

using KeyValue = std::pair<std::string, std::string>;

inline absl::Status Put(KvStore* store, const std::vector<KeyValue>& entries,
                        Durability durability = Durability::kSynced) {
  WriteBatch batch;
  for (const auto& [key, value] : entries) batch.Put(key, value);
  return store->Write(batch, durability);
}

// All of a range in order; fails the test on a read error.
inline std::vector<KeyValue> Scan(const KvReader& reader, const KeyRange& range) {
  std::vector<KeyValue> entries;
  const auto iterator = reader.NewIterator(range);
  for (; iterator->Valid(); iterator->Next()) entries.emplace_back(iterator->key(), iterator->value());
  EXPECT_TRUE(iterator->status().ok()) << iterator->status();
  return entries;
}

// Number of keys of a range.
inline size_t CountKeys(const KvReader& reader, const KeyRange& range) { return Scan(reader, range).size(); }

}  // namespace ursa

#endif  // URSA_STORAGE_KV_TESTING_H_
