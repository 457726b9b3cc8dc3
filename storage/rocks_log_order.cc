#include "storage/rocks_log_order.h"

#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"

namespace ursa {
namespace {

using rocksdb::FileOptions;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

// The log that is being written, for whoever begins the next one. Both its file and the file system know it.
class CurrentLog {
 public:
  explicit CurrentLog(FSWritableFile* file) : file_(file) {}

  void Closed() {
    absl::MutexLock lock(&mu_);
    file_ = nullptr;
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) {
    absl::MutexLock lock(&mu_);  // so that it is not closed meanwhile
    return file_ == nullptr ? IOStatus::OK() : file_->Sync(options, debug);
  }

 private:
  absl::Mutex mu_;
  FSWritableFile* file_ ABSL_GUARDED_BY(mu_);  // null when it is closed
};

class LogFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  LogFile(std::unique_ptr<FSWritableFile> file, std::shared_ptr<CurrentLog> log)
      : FSWritableFileOwnerWrapper(std::move(file)), log_(std::move(log)) {}
  ~LogFile() override { log_->Closed(); }

  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    log_->Closed();
    return target()->Close(options, debug);
  }

 private:
  const std::shared_ptr<CurrentLog> log_;
};

class LogOrderFileSystem : public rocksdb::FileSystemWrapper {
 public:
  explicit LogOrderFileSystem(const std::shared_ptr<rocksdb::FileSystem>& target) : FileSystemWrapper(target) {}

  static const char* kClassName() { return "UrsaLogOrderFileSystem"; }
  const char* Name() const override { return kClassName(); }

  IOStatus NewWritableFile(const std::string& path, const FileOptions& options, std::unique_ptr<FSWritableFile>* result,
                           IODebugContext* debug) override {
    if (!absl::EndsWith(path, ".log")) return target()->NewWritableFile(path, options, result, debug);
    std::shared_ptr<CurrentLog> last;
    {
      absl::MutexLock lock(&mu_);
      last = log_;
    }
    // All of it has left RocksDB's buffers: each write passes its records on before it returns, and none is under way
    // while logs change.
    if (last != nullptr) {
      IOStatus synced = last->Sync(options.io_options, debug);
      if (!synced.ok()) return synced;
    }
    IOStatus status = target()->NewWritableFile(path, options, result, debug);
    if (!status.ok()) return status;
    auto log = std::make_shared<CurrentLog>(result->get());
    *result = std::make_unique<LogFile>(std::move(*result), log);
    absl::MutexLock lock(&mu_);
    log_ = std::move(log);
    return status;
  }

 private:
  absl::Mutex mu_;
  std::shared_ptr<CurrentLog> log_ ABSL_GUARDED_BY(mu_);  // the newest; null before the first
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> NewLogOrderFileSystem(const std::shared_ptr<rocksdb::FileSystem>& target) {
  return std::make_shared<LogOrderFileSystem>(target);
}

}  // namespace ursa
