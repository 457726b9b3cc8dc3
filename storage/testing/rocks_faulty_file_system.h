// A disk for RocksDB that loses, damages and refuses, by a seed: what a power failure, bad sectors, a failing
// controller and a full disk do to a store.
#ifndef URSA_STORAGE_TESTING_ROCKS_FAULTY_FILE_SYSTEM_H_
#define URSA_STORAGE_TESTING_ROCKS_FAULTY_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace rocksdb {
class Env;
}  // namespace rocksdb

namespace ursa {

// A rocksdb::FileSystem over the real one: the files are real files, and what of them would survive a power failure is
// kept beside them:
//
//   append --> written --sync of the file--> durable
//   create, rename, link, delete --> seen --sync of the folder--> durable
//
// A power failure takes what is not durable: of each file the unsynced tail is dropped or cut at a random byte,
// whatever happens to the other files; of the changes of names in a folder a random number of the last ones is undone,
// as a journal that was not yet written. What a file system may do beyond that (holes and zeros in an unsynced tail) is
// not done. It comes in the middle of the store's work: what survives is put aside at that moment, the store goes on
// with what will be thrown away, and LoseUnsynced gives its folder what was put aside.
//
// RocksDB's own log of information (LOG) goes past it. Thread-safe but for LoseUnsynced. Must outlive the store.
class RocksFaultyFileSystem {
 public:
  // Chances of a fault at each call, 0..1.
  struct Faults {
    double write_error_rate = 0;  // of appends, which then write a part, and of syncs, creations, renames, links
    double read_error_rate = 0;
    double bit_flip_rate = 0;      // one bit of what is read from a table or blob file is turned over
    double log_bit_flip_rate = 0;  // the same for logs and manifests, which are read when a store is opened
    int64_t bit_flips_max = INT64_MAX;
    std::optional<uint64_t> free_bytes;  // that can still be appended; then the disk is full
  };
  struct Counts {
    int64_t num_write_errors = 0;
    int64_t num_read_errors = 0;
    int64_t num_bit_flips = 0;
    int64_t num_refused_when_full = 0;
    int64_t num_lost_bytes = 0;    // of unsynced tails, in all power failures
    int64_t num_undone_names = 0;  // creations, renames, links, deletions
  };

  // For a store in `store_folder`, which has no folders below it that matter. `scratch_folder` is made; it must be on
  // the same disk.
  RocksFaultyFileSystem(uint64_t seed, const std::string& store_folder, const std::string& scratch_folder);
  ~RocksFaultyFileSystem();
  RocksFaultyFileSystem(const RocksFaultyFileSystem&) = delete;
  RocksFaultyFileSystem& operator=(const RocksFaultyFileSystem&) = delete;

  // For RocksKvStore::Options.
  rocksdb::Env* env();

  void SetFaults(const Faults& faults);

  // The power fails at the `num_calls`-th call from here on that writes, 1 or more.
  void CutPower(int64_t num_calls);
  // Whether it has: what was acknowledged before this was false counts, what came later does not.
  bool is_power_cut() const;

  // Leaves in the store's folder what the power failure leaves, which must have come. The store must be closed.
  absl::Status LoseUnsynced();

  Counts counts() const;

 private:
  class Disk;
  class FileSystem;

  const std::unique_ptr<Disk> disk_;
  std::shared_ptr<FileSystem> file_system_;
  std::unique_ptr<rocksdb::Env> env_;
};

}  // namespace ursa

#endif  // URSA_STORAGE_TESTING_ROCKS_FAULTY_FILE_SYSTEM_H_
