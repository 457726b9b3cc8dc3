#include "storage/blob_store.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "storage/blob_stream.h"
#include "storage/coding.h"
#include "storage/failpoints.h"
#include "storage/keys.h"

namespace ursa {
namespace {

// Up to this many chunks are deleted one by one: a range delete costs every later reader a little until compaction.
constexpr uint64_t kPointDeletesMax = 64;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

absl::Status CheckHash(std::string_view hash) {
  if (IsDigestHex(hash)) return absl::OkStatus();
  // The text is a stranger's: its length is enough to find the mistake.
  return absl::InvalidArgumentError(
      absl::StrCat("blob hash: must be ", kDigestHexLength, " lower-case hex digits, has ", hash.size(), " bytes"));
}

absl::Status NotFound(std::string_view hash) {
  return absl::NotFoundError(absl::StrCat("blob ", Absl(hash), ": does not exist"));
}

}  // namespace

absl::Status BlobStore::Options::Validate() const {
  if (chunk_bytes < 1024 || chunk_bytes > (64u << 20)) {
    return absl::InvalidArgumentError(
        absl::StrCat("blob store: chunk_bytes must be 1024 to 67108864, is ", chunk_bytes));
  }
  if (max_blob_bytes / chunk_bytes >= std::numeric_limits<uint32_t>::max() || max_blob_bytes == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("blob store: max_blob_bytes must be 1 to 2^32 - 1 chunks of chunk_bytes, is ", max_blob_bytes));
  }
  if (max_pending_uploads < 1 || max_hashes_per_call < 1) {
    return absl::InvalidArgumentError("blob store: max_pending_uploads and max_hashes_per_call must be at least 1");
  }
  return absl::OkStatus();
}

// record := format:u8 size:u64 place:u64 chunk_bytes:u32 time:u64 (microseconds since 1970)
std::string BlobStore::EncodeRecord(const BlobRecord& record) {
  std::string value;
  AppendU8(&value, kValueFormat);
  AppendU64(&value, record.size_bytes);
  AppendU64(&value, record.place);
  AppendU32(&value, record.chunk_bytes);
  AppendU64(&value, static_cast<uint64_t>(absl::ToUnixMicros(record.time)));
  return value;
}

absl::StatusOr<BlobStore::BlobRecord> BlobStore::DecodeRecord(std::string_view hash, std::string_view value) {
  Decoder decoder(value);
  const uint8_t format = decoder.U8();
  BlobRecord record;
  record.size_bytes = decoder.U64();
  record.place = decoder.U64();
  record.chunk_bytes = decoder.U32();
  record.time = absl::FromUnixMicros(static_cast<int64_t>(decoder.U64()));
  if (format != kValueFormat || !decoder.Done() || record.chunk_bytes == 0) {
    return absl::DataLossError(absl::StrCat("blob ", Absl(hash), ": its record is damaged"));
  }
  return record;
}

absl::StatusOr<std::unique_ptr<BlobStore>> BlobStore::Open(KvStore* store, Clock* clock, const Options& options) {
  URSA_RETURN_IF_ERROR(options.Validate());
  // Places are given out in growing order, so the next one follows the last that is in use: the last with a chunk, or
  // an upload without one. (An empty blob has no chunk, and none to mix up with another's.)
  uint64_t next_place = 1;
  URSA_ASSIGN_OR_RETURN(const std::optional<std::string> last_chunk,
                        store->LastKey(PrefixRange(PrefixKey(KeyPrefix::kChunk))));
  if (last_chunk.has_value()) {
    const std::optional<ChunkName> name = ParseChunkKey(*last_chunk);
    if (!name.has_value()) return absl::DataLossError("blob store: the key of a chunk is damaged");
    next_place = name->place + 1;
  }
  int64_t num_uploads = 0;
  const auto upload = store->NewIterator(PrefixRange(PrefixKey(KeyPrefix::kUpload)));
  for (; upload->Valid(); upload->Next()) {
    const std::optional<std::string> hash = ParseHashKey(KeyPrefix::kUpload, upload->key());
    if (!hash.has_value()) return absl::DataLossError("blob store: the key of an upload is damaged");
    URSA_ASSIGN_OR_RETURN(const BlobRecord record, DecodeRecord(*hash, upload->value()));
    next_place = std::max(next_place, record.place + 1);
    ++num_uploads;
  }
  URSA_RETURN_IF_ERROR(upload->status());
  return std::unique_ptr<BlobStore>(new BlobStore(store, clock, options, next_place, num_uploads));
}

absl::StatusOr<std::optional<BlobStore::BlobRecord>> BlobStore::ReadRecord(std::string key,
                                                                           std::string_view hash) const {
  URSA_ASSIGN_OR_RETURN(const std::optional<std::string> value, store_->Get(key));
  if (!value.has_value()) return std::nullopt;
  URSA_ASSIGN_OR_RETURN(const BlobRecord record, DecodeRecord(hash, *value));
  return std::optional<BlobRecord>(record);
}

absl::StatusOr<BlobStore::BlobRecord> BlobStore::ReadVisible(std::string_view hash) const {
  URSA_RETURN_IF_ERROR(CheckHash(hash));
  URSA_ASSIGN_OR_RETURN(const std::optional<BlobRecord> record, ReadRecord(BlobKey(hash), hash));
  if (!record.has_value()) return NotFound(hash);
  return *record;
}

absl::Status BlobStore::CheckHashes(const std::vector<std::string>& hashes) const {
  if (static_cast<int64_t>(hashes.size()) > options_.max_hashes_per_call) {
    return absl::ResourceExhaustedError(
        absl::StrCat("blob store: at most ", options_.max_hashes_per_call, " hashes a call, got ", hashes.size()));
  }
  for (const std::string& hash : hashes) URSA_RETURN_IF_ERROR(CheckHash(hash));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> BlobStore::FindMissing(const std::vector<std::string>& hashes) const {
  URSA_RETURN_IF_ERROR(CheckHashes(hashes));
  const std::set<std::string> sorted(hashes.begin(), hashes.end());
  std::vector<std::string> keys;
  keys.reserve(sorted.size());
  for (const std::string& hash : sorted) keys.push_back(BlobKey(hash));
  URSA_ASSIGN_OR_RETURN(const auto records, store_->MultiGet(keys));
  std::set<std::string> missing;
  size_t i = 0;
  for (const std::string& hash : sorted) {
    if (!records[i++].has_value()) missing.insert(missing.end(), hash);
  }
  std::vector<std::string> in_order;
  for (const std::string& hash : hashes) {
    if (missing.erase(hash) > 0) in_order.push_back(hash);
  }
  return in_order;
}

absl::StatusOr<BlobInfo> BlobStore::Stat(std::string_view hash) const {
  URSA_ASSIGN_OR_RETURN(const BlobRecord record, ReadVisible(hash));
  return BlobInfo{std::string(hash), record.size_bytes, record.time};
}

absl::StatusOr<std::vector<BlobInfo>> BlobStore::List(std::string_view after_hash, int64_t limit) const {
  URSA_CHECK(limit > 0);
  KeyRange range = PrefixRange(PrefixKey(KeyPrefix::kBlob));
  if (!after_hash.empty()) {
    URSA_RETURN_IF_ERROR(CheckHash(after_hash));
    range.begin = BlobKey(after_hash) + '\0';  // the next key in order
  }
  std::vector<BlobInfo> blobs;
  const auto iterator = store_->NewIterator(range);
  for (; iterator->Valid() && static_cast<int64_t>(blobs.size()) < limit; iterator->Next()) {
    const std::optional<std::string> hash = ParseHashKey(KeyPrefix::kBlob, iterator->key());
    if (!hash.has_value()) return absl::DataLossError("blob store: the key of a blob is damaged");
    URSA_ASSIGN_OR_RETURN(const BlobRecord record, DecodeRecord(*hash, iterator->value()));
    blobs.push_back({*hash, record.size_bytes, record.time});
  }
  URSA_RETURN_IF_ERROR(iterator->status());
  return blobs;
}

absl::StatusOr<uint64_t> BlobStore::ResumeOffset(std::string_view hash) const {
  URSA_RETURN_IF_ERROR(CheckHash(hash));
  const HashClaims::Claim claim(&claims_, {std::string(hash)});
  URSA_ASSIGN_OR_RETURN(const std::optional<BlobRecord> record, ReadRecord(UploadKey(hash), hash));
  if (!record.has_value()) return 0;
  // Chunks are written in order by one writer, so the last one tells.
  URSA_ASSIGN_OR_RETURN(const std::optional<std::string> last, store_->LastKey(ChunkRange(record->place)));
  if (!last.has_value()) return 0;
  const std::optional<ChunkName> name = ParseChunkKey(*last);
  if (!name.has_value()) return absl::DataLossError("blob store: the key of a chunk is damaged");
  return (uint64_t{name->chunk} + 1) * record->chunk_bytes;
}

uint64_t BlobStore::TakePlaces(uint64_t num_places) {
  absl::MutexLock lock(&mu_);
  const uint64_t first = next_place_;
  next_place_ += num_places;
  return first;
}

void BlobStore::DeleteChunks(const BlobRecord& record, WriteBatch* batch) {
  if (record.NumChunks() > kPointDeletesMax) {
    const KeyRange range = ChunkRange(record.place);
    batch->DeleteRange(range.begin, range.end);
    return;
  }
  for (uint32_t i = 0; i < record.NumChunks(); ++i) batch->Delete(ChunkKey(record.place, i));
}

absl::Status BlobStore::DropUpload(std::string_view hash, const BlobRecord& record, WriteBatch batch) {
  batch.Delete(UploadKey(hash));
  DeleteChunks(record, &batch);
  URSA_RETURN_IF_ERROR(store_->Write(batch, Durability::kSynced));
  failpoints::blob_upload_dropped.Pass();
  absl::MutexLock lock(&mu_);
  --num_uploads_;
  return absl::OkStatus();
}

absl::StatusOr<BlobStore::BlobRecord> BlobStore::StartUpload(std::string_view hash, uint64_t size_bytes) {
  {
    absl::MutexLock lock(&mu_);
    if (num_uploads_ >= options_.max_pending_uploads) {
      return absl::ResourceExhaustedError(absl::StrCat("blob ", Absl(hash), ": cannot upload, limit is ",
                                                       options_.max_pending_uploads, " unfinished uploads, there are ",
                                                       num_uploads_));
    }
    ++num_uploads_;  // taken before the write, so that two threads cannot both get the last one
  }
  const BlobRecord record{size_bytes, TakePlaces(1), options_.chunk_bytes, clock_->Now()};
  WriteBatch batch;
  batch.Put(UploadKey(hash), EncodeRecord(record));
  const absl::Status status = store_->Write(batch, Durability::kBuffered);
  if (!status.ok()) {
    absl::MutexLock lock(&mu_);
    --num_uploads_;
    return status;
  }
  failpoints::blob_upload_started.Pass();
  return record;
}

absl::StatusOr<std::unique_ptr<BlobWriter>> BlobStore::OpenWriter(std::string_view hash, uint64_t size_bytes) {
  URSA_RETURN_IF_ERROR(CheckHash(hash));
  if (size_bytes > options_.max_blob_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("blob ", Absl(hash), ": cannot upload, limit is ",
                                                     options_.max_blob_bytes, " bytes a blob, it has ", size_bytes));
  }
  const HashClaims::Claim claim(&claims_, {std::string(hash)});
  URSA_ASSIGN_OR_RETURN(const std::optional<BlobRecord> visible, ReadRecord(BlobKey(hash), hash));
  if (visible.has_value()) return absl::AlreadyExistsError(absl::StrCat("blob ", Absl(hash), ": is here already"));
  URSA_ASSIGN_OR_RETURN(std::optional<BlobRecord> record, ReadRecord(UploadKey(hash), hash));
  if (record.has_value() && record->size_bytes != size_bytes) {
    URSA_RETURN_IF_ERROR(DropUpload(hash, *record, WriteBatch()));
    record.reset();
  }
  if (record.has_value()) {
    record->time = clock_->Now();
    WriteBatch batch;
    batch.Put(UploadKey(hash), EncodeRecord(*record));
    URSA_RETURN_IF_ERROR(store_->Write(batch, Durability::kBuffered));
  } else {
    URSA_ASSIGN_OR_RETURN(record, StartUpload(hash, size_bytes));
  }
  std::unique_ptr<BlobWriter> writer(new BlobWriter(this, hash, *record));
  {
    absl::MutexLock lock(&mu_);
    writers_[std::string(hash)] = writer.get();
  }
  URSA_RETURN_IF_ERROR(writer->Resume());
  return writer;
}

absl::StatusOr<std::unique_ptr<BlobReader>> BlobStore::OpenReader(std::string_view hash, uint64_t offset) const {
  URSA_ASSIGN_OR_RETURN(const BlobRecord record, ReadVisible(hash));
  if (offset > record.size_bytes) {
    return absl::OutOfRangeError(
        absl::StrCat("blob ", Absl(hash), ": cannot read from byte ", offset, ", it has ", record.size_bytes));
  }
  return std::unique_ptr<BlobReader>(new BlobReader(this, hash, record, offset));
}

absl::StatusOr<std::string> BlobStore::Read(std::string_view hash, uint64_t max_bytes) const {
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<BlobReader> reader, OpenReader(hash));
  if (reader->size_bytes() > max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("blob ", Absl(hash), ": cannot read it whole, limit is ",
                                                     max_bytes, " bytes, it has ", reader->size_bytes()));
  }
  std::string bytes;
  bytes.reserve(reader->size_bytes());
  while (bytes.size() < reader->size_bytes()) {
    URSA_ASSIGN_OR_RETURN(const std::string piece, reader->Next());
    bytes += piece;
  }
  return bytes;
}

absl::Status BlobStore::PutMany(const std::vector<Blob>& blobs) {
  uint64_t num_bytes = 0;
  for (const Blob& blob : blobs) {
    URSA_RETURN_IF_ERROR(CheckHash(blob.hash));
    num_bytes += blob.bytes.size();
  }
  if (num_bytes > options_.max_put_many_bytes || static_cast<int64_t>(blobs.size()) > options_.max_hashes_per_call) {
    return absl::ResourceExhaustedError(absl::StrCat("blob store: at most ", options_.max_put_many_bytes, " bytes in ",
                                                     options_.max_hashes_per_call, " blobs a call, got ", num_bytes,
                                                     " in ", blobs.size()));
  }
  std::map<std::string_view, std::string_view> by_hash;  // sorted, each once
  std::set<std::string> hashes;
  for (const Blob& blob : blobs) {
    if (Sha256Hex(blob.bytes) != blob.hash) {
      return absl::DataLossError(absl::StrCat("blob ", blob.hash, ": its bytes have another hash"));
    }
    by_hash[blob.hash] = blob.bytes;
    hashes.insert(blob.hash);
  }

  const HashClaims::Claim claim(&claims_, hashes);
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> missing,
                        FindMissing(std::vector<std::string>(hashes.begin(), hashes.end())));
  if (missing.empty()) return absl::OkStatus();  // and durable: who wrote them held the claim until they were
  uint64_t place = TakePlaces(missing.size());
  // Blob records sort before chunks ('b' < 'c'), and places grow with the hash: all keys come in order.
  static_assert(KeyPrefix::kBlob < KeyPrefix::kChunk);
  std::vector<std::pair<BlobRecord, std::string_view>> records;
  uint64_t new_bytes = 0;
  for (const std::string& hash : missing) {
    const std::string_view bytes = by_hash[hash];
    records.push_back({{bytes.size(), place++, options_.chunk_bytes, clock_->Now()}, bytes});
    new_bytes += bytes.size();
  }
  const auto add_all = [&](const auto& add) -> absl::Status {
    for (size_t i = 0; i < missing.size(); ++i) {
      URSA_RETURN_IF_ERROR(add(BlobKey(missing[i]), EncodeRecord(records[i].first)));
    }
    for (const auto& [record, bytes] : records) {
      for (uint32_t chunk = 0; chunk < record.NumChunks(); ++chunk) {
        URSA_RETURN_IF_ERROR(
            add(ChunkKey(record.place, chunk), bytes.substr(uint64_t{chunk} * record.chunk_bytes, record.chunk_bytes)));
      }
    }
    return absl::OkStatus();
  };
  if (new_bytes > options_.sorted_load_bytes) {
    const std::unique_ptr<SortedLoad> load = store_->NewSortedLoad();
    URSA_RETURN_IF_ERROR(
        add_all([&load](const std::string& key, std::string_view value) { return load->Add(key, value); }));
    failpoints::blob_load_written.Pass();
    return load->Commit();
  }
  WriteBatch batch;
  URSA_RETURN_IF_ERROR(add_all([&batch](const std::string& key, std::string_view value) {
    batch.Put(key, std::string(value));
    return absl::OkStatus();
  }));
  URSA_RETURN_IF_ERROR(failpoints::blob_before_put_many.Pass());
  URSA_RETURN_IF_ERROR(store_->Write(batch, Durability::kSynced));
  failpoints::blob_many_put.Pass();
  return absl::OkStatus();
}

absl::StatusOr<std::string> BlobStore::Put(std::string_view bytes) {
  Blob blob{Sha256Hex(bytes), std::string(bytes)};
  const std::string hash = blob.hash;
  std::vector<Blob> blobs;
  blobs.push_back(std::move(blob));
  URSA_RETURN_IF_ERROR(PutMany(blobs));
  return hash;
}

absl::StatusOr<uint64_t> BlobStore::Delete(const std::vector<std::string>& hashes) {
  URSA_RETURN_IF_ERROR(CheckHashes(hashes));
  const std::set<std::string> sorted(hashes.begin(), hashes.end());
  const HashClaims::Claim claim(&claims_, sorted);
  WriteBatch batch;
  uint64_t freed_bytes = 0;
  for (const std::string& hash : sorted) {
    URSA_ASSIGN_OR_RETURN(const std::optional<BlobRecord> record, ReadRecord(BlobKey(hash), hash));
    if (!record.has_value()) continue;
    batch.Delete(BlobKey(hash));
    DeleteChunks(*record, &batch);
    freed_bytes += record->size_bytes;
  }
  if (batch.empty()) return freed_bytes;
  URSA_RETURN_IF_ERROR(failpoints::blob_before_delete.Pass());
  URSA_RETURN_IF_ERROR(store_->Write(batch, Durability::kSynced));
  failpoints::blob_deleted.Pass();
  return freed_bytes;
}

absl::StatusOr<int64_t> BlobStore::DropUploadsOlderThan(absl::Time time) {
  std::vector<std::string> hashes;
  const auto iterator = store_->NewIterator(PrefixRange(PrefixKey(KeyPrefix::kUpload)));
  for (; iterator->Valid(); iterator->Next()) {
    const std::optional<std::string> hash = ParseHashKey(KeyPrefix::kUpload, iterator->key());
    if (!hash.has_value()) return absl::DataLossError("blob store: the key of an upload is damaged");
    hashes.push_back(*hash);
  }
  URSA_RETURN_IF_ERROR(iterator->status());
  int64_t num_dropped = 0;
  for (const std::string& hash : hashes) {
    const HashClaims::Claim claim(&claims_, {hash});
    // Read again: it may have been committed, dropped or opened meanwhile.
    URSA_ASSIGN_OR_RETURN(const std::optional<BlobRecord> record, ReadRecord(UploadKey(hash), hash));
    if (!record.has_value() || record->time >= time) continue;
    {
      absl::MutexLock lock(&mu_);
      writers_.erase(hash);
    }
    URSA_RETURN_IF_ERROR(DropUpload(hash, *record, WriteBatch()));
    ++num_dropped;
  }
  return num_dropped;
}

}  // namespace ursa
