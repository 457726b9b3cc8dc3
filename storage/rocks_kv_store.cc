#include "storage/rocks_kv_store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/snapshot.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "storage/failpoints.h"
#include "storage/rocks_insert_hint.h"
#include "storage/rocks_log_order.h"

namespace ursa {
namespace {

// Under the data folder: tables of bulk loads until they are moved into the database.
constexpr char kLoadFolder[] = "loads";

absl::Status FromRocks(const rocksdb::Status& status, std::string_view subject) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat(absl::string_view(subject.data(), subject.size()), ": ", status.ToString());
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(text);
  if (status.IsCorruption()) return absl::DataLossError(text);
  if (status.IsInvalidArgument()) return absl::InvalidArgumentError(text);
  if (status.IsBusy() || status.IsTryAgain() || status.IsTimedOut()) return absl::UnavailableError(text);
  // RocksDB goes read-only after a failed background write and then reports the cause wrapped in text alone.
  if (absl::StrContains(text, "No space left on device")) return absl::ResourceExhaustedError(text);
  return absl::UnknownError(text);
}

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

class RocksIterator : public KvIterator {
 public:
  RocksIterator(rocksdb::DB* db, const rocksdb::Snapshot* snapshot, const KeyRange& range, bool fill_cache)
      : range_(range) {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot;
    lower_ = range_.begin;
    upper_ = range_.end;
    options.iterate_lower_bound = &lower_;
    if (!range_.end.empty()) options.iterate_upper_bound = &upper_;
    options.fill_cache = fill_cache;
    options.readahead_size = 0;  // grows by itself with the scan
    iterator_.reset(db->NewIterator(options));
    iterator_->Seek(lower_);
  }

  bool Valid() const override { return iterator_->Valid(); }
  void Next() override {
    URSA_CHECK(iterator_->Valid());
    iterator_->Next();
  }
  void Seek(std::string_view key) override {
    iterator_->Seek(key < range_.begin ? ToSlice(range_.begin) : ToSlice(key));
  }
  std::string_view key() const override { return iterator_->key().ToStringView(); }
  std::string_view value() const override { return iterator_->value().ToStringView(); }
  absl::Status status() const override { return FromRocks(iterator_->status(), "data folder: cannot read"); }

 private:
  const KeyRange range_;
  rocksdb::Slice lower_;  // must stay where they are while the iterator lives
  rocksdb::Slice upper_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

// Reads at `snapshot`, or the newest if it is null.
class RocksView : public KvReader {
 public:
  RocksView(rocksdb::DB* db, const rocksdb::Snapshot* snapshot) : db_(db), snapshot_(snapshot) {}

  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const override {
    std::string value;
    const rocksdb::Status status = db_->Get(Options(), ToSlice(key), &value);
    if (status.IsNotFound()) return std::nullopt;
    URSA_RETURN_IF_ERROR(FromRocks(status, "data folder: cannot read"));
    return std::optional<std::string>(std::move(value));
  }

  absl::StatusOr<std::vector<std::optional<std::string>>> MultiGet(
      const std::vector<std::string>& keys) const override {
    // RocksDB takes batches whole; a bound keeps the memory for pinned blocks small.
    constexpr size_t kBatch = 256;
    rocksdb::ReadOptions options = Options();
    std::optional<rocksdb::ManagedSnapshot> one_view;  // over several batches
    if (snapshot_ == nullptr && keys.size() > kBatch) options.snapshot = one_view.emplace(db_).snapshot();
    std::vector<std::optional<std::string>> values(keys.size());
    std::vector<rocksdb::Slice> slices(keys.begin(), keys.end());
    std::vector<rocksdb::PinnableSlice> found(std::min(kBatch, keys.size()));
    std::vector<rocksdb::Status> statuses(found.size());
    for (size_t begin = 0; begin < keys.size(); begin += kBatch) {
      const size_t count = std::min(kBatch, keys.size() - begin);
      db_->MultiGet(options, db_->DefaultColumnFamily(), count, &slices[begin], found.data(), statuses.data());
      for (size_t i = 0; i < count; ++i) {
        if (statuses[i].ok()) {
          values[begin + i] = found[i].ToString();
        } else if (!statuses[i].IsNotFound()) {
          return FromRocks(statuses[i], "data folder: cannot read");
        }
        found[i].Reset();
      }
    }
    return values;
  }

  std::unique_ptr<KvIterator> NewIterator(const KeyRange& range) const override {
    return std::make_unique<RocksIterator>(db_, snapshot_, range, /*fill_cache=*/true);
  }
  std::unique_ptr<KvIterator> NewScan(const KeyRange& range) const override {
    return std::make_unique<RocksIterator>(db_, snapshot_, range, /*fill_cache=*/false);
  }

  absl::StatusOr<std::optional<std::string>> LastKey(const KeyRange& range) const override {
    const std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator(Options()));
    if (range.end.empty()) {
      iterator->SeekToLast();
    } else {
      iterator->SeekForPrev(ToSlice(range.end));
      if (iterator->Valid() && iterator->key() == ToSlice(range.end)) iterator->Prev();
    }
    URSA_RETURN_IF_ERROR(FromRocks(iterator->status(), "data folder: cannot read"));
    if (!iterator->Valid() || iterator->key().ToStringView() < range.begin) return std::nullopt;
    return std::optional<std::string>(iterator->key().ToString());
  }

 private:
  rocksdb::ReadOptions Options() const {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    return options;
  }

  rocksdb::DB* const db_;
  const rocksdb::Snapshot* const snapshot_;
};

class RocksSnapshot final : public RocksView {
 public:
  explicit RocksSnapshot(rocksdb::DB* db) : RocksSnapshot(db, db->GetSnapshot()) {}
  ~RocksSnapshot() override { db_->ReleaseSnapshot(snapshot_); }

 private:
  RocksSnapshot(rocksdb::DB* db, const rocksdb::Snapshot* snapshot)
      : RocksView(db, snapshot), db_(db), snapshot_(snapshot) {}

  rocksdb::DB* const db_;
  const rocksdb::Snapshot* const snapshot_;
};

// Tables written beside the database and moved in at Commit(). A new table begins when one is full, and when the first
// byte of the key changes: keys of one prefix that are new as a whole (the chunks of new blobs) then form a table that
// overlaps nothing and goes to the lowest level at once, never to be compacted.
class RocksLoad : public SortedLoad {
 public:
  RocksLoad(rocksdb::DB* db, const rocksdb::Options& options, std::string path_stem, uint64_t file_bytes)
      : db_(db), options_(options), path_stem_(std::move(path_stem)), file_bytes_(file_bytes) {
    options_.compression = rocksdb::kNoCompression;                        // bulk bytes are pictures and weights
    options_.bottommost_compression = rocksdb::kDisableCompressionOption;  // or it would win
  }

  ~RocksLoad() override {
    writer_.reset();
    for (const std::string& path : paths_) {
      std::error_code ignored;  // gone already if it was moved in; what stays is removed at the next opening
      std::filesystem::remove(path, ignored);
    }
  }

  absl::Status Add(std::string_view key, std::string_view value) override {
    if (key.empty() || (!last_key_.empty() && key <= last_key_)) {
      return absl::InvalidArgumentError("sorted load: keys must be given in strictly ascending order");
    }
    if (writer_ != nullptr && (key[0] != last_key_[0] || writer_->FileSize() >= file_bytes_)) {
      URSA_RETURN_IF_ERROR(FinishFile());
    }
    if (writer_ == nullptr) {
      writer_ = std::make_unique<rocksdb::SstFileWriter>(rocksdb::EnvOptions(), options_);
      paths_.push_back(absl::StrCat(path_stem_, "_", paths_.size(), ".sst"));
      URSA_RETURN_IF_ERROR(FromRocks(writer_->Open(paths_.back()), "sorted load: cannot create a table"));
    }
    last_key_.assign(key);
    return FromRocks(writer_->Put(ToSlice(key), ToSlice(value)), "sorted load: cannot write");
  }

  absl::Status Commit() override {
    URSA_CHECK(!committed_) << "a load may be committed once";
    committed_ = true;
    if (writer_ != nullptr) URSA_RETURN_IF_ERROR(FinishFile());
    if (paths_.empty()) return absl::OkStatus();
    URSA_RETURN_IF_ERROR(failpoints::load_before_ingest.Pass());
    rocksdb::IngestExternalFileOptions options;
    options.move_files = true;
    options.write_global_seqno = false;  // would write into the middle of each file, and sync it once more
    URSA_RETURN_IF_ERROR(
        FromRocks(db_->IngestExternalFile(paths_, options), "sorted load: cannot move tables into the data folder"));
    failpoints::load_ingested.Pass();
    return absl::OkStatus();
  }

 private:
  absl::Status FinishFile() {
    const rocksdb::Status status = writer_->Finish();  // syncs the file
    writer_.reset();
    URSA_RETURN_IF_ERROR(FromRocks(status, "sorted load: cannot write"));
    failpoints::load_table_finished.Pass();
    return absl::OkStatus();
  }

  rocksdb::DB* const db_;
  rocksdb::Options options_;
  const std::string path_stem_;
  const uint64_t file_bytes_;
  std::unique_ptr<rocksdb::SstFileWriter> writer_;
  std::vector<std::string> paths_;
  std::string last_key_;
  bool committed_ = false;
};

class RocksStore : public KvStore {
 public:
  // `env` is that of `rocks_options`.
  RocksStore(std::unique_ptr<rocksdb::Env> env, std::unique_ptr<rocksdb::DB> db, const rocksdb::Options& rocks_options,
             std::string folder, const RocksKvStore::Options& options)
      : env_(std::move(env)),
        db_(std::move(db)),
        view_(db_.get(), /*snapshot=*/nullptr),
        rocks_options_(rocks_options),
        folder_(std::move(folder)),
        load_file_bytes_(options.load_file_bytes) {}

  ~RocksStore() override {
    const rocksdb::Status status = db_->Close();
    if (!status.ok()) URSA_LOG(ERROR) << "folder=" << folder_ << " close failed: " << status.ToString();
  }

  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const override { return view_.Get(key); }
  absl::StatusOr<std::vector<std::optional<std::string>>> MultiGet(
      const std::vector<std::string>& keys) const override {
    return view_.MultiGet(keys);
  }
  std::unique_ptr<KvIterator> NewIterator(const KeyRange& range) const override { return view_.NewIterator(range); }
  std::unique_ptr<KvIterator> NewScan(const KeyRange& range) const override { return view_.NewScan(range); }
  absl::StatusOr<std::optional<std::string>> LastKey(const KeyRange& range) const override {
    return view_.LastKey(range);
  }

  absl::Status Write(const WriteBatch& batch, Durability durability) override {
    rocksdb::WriteBatch rocks_batch(batch.num_bytes() + 16 * batch.operations().size());
    for (const WriteBatch::Operation& operation : batch.operations()) {
      URSA_RETURN_IF_ERROR(FromRocks(AddTo(&rocks_batch, operation), "data folder: cannot write"));
    }
    rocksdb::WriteOptions options;
    options.sync = durability == Durability::kSynced;
    URSA_RETURN_IF_ERROR(
        (options.sync ? failpoints::kv_before_synced_write : failpoints::kv_before_buffered_write).Pass());
    URSA_RETURN_IF_ERROR(FromRocks(db_->Write(options, &rocks_batch), "data folder: cannot write"));
    (options.sync ? failpoints::kv_after_synced_write : failpoints::kv_after_buffered_write).Pass();
    return absl::OkStatus();
  }

  std::unique_ptr<SortedLoad> NewSortedLoad() override {
    return std::make_unique<RocksLoad>(db_.get(), rocks_options_,
                                       absl::StrCat(folder_, "/", kLoadFolder, "/", ++num_loads_), load_file_bytes_);
  }

  std::unique_ptr<KvReader> Snapshot() const override { return std::make_unique<RocksSnapshot>(db_.get()); }

 private:
  rocksdb::Status AddTo(rocksdb::WriteBatch* batch, const WriteBatch::Operation& operation) const {
    switch (operation.kind) {
      case WriteBatch::Kind::kPut:
        URSA_CHECK(!operation.first.empty()) << "empty key";
        return batch->Put(operation.first, operation.second);
      case WriteBatch::Kind::kDelete:
        URSA_CHECK(!operation.first.empty()) << "empty key";
        return batch->Delete(operation.first);
      case WriteBatch::Kind::kDeleteRange:
        if (rocks_options_.memtable_insert_with_hint_prefix_extractor->InDomain(operation.first)) {
          return rocksdb::Status::InvalidArgument("a range of records or events cannot be deleted",
                                                  "see storage/rocks_insert_hint.h");
        }
        return batch->DeleteRange(operation.first, operation.second);
    }
    URSA_CHECK(false) << "unknown kind of operation";
    return rocksdb::Status::OK();
  }

  const std::unique_ptr<rocksdb::Env> env_;
  const std::unique_ptr<rocksdb::DB> db_;
  const RocksView view_;
  const rocksdb::Options rocks_options_;
  const std::string folder_;
  const uint64_t load_file_bytes_;
  std::atomic<int64_t> num_loads_{0};
};

rocksdb::Options MakeRocksOptions(const RocksKvStore::Options& options, rocksdb::Env* env) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.cache_index_and_filter_blocks = true;  // so that the cache's size bounds all memory for reading
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.format_version = 5;
  table.block_size = 16 << 10;

  rocksdb::Options rocks;
  rocks.env = env;
  rocks.create_if_missing = true;
  rocks.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  rocks.compression = rocksdb::kLZ4Compression;
  rocks.bottommost_compression = rocksdb::kZSTD;
  rocks.write_buffer_size = options.write_buffer_bytes;
  rocks.max_write_buffer_number = 3;
  rocks.memtable_insert_with_hint_prefix_extractor = NewInsertHintGroups();
  rocks.max_background_jobs = options.num_background_threads;
  rocks.max_open_files = options.max_open_files;
  rocks.level_compaction_dynamic_level_bytes = true;
  rocks.bytes_per_sync = 1 << 20;  // spreads the disk's work; durability does not rest on it
  rocks.wal_bytes_per_sync = 1 << 20;
  // Large values are written once by the flush and then only pointed to.
  rocks.enable_blob_files = true;
  rocks.min_blob_size = options.large_value_bytes;
  rocks.enable_blob_garbage_collection = true;
  // A torn last record is what a kill leaves. Damage anywhere else must be reported, never skipped.
  rocks.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  rocks.keep_log_file_num = 4;
  rocks.max_log_file_size = 16 << 20;
  rocks.stats_dump_period_sec = 0;
  return rocks;
}

// Makes `path` and what is missing above it; `path` itself for its owner only.
absl::Status MakeFolder(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  if (error) return ErrnoStatus(error.value(), absl::StrCat("data folder ", path, ": cannot make"));
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, absl::StrCat("data folder ", path, ": cannot make"));
  }
  return absl::OkStatus();
}

// What an interrupted load left: never part of the data. Called with the lock of the database held.
absl::Status EmptyLoadFolder(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kLoadFolder);
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (!error) std::filesystem::create_directory(path, error);
  if (error) return ErrnoStatus(error.value(), absl::StrCat("data folder ", path, ": cannot empty"));
  return absl::OkStatus();
}

}  // namespace

absl::Status RocksKvStore::Options::Validate() const {
  if (write_buffer_bytes < (1 << 16) || load_file_bytes < (1 << 16) || num_background_threads < 1 ||
      max_open_files < 16 || large_value_bytes == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "store options: must be write_buffer_bytes >= 65536, load_file_bytes >= 65536, num_background_threads >= 1, "
        "max_open_files >= 16, large_value_bytes >= 1; are ",
        write_buffer_bytes, ", ", load_file_bytes, ", ", num_background_threads, ", ", max_open_files, ", ",
        large_value_bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<KvStore>> RocksKvStore::Open(const std::string& folder, const Options& options) {
  URSA_RETURN_IF_ERROR(options.Validate());
  URSA_RETURN_IF_ERROR(MakeFolder(folder));
  rocksdb::Env* const disk = options.env != nullptr ? options.env : rocksdb::Env::Default();
  std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(NewLogOrderFileSystem(disk->GetFileSystem()));
  const rocksdb::Options rocks_options = MakeRocksOptions(options, env.get());
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(rocks_options, folder, &db);
  if (!status.ok()) {
    const std::string text = status.ToString();
    // RocksDB says so in words only: "While lock file: PATH/LOCK: Resource temporarily unavailable" for another
    // process, "lock hold by current process" for this one.
    if (status.IsIOError() && (absl::StrContains(text, "While lock file") || absl::StrContains(text, "lock hold by"))) {
      return absl::FailedPreconditionError(
          absl::StrCat("data folder ", folder, ": cannot open, it is in use by another coordinator"));
    }
    if (absl::StrContains(text, "Permission denied")) {
      return absl::PermissionDeniedError(absl::StrCat("data folder ", folder, ": cannot open: ", text));
    }
    return FromRocks(status, absl::StrCat("data folder ", folder, ": cannot open"));
  }
  std::unique_ptr<rocksdb::DB> owned(db);
  failpoints::kv_opened.Pass();
  URSA_RETURN_IF_ERROR(EmptyLoadFolder(folder));
  return std::unique_ptr<KvStore>(
      std::make_unique<RocksStore>(std::move(env), std::move(owned), rocks_options, folder, options));
}

}  // namespace ursa
