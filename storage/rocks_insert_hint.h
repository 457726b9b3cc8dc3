// Where RocksDB's memtable looks first for the place of a new key.
#ifndef URSA_STORAGE_ROCKS_INSERT_HINT_H_
#define URSA_STORAGE_ROCKS_INSERT_HINT_H_

#include <rocksdb/slice_transform.h>

#include <memory>

namespace ursa {

// Groups the keys (storage/keys.h) whose newest is mostly the last of its group: the records of one table, events. The
// memtable then looks beside the group's last key before it searches all. Nothing on disk depends on it.
//
// No range may be deleted that begins with a key of a group: RocksDB 7.8 keeps such deletions in a list of their own,
// but takes the same hint for a place in both lists, which breaks them. Metrics and logs, whose ranges are deleted, are
// therefore in no group.
std::unique_ptr<const rocksdb::SliceTransform> NewInsertHintGroups();

}  // namespace ursa

#endif  // URSA_STORAGE_ROCKS_INSERT_HINT_H_
