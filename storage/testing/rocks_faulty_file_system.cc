#include "storage/testing/rocks_faulty_file_system.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

namespace fs = std::filesystem;

using rocksdb::FileOptions;
using rocksdb::FSDirectory;
using rocksdb::FSRandomAccessFile;
using rocksdb::FSSequentialFile;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

bool IsTable(const std::string& path) { return absl::EndsWith(path, ".sst") || absl::EndsWith(path, ".blob"); }

// One spelling for each folder and file: RocksDB, and who opened it, write "a//b" and "a/b/" as it comes.
std::string Plain(const std::string& path) {
  std::string plain = fs::path(path).lexically_normal().string();
  if (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  return plain;
}
std::string FolderOf(const std::string& path) { return fs::path(Plain(path)).parent_path().string(); }

}  // namespace

// What is written, what of it is durable, and what goes wrong next.
class RocksFaultyFileSystem::Disk {
 public:
  // One file's bytes, by whatever names.
  struct Content {
    uint64_t written_bytes = 0;
    uint64_t durable_bytes = 0;
  };

  Disk(uint64_t seed, const std::string& store_folder, const std::string& scratch_folder)
      : store_folder_(Plain(store_folder)), scratch_folder_(Plain(scratch_folder)), rng_(seed) {
    fs::create_directories(scratch_folder_);
  }

  void SetFaults(const Faults& faults) {
    absl::MutexLock lock(&mu_);
    faults_ = faults;
  }
  void CutPower(int64_t num_calls) {
    absl::MutexLock lock(&mu_);
    num_calls_left_ = num_calls;
  }
  bool is_power_cut() const {
    absl::MutexLock lock(&mu_);
    return is_power_cut_;
  }
  Counts counts() const {
    absl::MutexLock lock(&mu_);
    return counts_;
  }

  // Whether a call that writes may go on.
  IOStatus Write() {
    absl::MutexLock lock(&mu_);
    return WriteLocked();
  }
  IOStatus Read() {
    absl::MutexLock lock(&mu_);
    if (rng_.Uniform() >= faults_.read_error_rate) return IOStatus::OK();
    ++counts_.num_read_errors;
    return IOStatus::IOError("a planted read error");
  }

  // Of an append of `num_bytes`: how many are written, and the error if these are not all.
  IOStatus Append(const std::shared_ptr<Content>& content, size_t num_bytes, size_t* num_written) {
    absl::MutexLock lock(&mu_);
    *num_written = num_bytes;
    IOStatus status = WriteLocked();
    if (!status.ok()) {
      *num_written = rng_.Below(num_bytes + 1);
    } else if (faults_.free_bytes.has_value() && *faults_.free_bytes < num_bytes) {
      *num_written = *faults_.free_bytes;
      ++counts_.num_refused_when_full;
      status = IOStatus::NoSpace("the disk is full");
    }
    if (faults_.free_bytes.has_value()) *faults_.free_bytes -= std::min<uint64_t>(*faults_.free_bytes, *num_written);
    content->written_bytes += *num_written;
    return status;
  }
  void Synced(const std::shared_ptr<Content>& content, uint64_t num_bytes) {
    absl::MutexLock lock(&mu_);
    content->durable_bytes = std::max(content->durable_bytes, num_bytes);
  }
  uint64_t WrittenBytes(const std::shared_ptr<Content>& content) const {
    absl::MutexLock lock(&mu_);
    return content->written_bytes;
  }
  void Truncated(const std::shared_ptr<Content>& content, uint64_t size) {
    absl::MutexLock lock(&mu_);
    content->written_bytes = std::min(content->written_bytes, size);
    content->durable_bytes = std::min(content->durable_bytes, size);
  }

  // Turns over one bit of what was read, at the chance of such a file. The bytes are in the caller's buffer afterwards.
  void MayFlip(const std::string& path, Slice* result, char* buffer) {
    absl::MutexLock lock(&mu_);
    const double rate = IsTable(path) ? faults_.bit_flip_rate : faults_.log_bit_flip_rate;
    if (rate == 0 || result->empty() || faults_.bit_flips_max == 0 || rng_.Uniform() >= rate) return;
    ++counts_.num_bit_flips;
    --faults_.bit_flips_max;
    if (result->data() != buffer) std::memcpy(buffer, result->data(), result->size());
    buffer[rng_.Below(result->size())] ^= static_cast<char>(1 << rng_.Below(8));
    *result = Slice(buffer, result->size());
  }

  // Changes of names, told after they were made; `kept` is what KeepCopy gave before.
  std::shared_ptr<Content> Created(const std::string& path, const std::string& kept) {
    absl::MutexLock lock(&mu_);
    auto content = std::make_shared<Content>();
    AddChange({Plain(path), "", kept, ContentOf(path)});
    contents_[Plain(path)] = content;
    return content;
  }
  void Linked(const std::string& from, const std::string& to) {
    absl::MutexLock lock(&mu_);
    if (const auto content = ContentOf(from)) contents_[Plain(to)] = content;
    AddChange({Plain(to), "", "", nullptr});
  }
  void Renamed(const std::string& from, const std::string& to, const std::string& kept) {
    absl::MutexLock lock(&mu_);
    AddChange({Plain(to), Plain(from), kept, ContentOf(to)});
    const std::shared_ptr<Content> content = ContentOf(from);
    contents_.erase(Plain(from));
    contents_.erase(Plain(to));
    if (content != nullptr) contents_[Plain(to)] = content;
  }
  void Deleted(const std::string& path, const std::string& kept) {
    absl::MutexLock lock(&mu_);
    AddChange({Plain(path), "", kept, ContentOf(path)});
    contents_.erase(Plain(path));
  }
  void FolderSynced(const std::string& folder) {
    absl::MutexLock lock(&mu_);
    const auto found = changes_.find(Plain(folder));
    if (found == changes_.end()) return;
    for (const Change& change : found->second) Forget(change.kept);
    changes_.erase(found);
  }

  // Another name, out of the way, for what is about to lose its own; empty if nothing has that name.
  std::string KeepCopy(const std::string& path) {
    absl::MutexLock lock(&mu_);
    const std::string kept = absl::StrCat(scratch_folder_, "/", ++num_kept_);
    std::error_code error;
    fs::create_hard_link(path, kept, error);
    return error ? "" : kept;
  }

  absl::Status LoseUnsynced() {
    absl::MutexLock lock(&mu_);
    URSA_CHECK(is_power_cut_) << "there was no power failure";
    URSA_RETURN_IF_ERROR(survivors_);
    std::error_code error;
    fs::remove_all(store_folder_, error);
    if (!error) fs::rename(SurvivorsFolder(), store_folder_, error);
    if (error) return ErrnoStatus(error.value(), absl::StrCat("power failure: cannot replace ", store_folder_));
    contents_.clear();
    for (auto& [folder, changes] : changes_) {
      for (const Change& change : changes) Forget(change.kept);
    }
    changes_.clear();
    is_power_cut_ = false;
    return absl::OkStatus();
  }

 private:
  // One change of a name that is not durable yet, with what takes it back.
  struct Change {
    std::string path;                       // that names something else than before, or nothing any more
    std::string from;                       // what was renamed had this name; else empty
    std::string kept;                       // what `path` named before has this name now; empty: it named nothing
    std::shared_ptr<Content> kept_content;  // of that, if it is known
  };

  IOStatus WriteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (num_calls_left_ > 0 && --num_calls_left_ == 0) {
      is_power_cut_ = true;
      survivors_ = PutSurvivorsAside();
    }
    if (rng_.Uniform() >= faults_.write_error_rate) return IOStatus::OK();
    ++counts_.num_write_errors;
    return IOStatus::IOError("a planted write error");
  }

  std::string SurvivorsFolder() const { return scratch_folder_ + "/survivors"; }
  std::string SurvivorOf(const std::string& path) const {
    return absl::StrCat(SurvivorsFolder(), "/", fs::path(path).filename().string());
  }

  // Copies what is durable, and by chance some of what is not. Threads in the middle of a call have told what they do
  // before they do it, or will tell it when it is done: either is a moment at which the power may fail.
  absl::Status PutSurvivorsAside() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::error_code error;
    fs::remove_all(SurvivorsFolder(), error);
    if (!error) fs::create_directory(SurvivorsFolder(), error);
    for (fs::directory_iterator it(store_folder_, error), end; !error && it != end; it.increment(error)) {
      if (!it->is_regular_file()) continue;
      const auto content = contents_.find(it->path().string());
      URSA_RETURN_IF_ERROR(CopySurvivor(it->path().string(), it->path().string(),
                                        content == contents_.end() ? nullptr : content->second.get()));
    }
    std::vector<Change>& changes = changes_[store_folder_];
    for (size_t i = changes.size(), num_durable = rng_.Below(changes.size() + 1); i > num_durable && !error; --i) {
      const Change& change = changes[i - 1];
      ++counts_.num_undone_names;
      if (!change.from.empty()) {
        fs::rename(SurvivorOf(change.path), SurvivorOf(change.from), error);
      } else {
        fs::remove(SurvivorOf(change.path), error);
      }
      if (!change.kept.empty()) URSA_RETURN_IF_ERROR(CopySurvivor(change.kept, change.path, change.kept_content.get()));
    }
    return error ? ErrnoStatus(error.value(), "power failure: cannot put the survivors aside") : absl::OkStatus();
  }

  // What survives of the file `from`, which had the name `path`; all of it if nothing is known of its content.
  absl::Status CopySurvivor(const std::string& from, const std::string& path, const Content* content)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    absl::StatusOr<std::string> bytes = ReadFile(from);
    if (absl::IsNotFound(bytes.status())) return absl::OkStatus();  // it was just deleted
    URSA_RETURN_IF_ERROR(bytes.status());
    if (content != nullptr && content->durable_bytes < bytes->size()) {
      const uint64_t unsynced = bytes->size() - content->durable_bytes;
      const uint64_t lost = rng_.Below(3) == 0 ? unsynced : rng_.Below(unsynced + 1);
      bytes->resize(bytes->size() - lost);
      counts_.num_lost_bytes += static_cast<int64_t>(lost);
    }
    return WriteFileAtomically(SurvivorOf(path), *bytes);
  }

  std::shared_ptr<Content> ContentOf(const std::string& path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto found = contents_.find(Plain(path));
    return found == contents_.end() ? nullptr : found->second;
  }
  void AddChange(Change change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    changes_[FolderOf(change.path)].push_back(std::move(change));
  }
  void Forget(const std::string& kept) const {
    if (!kept.empty()) fs::remove(kept);
  }

  const std::string store_folder_;
  const std::string scratch_folder_;
  mutable absl::Mutex mu_;
  SeededRng rng_ ABSL_GUARDED_BY(mu_);
  Faults faults_ ABSL_GUARDED_BY(mu_);
  Counts counts_ ABSL_GUARDED_BY(mu_);
  int64_t num_calls_left_ ABSL_GUARDED_BY(mu_) = 0;  // until the power fails; 0: it does not
  bool is_power_cut_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status survivors_ ABSL_GUARDED_BY(mu_);  // whether they could be put aside
  int64_t num_kept_ ABSL_GUARDED_BY(mu_) = 0;
  // Of files written since the last power failure; all others are durable.
  std::map<std::string, std::shared_ptr<Content>> contents_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::vector<Change>> changes_ ABSL_GUARDED_BY(mu_);  // by folder, oldest first
};

class RocksFaultyFileSystem::FileSystem : public rocksdb::FileSystemWrapper {
 public:
  explicit FileSystem(Disk* disk) : FileSystemWrapper(rocksdb::FileSystem::Default()), disk_(*disk) {}

  static const char* kClassName() { return "UrsaFaultyFileSystem"; }
  const char* Name() const override { return kClassName(); }

  IOStatus NewWritableFile(const std::string& path, const FileOptions& options, std::unique_ptr<FSWritableFile>* result,
                           IODebugContext* debug) override {
    IOStatus status = disk_.Write();
    const std::string kept = status.ok() ? disk_.KeepCopy(path) : "";
    if (!kept.empty()) status = target()->DeleteFile(path, options.io_options, debug);  // or the copy would be emptied
    if (status.ok()) status = target()->NewWritableFile(path, options, result, debug);
    if (status.ok()) *result = std::make_unique<WritableFile>(&disk_, std::move(*result), disk_.Created(path, kept));
    return status;
  }
  // Never asked for by a store with our options; to go past the disk's book unseen would make tests lie.
  IOStatus ReopenWritableFile(const std::string&, const FileOptions&, std::unique_ptr<FSWritableFile>*,
                              IODebugContext*) override {
    return IOStatus::NotSupported("faulty file system: reopening");
  }
  IOStatus ReuseWritableFile(const std::string&, const std::string&, const FileOptions&,
                             std::unique_ptr<FSWritableFile>*, IODebugContext*) override {
    return IOStatus::NotSupported("faulty file system: reuse");
  }
  IOStatus NewRandomRWFile(const std::string&, const FileOptions&, std::unique_ptr<rocksdb::FSRandomRWFile>*,
                           IODebugContext*) override {
    return IOStatus::NotSupported("faulty file system: writing in place");
  }

  IOStatus NewSequentialFile(const std::string& path, const FileOptions& options,
                             std::unique_ptr<FSSequentialFile>* result, IODebugContext* debug) override {
    IOStatus status = disk_.Read();
    if (status.ok()) status = target()->NewSequentialFile(path, options, result, debug);
    if (status.ok()) *result = std::make_unique<SequentialFile>(&disk_, path, std::move(*result));
    return status;
  }
  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions& options,
                               std::unique_ptr<FSRandomAccessFile>* result, IODebugContext* debug) override {
    IOStatus status = disk_.Read();
    if (status.ok()) status = target()->NewRandomAccessFile(path, options, result, debug);
    if (status.ok()) *result = std::make_unique<RandomAccessFile>(&disk_, path, std::move(*result));
    return status;
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions& options, std::unique_ptr<FSDirectory>* result,
                        IODebugContext* debug) override {
    const IOStatus status = target()->NewDirectory(path, options, result, debug);
    if (status.ok()) *result = std::make_unique<Directory>(&disk_, path, std::move(*result));
    return status;
  }

  IOStatus DeleteFile(const std::string& path, const IOOptions& options, IODebugContext* debug) override {
    IOStatus status = disk_.Write();
    if (!status.ok()) return status;
    const std::string kept = disk_.KeepCopy(path);
    status = target()->DeleteFile(path, options, debug);
    if (status.ok()) disk_.Deleted(path, kept);
    return status;
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    IOStatus status = disk_.Write();
    if (!status.ok()) return status;
    const std::string kept = disk_.KeepCopy(to);
    status = target()->RenameFile(from, to, options, debug);
    if (status.ok()) disk_.Renamed(from, to, kept);
    return status;
  }
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions& options,
                    IODebugContext* debug) override {
    IOStatus status = disk_.Write();
    if (status.ok()) status = target()->LinkFile(from, to, options, debug);
    if (status.ok()) disk_.Linked(from, to);
    return status;
  }

 private:
  class WritableFile : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    WritableFile(Disk* disk, std::unique_ptr<FSWritableFile> file, std::shared_ptr<Disk::Content> content)
        : FSWritableFileOwnerWrapper(std::move(file)), disk_(*disk), content_(std::move(content)) {}

    IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
      size_t num_written = 0;
      const IOStatus status = disk_.Append(content_, data.size(), &num_written);
      if (num_written == 0 && !status.ok()) return status;
      const IOStatus real = target()->Append(Slice(data.data(), num_written), options, debug);
      return status.ok() ? real : status;
    }
    IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                    IODebugContext* debug) override {
      return Append(data, options, debug);
    }
    IOStatus PositionedAppend(const Slice&, uint64_t, const IOOptions&, IODebugContext*) override {
      return IOStatus::NotSupported("faulty file system: direct I/O");
    }
    IOStatus PositionedAppend(const Slice&, uint64_t, const IOOptions&, const rocksdb::DataVerificationInfo&,
                              IODebugContext*) override {
      return IOStatus::NotSupported("faulty file system: direct I/O");
    }
    IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
      IOStatus status = disk_.Write();
      if (status.ok()) status = target()->Truncate(size, options, debug);
      if (status.ok()) disk_.Truncated(content_, size);
      return status;
    }
    IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
      return SyncBy([&] { return target()->Sync(options, debug); });
    }
    IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
      return SyncBy([&] { return target()->Fsync(options, debug); });
    }

   private:
    template <typename RealSync>
    IOStatus SyncBy(const RealSync& sync) {
      IOStatus status = disk_.Write();
      const uint64_t num_bytes = disk_.WrittenBytes(content_);  // before it, or a later append would count as synced
      if (status.ok()) status = sync();
      if (status.ok()) disk_.Synced(content_, num_bytes);
      return status;
    }

    Disk& disk_;
    const std::shared_ptr<Disk::Content> content_;
  };

  class SequentialFile : public rocksdb::FSSequentialFileOwnerWrapper {
   public:
    SequentialFile(Disk* disk, std::string path, std::unique_ptr<FSSequentialFile> file)
        : FSSequentialFileOwnerWrapper(std::move(file)), disk_(*disk), path_(std::move(path)) {}

    IOStatus Read(size_t n, const IOOptions& options, Slice* result, char* scratch, IODebugContext* debug) override {
      IOStatus status = disk_.Read();
      if (status.ok()) status = target()->Read(n, options, result, scratch, debug);
      if (status.ok()) disk_.MayFlip(path_, result, scratch);
      return status;
    }

   private:
    Disk& disk_;
    const std::string path_;
  };

  class RandomAccessFile : public rocksdb::FSRandomAccessFileOwnerWrapper {
   public:
    RandomAccessFile(Disk* disk, std::string path, std::unique_ptr<FSRandomAccessFile> file)
        : FSRandomAccessFileOwnerWrapper(std::move(file)), disk_(*disk), path_(std::move(path)) {}

    IOStatus Read(uint64_t offset, size_t n, const IOOptions& options, Slice* result, char* scratch,
                  IODebugContext* debug) const override {
      IOStatus status = disk_.Read();
      if (status.ok()) status = target()->Read(offset, n, options, result, scratch, debug);
      if (status.ok()) disk_.MayFlip(path_, result, scratch);
      return status;
    }
    // Through Read() above, one by one.
    IOStatus MultiRead(rocksdb::FSReadRequest* requests, size_t num_requests, const IOOptions& options,
                       IODebugContext* debug) override {
      return FSRandomAccessFile::MultiRead(requests, num_requests, options, debug);
    }
    IOStatus ReadAsync(rocksdb::FSReadRequest& request, const IOOptions& options,
                       std::function<void(const rocksdb::FSReadRequest&, void*)> callback, void* callback_argument,
                       void** handle, rocksdb::IOHandleDeleter* deleter, IODebugContext* debug) override {
      return FSRandomAccessFile::ReadAsync(request, options, callback, callback_argument, handle, deleter, debug);
    }

   private:
    Disk& disk_;
    const std::string path_;
  };

  class Directory : public rocksdb::FSDirectoryWrapper {
   public:
    Directory(Disk* disk, std::string path, std::unique_ptr<FSDirectory> directory)
        : FSDirectoryWrapper(std::move(directory)), disk_(*disk), path_(std::move(path)) {}

    IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
      return SyncBy([&] { return FSDirectoryWrapper::Fsync(options, debug); });
    }
    IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                                 const rocksdb::DirFsyncOptions& how) override {
      return SyncBy([&] { return FSDirectoryWrapper::FsyncWithDirOptions(options, debug, how); });
    }

   private:
    template <typename RealSync>
    IOStatus SyncBy(const RealSync& sync) {
      IOStatus status = disk_.Write();
      if (status.ok()) status = sync();
      if (status.ok()) disk_.FolderSynced(path_);
      return status;
    }

    Disk& disk_;
    const std::string path_;
  };

  Disk& disk_;
};

RocksFaultyFileSystem::RocksFaultyFileSystem(uint64_t seed, const std::string& store_folder,
                                             const std::string& scratch_folder)
    : disk_(std::make_unique<Disk>(seed, store_folder, scratch_folder)),
      file_system_(std::make_shared<FileSystem>(disk_.get())),
      env_(rocksdb::NewCompositeEnv(file_system_)) {}

RocksFaultyFileSystem::~RocksFaultyFileSystem() = default;

rocksdb::Env* RocksFaultyFileSystem::env() { return env_.get(); }
void RocksFaultyFileSystem::SetFaults(const Faults& faults) { disk_->SetFaults(faults); }
void RocksFaultyFileSystem::CutPower(int64_t num_calls) { disk_->CutPower(num_calls); }
bool RocksFaultyFileSystem::is_power_cut() const { return disk_->is_power_cut(); }
absl::Status RocksFaultyFileSystem::LoseUnsynced() { return disk_->LoseUnsynced(); }
RocksFaultyFileSystem::Counts RocksFaultyFileSystem::counts() const { return disk_->counts(); }

}  // namespace ursa
