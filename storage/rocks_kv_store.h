// The real KvStore: one RocksDB database in one folder.
#ifndef URSA_STORAGE_ROCKS_KV_STORE_H_
#define URSA_STORAGE_ROCKS_KV_STORE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/kv_store.h"

namespace rocksdb {
class Env;
}  // namespace rocksdb

namespace ursa {

// Owns the folder while it lives: a lock in it keeps a second process out. Writes go to a write-ahead log first; bulk
// loads are sorted table files that are moved in. Values of `large_value_bytes` and more live in blob files, so that
// compaction does not copy them. The header hides RocksDB, whose own headers only storage/rocks_* may include.
class RocksKvStore {
 public:
  struct Options {
    size_t block_cache_bytes = size_t{128} << 20;  // blocks, indexes and filters together
    size_t write_buffer_bytes = size_t{64} << 20;  // each of at most three buffers of recent writes
    size_t large_value_bytes = size_t{64} << 10;
    uint64_t load_file_bytes = uint64_t{256} << 20;  // a bulk load starts another file beyond this
    int num_background_threads = 2;                  // flushes and compactions
    int max_open_files = 1000;
    rocksdb::Env* env = nullptr;  // the disk, outliving the store; null: the system's. For tests with a faulty one

    absl::Status Validate() const;
  };

  // Opens the store in `folder`, making folder and store (mode 0700) if need be. Errors: FAILED_PRECONDITION (in use by
  // another process, or by this one), DATA_LOSS (the files are damaged), RESOURCE_EXHAUSTED (disk full),
  // PERMISSION_DENIED, INVALID_ARGUMENT (options), UNKNOWN.
  static absl::StatusOr<std::unique_ptr<KvStore>> Open(const std::string& folder, const Options& options);
};

}  // namespace ursa

#endif  // URSA_STORAGE_ROCKS_KV_STORE_H_
