#include "storage/blob_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "storage/failpoints.h"
#include "storage/keys.h"

namespace ursa {

BlobWriter::~BlobWriter() {
  absl::MutexLock lock(&store_->mu_);
  const auto current = store_->writers_.find(hash_);
  if (current != store_->writers_.end() && current->second == this) store_->writers_.erase(current);
}

absl::Status BlobWriter::CheckCurrent() const {
  absl::MutexLock lock(&store_->mu_);
  const auto current = store_->writers_.find(hash_);
  if (current != store_->writers_.end() && current->second == this) return absl::OkStatus();
  return absl::AbortedError(
      absl::StrCat("blob ", hash_, ": this upload has been dropped, or taken over by a newer one"));
}

absl::Status BlobWriter::Resume() {
  for (uint32_t chunk = 0; chunk < record_.NumChunks(); ++chunk) {
    URSA_ASSIGN_OR_RETURN(const std::optional<std::string> bytes, store_->store_->Get(ChunkKey(record_.place, chunk)));
    if (!bytes.has_value()) break;
    sha256_.Update(*bytes);
    offset_ += bytes->size();
  }
  return absl::OkStatus();
}

absl::Status BlobWriter::Append(uint64_t offset, std::string_view bytes) {
  URSA_CHECK(!finished_) << "append after the end of the upload";
  if (offset != offset_) {
    return absl::InvalidArgumentError(
        absl::StrCat("blob ", hash_, ": cannot append at byte ", offset, ", the upload stands at ", offset_));
  }
  if (bytes.size() > record_.size_bytes - offset_) {
    return absl::InvalidArgumentError(absl::StrCat("blob ", hash_, ": cannot append ", bytes.size(), " bytes at byte ",
                                                   offset_, ", the blob was declared with ", record_.size_bytes));
  }
  while (!bytes.empty()) {
    const std::string_view taken = bytes.substr(0, record_.chunk_bytes - chunk_.size());
    const uint64_t end = offset_ + taken.size();
    // The last chunk, full or not, is written together with the record, by Commit().
    if (chunk_.size() + taken.size() == record_.chunk_bytes && end < record_.size_bytes) {
      std::string chunk = chunk_;
      chunk.append(taken);
      const HashClaims::Claim claim(&store_->claims_, {hash_});
      URSA_RETURN_IF_ERROR(CheckCurrent());
      WriteBatch batch;
      batch.Put(ChunkKey(record_.place, (end - 1) / record_.chunk_bytes), std::move(chunk));
      // Commit() syncs, and with it all that was written before.
      URSA_RETURN_IF_ERROR(store_->store_->Write(batch, Durability::kBuffered));
      failpoints::blob_chunk_written.Pass();
      chunk_.clear();
    } else {
      chunk_.append(taken);
    }
    sha256_.Update(taken);
    offset_ = end;
    bytes.remove_prefix(taken.size());
  }
  return absl::OkStatus();
}

absl::Status BlobWriter::Commit() {
  URSA_CHECK(!finished_) << "commit after the end of the upload";
  if (offset_ != record_.size_bytes) {
    return absl::FailedPreconditionError(
        absl::StrCat("blob ", hash_, ": cannot commit, ", offset_, " of ", record_.size_bytes, " bytes are here"));
  }
  const HashClaims::Claim claim(&store_->claims_, {hash_});
  URSA_RETURN_IF_ERROR(CheckCurrent());
  if (!hash_is_right_.has_value()) hash_is_right_ = sha256_.FinishHex() == hash_;
  URSA_ASSIGN_OR_RETURN(const auto visible, store_->ReadRecord(BlobKey(hash_), hash_));
  if (!*hash_is_right_ || visible.has_value()) {
    URSA_RETURN_IF_ERROR(store_->DropUpload(hash_, record_, WriteBatch()));
    finished_ = true;
    if (*hash_is_right_) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("blob ", hash_, ": the uploaded bytes have another hash"));
  }
  BlobStore::BlobRecord record = record_;
  record.time = store_->clock_->Now();
  WriteBatch batch;
  if (!chunk_.empty()) batch.Put(ChunkKey(record_.place, record_.NumChunks() - 1), chunk_);
  batch.Put(BlobKey(hash_), BlobStore::EncodeRecord(record));
  batch.Delete(UploadKey(hash_));
  URSA_RETURN_IF_ERROR(failpoints::blob_before_commit.Pass());
  URSA_RETURN_IF_ERROR(store_->store_->Write(batch, Durability::kSynced));
  failpoints::blob_committed.Pass();
  finished_ = true;
  absl::MutexLock lock(&store_->mu_);
  --store_->num_uploads_;
  return absl::OkStatus();
}

BlobReader::BlobReader(const BlobStore* store, std::string_view hash, const BlobStore::BlobRecord& record,
                       uint64_t offset)
    : store_(store), hash_(hash), record_(record), offset_(offset) {
  if (offset == 0) sha256_.emplace();
}

absl::StatusOr<std::string> BlobReader::Next() {
  if (offset_ == record_.size_bytes) return std::string();
  const uint32_t chunk = offset_ / record_.chunk_bytes;
  const uint64_t chunk_begin = uint64_t{chunk} * record_.chunk_bytes;
  URSA_ASSIGN_OR_RETURN(std::optional<std::string> bytes, store_->store_->Get(ChunkKey(record_.place, chunk)));
  if (!bytes.has_value()) {
    URSA_ASSIGN_OR_RETURN(const auto record, store_->ReadRecord(BlobKey(hash_), hash_));
    // The blob may even be back, elsewhere.
    if (!record.has_value() || record->place != record_.place) {
      return absl::NotFoundError(absl::StrCat("blob ", hash_, ": was deleted while it was read"));
    }
    return absl::DataLossError(absl::StrCat("blob ", hash_, ": chunk ", chunk, " is missing"));
  }
  if (bytes->size() != std::min<uint64_t>(record_.chunk_bytes, record_.size_bytes - chunk_begin)) {
    return absl::DataLossError(absl::StrCat("blob ", hash_, ": chunk ", chunk, " has ", bytes->size(), " bytes"));
  }
  bytes->erase(0, offset_ - chunk_begin);
  const uint64_t end = offset_ + bytes->size();
  if (sha256_.has_value()) {
    sha256_->Update(*bytes);
    if (end == record_.size_bytes && sha256_->FinishHex() != hash_) {
      return absl::DataLossError(absl::StrCat("blob ", hash_, ": the stored bytes have another hash"));
    }
  }
  offset_ = end;
  return *std::move(bytes);
}

}  // namespace ursa
