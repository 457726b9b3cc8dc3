// Blobs as streams: one upload, one download.
#ifndef URSA_STORAGE_BLOB_STREAM_H_
#define URSA_STORAGE_BLOB_STREAM_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/digest.h"
#include "storage/blob_store.h"

namespace ursa {

// One upload, made by BlobStore::OpenWriter. What has been stored in whole chunks stays when the writer goes away
// without Commit() and is where the next writer of the hash goes on. Must not outlive its BlobStore. Not thread-safe.
class BlobWriter {
 public:
  ~BlobWriter();
  BlobWriter(const BlobWriter&) = delete;
  BlobWriter& operator=(const BlobWriter&) = delete;

  const std::string& hash() const { return hash_; }
  uint64_t size_bytes() const { return record_.size_bytes; }
  // The position of the next byte to append.
  uint64_t offset() const { return offset_; }

  // Appends `bytes` at `offset`, which must be offset(). Errors: INVALID_ARGUMENT (another offset, or more bytes than
  // size_bytes()), ABORTED (a newer writer of this hash, or the upload was dropped), those of KvStore::Write.
  absl::Status Append(uint64_t offset, std::string_view bytes);

  // Makes the blob visible, durably. Errors: FAILED_PRECONDITION (bytes are missing; the upload can go on), DATA_LOSS
  // (the bytes do not have the hash; the upload is dropped), ABORTED as above. Committing a blob that somebody else
  // made visible meanwhile is OK. Nothing may be called after an OK or a DATA_LOSS.
  absl::Status Commit();

 private:
  friend class BlobStore;
  BlobWriter(BlobStore* store, std::string_view hash, const BlobStore::BlobRecord& record)
      : store_(store), hash_(hash), record_(record) {}

  // Hashes the chunks that are stored and moves to their end.
  absl::Status Resume();
  absl::Status CheckCurrent() const;

  BlobStore* const store_;
  const std::string hash_;
  const BlobStore::BlobRecord record_;
  uint64_t offset_ = 0;
  std::string chunk_;  // not yet stored: fewer than chunk_bytes, except at the end of the blob
  Sha256 sha256_;
  std::optional<bool> hash_is_right_;  // once Commit() has looked; it may be called again after a failed write
  bool finished_ = false;
};

// One download, made by BlobStore::OpenReader. Must not outlive its BlobStore. Not thread-safe.
class BlobReader {
 public:
  uint64_t size_bytes() const { return record_.size_bytes; }
  // The position of the next byte to come.
  uint64_t offset() const { return offset_; }

  // The next bytes, at most a chunk; empty at the end of the blob. If reading began at 0, the hash of the whole is
  // verified before the last bytes are given out. Errors: DATA_LOSS (a chunk is missing or damaged, or the hash is
  // wrong), NOT_FOUND (the blob has been deleted meanwhile).
  absl::StatusOr<std::string> Next();

 private:
  friend class BlobStore;
  BlobReader(const BlobStore* store, std::string_view hash, const BlobStore::BlobRecord& record, uint64_t offset);

  const BlobStore* const store_;
  const std::string hash_;
  const BlobStore::BlobRecord record_;
  uint64_t offset_;
  std::optional<Sha256> sha256_;  // if reading began at 0
};

}  // namespace ursa

#endif  // URSA_STORAGE_BLOB_STREAM_H_
