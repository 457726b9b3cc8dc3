// Content-addressed bytes: pictures, manifests, checkpoints, models.
#ifndef URSA_STORAGE_BLOB_STORE_H_
#define URSA_STORAGE_BLOB_STORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "storage/hash_claims.h"
#include "storage/kv_store.h"

namespace ursa {

class BlobReader;  // blob_stream.h, which callers include too
class BlobWriter;

struct BlobInfo {
  std::string hash;  // SHA-256 as 64 lower-case hex digits
  uint64_t size_bytes = 0;
  absl::Time created;
};

// Blobs by SHA-256, in chunks in a KvStore. A blob is visible when its record ('b' in keys.h) is: the record names the
// place of its chunks and is written after them, in one synced write.
//
//   (nothing) --1--> uploading --2--> visible --3--> (nothing)
//                        `--4--> (nothing)
//   1 OpenWriter: a place is taken, chunks are stored there unseen      2 BlobWriter::Commit: size and hash are right
//   3 Delete                                                           4 wrong hash, or DropUploadsOlderThan
//
// A hash that is not 64 lower-case hex digits is INVALID_ARGUMENT everywhere. All methods may also give the errors of
// KvStore. Borrows store and clock; must outlive its readers and writers. Thread-safe. Who may delete what, and whether
// something still refers to a blob, is the caller's to know.
class BlobStore {
 public:
  struct Options {
    uint64_t max_blob_bytes = uint64_t{64} << 30;
    int64_t max_pending_uploads = 1024;
    uint64_t max_put_many_bytes = uint64_t{512} << 20;  // of one PutMany
    int64_t max_hashes_per_call = 1'000'000;
    uint32_t chunk_bytes = uint32_t{1} << 20;        // of new blobs; older ones keep theirs
    uint64_t sorted_load_bytes = uint64_t{4} << 20;  // PutMany of more than this is a bulk load

    absl::Status Validate() const;
  };

  // `store` has passed CheckStoreFormat.
  static absl::StatusOr<std::unique_ptr<BlobStore>> Open(KvStore* store, Clock* clock, const Options& options);

  // Those of `hashes` that are not visible, each once, in order of first appearance.
  absl::StatusOr<std::vector<std::string>> FindMissing(const std::vector<std::string>& hashes) const;

  // NOT_FOUND if it is not visible.
  absl::StatusOr<BlobInfo> Stat(std::string_view hash) const;

  // At most `limit` > 0 blobs with hash > `after_hash` (empty: from the first), sorted by hash.
  absl::StatusOr<std::vector<BlobInfo>> List(std::string_view after_hash, int64_t limit) const;

  // How many bytes of an unfinished upload of `hash` are stored; 0 if there is none. A multiple of the chunk size.
  absl::StatusOr<uint64_t> ResumeOffset(std::string_view hash) const;

  // Starts or resumes an upload: the writer stands at ResumeOffset(hash), having read what is there to go on hashing. A
  // resumed upload that had declared another size starts anew. Another writer of the same hash is cut off: its next
  // call gives ABORTED. Errors: ALREADY_EXISTS (visible: nothing to do), RESOURCE_EXHAUSTED (max_blob_bytes,
  // max_pending_uploads).
  absl::StatusOr<std::unique_ptr<BlobWriter>> OpenWriter(std::string_view hash, uint64_t size_bytes);

  // Reads from `offset` <= size. Errors: NOT_FOUND, OUT_OF_RANGE.
  absl::StatusOr<std::unique_ptr<BlobReader>> OpenReader(std::string_view hash, uint64_t offset = 0) const;

  // The whole blob, its hash verified. RESOURCE_EXHAUSTED if it is larger than `max_bytes`; NOT_FOUND; DATA_LOSS.
  absl::StatusOr<std::string> Read(std::string_view hash, uint64_t max_bytes) const;

  struct Blob {
    std::string hash;
    std::string bytes;
  };
  // Makes many small blobs visible at once, durable on return; those that are visible already are left alone. Errors:
  // DATA_LOSS (bytes that do not have the hash, which is named; nothing is stored), RESOURCE_EXHAUSTED
  // (max_put_many_bytes).
  absl::Status PutMany(const std::vector<Blob>& blobs);
  // Puts one blob and returns its hash.
  absl::StatusOr<std::string> Put(std::string_view bytes);

  // Removes blobs and returns the sum of their sizes; unknown ones count for nothing. A reader of one fails with
  // NOT_FOUND at its next chunk.
  absl::StatusOr<uint64_t> Delete(const std::vector<std::string>& hashes);

  // Drops unfinished uploads that were opened last before `time`, and returns their number. Their writers get ABORTED.
  absl::StatusOr<int64_t> DropUploadsOlderThan(absl::Time time);

 private:
  friend class BlobReader;
  friend class BlobWriter;
  // Values of 'b' and 'u' keys.
  struct BlobRecord {
    uint64_t size_bytes = 0;
    uint64_t place = 0;
    uint32_t chunk_bytes = 0;
    absl::Time time;  // created; or opened last

    uint64_t NumChunks() const { return (size_bytes + chunk_bytes - 1) / chunk_bytes; }
  };

  BlobStore(KvStore* store, Clock* clock, const Options& options, uint64_t next_place, int64_t num_uploads)
      : store_(store), clock_(clock), options_(options), next_place_(next_place), num_uploads_(num_uploads) {}

  static std::string EncodeRecord(const BlobRecord& record);
  static absl::StatusOr<BlobRecord> DecodeRecord(std::string_view hash, std::string_view value);
  static void DeleteChunks(const BlobRecord& record, WriteBatch* batch);
  absl::StatusOr<std::optional<BlobRecord>> ReadRecord(std::string key, std::string_view hash) const;
  absl::StatusOr<BlobRecord> ReadVisible(std::string_view hash) const;
  absl::Status CheckHashes(const std::vector<std::string>& hashes) const;
  absl::StatusOr<BlobRecord> StartUpload(std::string_view hash, uint64_t size_bytes);
  // Removes the upload's record and chunks together with `batch`. The caller has a claim on `hash`.
  absl::Status DropUpload(std::string_view hash, const BlobRecord& record, WriteBatch batch);
  uint64_t TakePlaces(uint64_t num_places);

  KvStore* const store_;
  Clock* const clock_;
  const Options options_;
  // Whoever changes a 'b' or 'u' record, or a chunk of it, has a claim on its hash.
  mutable HashClaims claims_;
  mutable absl::Mutex mu_;
  uint64_t next_place_ ABSL_GUARDED_BY(mu_);
  int64_t num_uploads_ ABSL_GUARDED_BY(mu_);  // 'u' records in the store
  // The writer that may go on, for each hash with a live one.
  std::map<std::string, const BlobWriter*, std::less<>> writers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ursa

#endif  // URSA_STORAGE_BLOB_STORE_H_
