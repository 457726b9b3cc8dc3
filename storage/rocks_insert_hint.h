// Where RocksDB's memtable looks first for the place of a new key.
#ifndef URSA_STORAGE_ROCKS_INSERT_HINT_H_
#define URSA_STORAGE_ROCKS_INSERT_HINT_H_

#include <rocksdb/slice_transform.h>

#include <memory>

namespace ursa {

// Groups the keys (storage/keys.h) whose newest is mostly the last of its group: the records of one table, events, the
// points of one metric, the log of one rank. The memtable then looks beside the group's last key before it searches
// all. Keys that start with a hash are in no group. Nothing on disk depends on it.
std::unique_ptr<const rocksdb::SliceTransform> NewInsertHintGroups();

}  // namespace ursa

#endif  // URSA_STORAGE_ROCKS_INSERT_HINT_H_
