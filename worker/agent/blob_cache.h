// Blobs on this machine's disk, by hash.
#ifndef URSA_WORKER_AGENT_BLOB_CACHE_H_
#define URSA_WORKER_AGENT_BLOB_CACHE_H_

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/digest.h"

namespace ursa {

// A bounded cache of content-addressed files. On disk:
//   DIR/<first two digits>/<64 hex digits>   a whole blob, mode 0444, its name is the hash of its bytes
//   DIR/incoming/<random>                    one being written; removed at the next start
// Files are not synced: what a crash of the machine spoiled is found, because a file that was there at the start is
// hashed before it is used for the first time.
//
// A pinned blob is never evicted; among the others the one unused for longest goes first, when the cache has reached
// its limit or the disk has. An owner is any name; tasks and events that wait for their upload are owners. Safe for use
// by many threads; no lock is held while bytes are read, written or hashed.
class BlobCache {
 public:
  struct Options {
    int64_t bytes_max = int64_t{256} << 30;  // of all files; pinned ones included
    // Of the disk, left to others: blobs are given up for the first, none is taken beyond the second. Between them lies
    // what slots need to be offered (SlotHealth::Options::free_disk_bytes_min), which so is not the cache's to take.
    int64_t free_bytes_wanted = int64_t{1} << 30;
    int64_t free_bytes_min = int64_t{256} << 20;
    std::function<int64_t()> free_disk_bytes;  // null: the disk is not looked at
  };

  // A blob that comes in pieces. Destroying it without Commit() leaves nothing. Not thread-safe. Must not outlive the
  // cache.
  class Writer {
   public:
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // Errors: RESOURCE_EXHAUSTED (cache or disk full), UNKNOWN with the system's text.
    absl::Status Write(std::string_view piece);
    int64_t size_bytes() const { return size_bytes_; }

    // Makes the blob visible, pinned for `owner`, and returns its hash. Call once. `expected_hash`, if not empty, must
    // be the hash of the bytes. Errors: DATA_LOSS (it is not; nothing is kept), as Write.
    absl::StatusOr<std::string> Commit(const std::string& owner, const std::string& expected_hash = "");

   private:
    friend class BlobCache;
    Writer(BlobCache* cache, int fd, std::string path) : cache_(cache), fd_(fd), path_(std::move(path)) {}

    BlobCache* cache_;
    int fd_;
    std::string path_;
    int64_t size_bytes_ = 0;
    int64_t reserved_bytes_ = 0;
    Sha256 hash_;
  };

  // Opens or creates the cache in the folder `dir`, which must belong to this process alone.
  static absl::StatusOr<std::unique_ptr<BlobCache>> Open(const std::string& dir, const Options& options);

  // Errors: UNKNOWN with the system's text.
  absl::StatusOr<std::unique_ptr<Writer>> NewWriter();

  // Pins the blob for `owner` and returns the path of its file. Errors: NOT_FOUND (not in the cache, or it was found to
  // be damaged and removed); INVALID_ARGUMENT (not a hash).
  absl::StatusOr<std::string> Pin(const std::string& hash, const std::string& owner);

  // Ends one pin, or all of `owner`.
  void Unpin(const std::string& hash, const std::string& owner);
  void Release(const std::string& owner);

  // Evicts until free_bytes_wanted are free, as far as blobs can go: others have filled the disk.
  void LeaveRoom();

  int64_t size_bytes() const;

 private:
  struct Entry {
    int64_t size_bytes = 0;
    bool verified = false;  // by this process
    std::set<std::string> owners;
    std::list<std::string>::iterator use;  // in uses_
  };

  BlobCache(std::string dir, const Options& options) : dir_(std::move(dir)), options_(options) {}
  absl::Status Scan();
  std::string PathOf(const std::string& hash) const { return dir_ + "/" + hash.substr(0, 2) + "/" + hash; }
  // Sets `bytes` aside, evicting as need be.
  absl::Status Reserve(int64_t bytes);
  // How many of the disk's bytes are missing for `bytes`; 0: they are there.
  int64_t MissingOnDisk(int64_t bytes) const;
  // Removes blobs of at least `bytes`, as far as there are any that are not pinned.
  void EvictLocked(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Unreserve(int64_t bytes);
  // Moves a written file to its place, or drops it if the blob is there.
  absl::Status Adopt(const std::string& hash, const std::string& owner, const std::string& path, int64_t size_bytes,
                     int64_t reserved_bytes);
  void EraseLocked(const std::string& hash) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string dir_;
  const Options options_;

  mutable absl::Mutex mu_;
  std::unordered_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mu_);
  std::list<std::string> uses_ ABSL_GUARDED_BY(mu_);                        // hashes, longest unused first
  std::map<std::string, std::set<std::string>> pins_ ABSL_GUARDED_BY(mu_);  // hashes by owner
  int64_t size_bytes_ ABSL_GUARDED_BY(mu_) = 0;                             // of entries and reservations
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_BLOB_CACHE_H_
