// RocksDB's write-ahead logs, durable in their order.
#ifndef URSA_STORAGE_ROCKS_LOG_ORDER_H_
#define URSA_STORAGE_ROCKS_LOG_ORDER_H_

#include <rocksdb/file_system.h>

#include <memory>

namespace ursa {

// `target`, but a log is synced before the next one begins. RocksDB syncs the old logs at the next synced write and
// no earlier: a power failure between them may take the end of the old log and leave the new one, and recovery replays
// both. Then unsynced writes are lost from the middle, while KvStore promises that only the last ones are. It costs one
// sync for each full write buffer.
std::shared_ptr<rocksdb::FileSystem> NewLogOrderFileSystem(const std::shared_ptr<rocksdb::FileSystem>& target);

}  // namespace ursa

#endif  // URSA_STORAGE_ROCKS_LOG_ORDER_H_
