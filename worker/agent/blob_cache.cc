#include "worker/agent/blob_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/agent/failpoints.h"

namespace ursa {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kReserveBytes = int64_t{16}
                                  << 20;  // set aside at a time, so that the disk is not asked at each piece

absl::Status MakeFolder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  return error ? ErrnoStatus(error.value(), absl::StrCat("folder \"", path, "\": cannot create")) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlobCache>> BlobCache::Open(const std::string& dir, const Options& options) {
  std::unique_ptr<BlobCache> cache(new BlobCache(dir, options));
  URSA_RETURN_IF_ERROR(cache->Scan());
  return cache;
}

absl::Status BlobCache::Scan() {
  const std::string incoming = dir_ + "/incoming";
  std::error_code error;
  fs::remove_all(incoming, error);
  URSA_RETURN_IF_ERROR(MakeFolder(incoming));
  struct Found {
    fs::file_time_type time;
    std::string hash;
    int64_t size_bytes;
  };
  std::vector<Found> found;
  for (fs::recursive_directory_iterator it(dir_, error), end; it != end; it.increment(error)) {
    if (error) return ErrnoStatus(error.value(), absl::StrCat("cache \"", dir_, "\": cannot list"));
    const std::string name = it->path().filename();
    if (!it->is_regular_file(error) || !IsDigestHex(name) || it->path() != PathOf(name)) continue;
    found.push_back({it->last_write_time(error), name, static_cast<int64_t>(it->file_size(error))});
  }
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.time < b.time; });
  absl::MutexLock lock(&mu_);
  for (const Found& file : found) {
    Entry& entry = entries_[file.hash];
    entry.size_bytes = file.size_bytes;
    entry.use = uses_.insert(uses_.end(), file.hash);
    size_bytes_ += file.size_bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<BlobCache::Writer>> BlobCache::NewWriter() {
  std::string path = absl::StrCat(dir_, "/incoming/", RandomHex(16));
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("cache: cannot create \"", path, "\""));
  return std::unique_ptr<Writer>(new Writer(this, fd, std::move(path)));
}

BlobCache::Writer::~Writer() {
  if (fd_ >= 0) ::close(fd_);
  if (path_.empty()) return;  // committed
  ::unlink(path_.c_str());
  cache_->Unreserve(reserved_bytes_);
}

absl::Status BlobCache::Writer::Write(std::string_view piece) {
  const int64_t needed = size_bytes_ + static_cast<int64_t>(piece.size());
  if (needed > reserved_bytes_) {
    // Small blobs reserve what they take, large ones in steps.
    const int64_t step = size_bytes_ == 0 ? needed : std::max(needed - reserved_bytes_, kReserveBytes);
    URSA_RETURN_IF_ERROR(cache_->Reserve(step));
    reserved_bytes_ += step;
  }
  hash_.Update(piece);
  while (!piece.empty()) {
    const ssize_t put = ::write(fd_, piece.data(), piece.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return ErrnoStatus(errno, absl::StrCat("cache: cannot write \"", path_, "\""));
    piece.remove_prefix(put);
    size_bytes_ += put;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> BlobCache::Writer::Commit(const std::string& owner, const std::string& expected_hash) {
  const std::string hash = hash_.FinishHex();
  if (!expected_hash.empty() && hash != expected_hash)
    return absl::DataLossError(absl::StrCat("blob ", expected_hash, ": what came has the hash ", hash));
  if (::fchmod(fd_, 0444) != 0 || ::close(std::exchange(fd_, -1)) != 0)
    return ErrnoStatus(errno, absl::StrCat("cache: cannot finish \"", path_, "\""));
  URSA_RETURN_IF_ERROR(failpoints::cache_before_adopt.Pass());
  URSA_RETURN_IF_ERROR(cache_->Adopt(hash, owner, path_, size_bytes_, reserved_bytes_));
  failpoints::cache_adopted.Pass();
  path_.clear();
  return hash;
}

int64_t BlobCache::MissingOnDisk(int64_t bytes) const {
  if (!options_.free_disk_bytes) return 0;
  return std::max<int64_t>(0, bytes - options_.free_disk_bytes());
}

void BlobCache::EvictLocked(int64_t bytes) {
  for (auto use = uses_.begin(); bytes > 0 && use != uses_.end();) {
    const std::string hash = *use++;
    const Entry& entry = entries_[hash];
    if (!entry.owners.empty()) continue;
    bytes -= entry.size_bytes;
    // Under the lock, so that the same blob, coming anew, is not removed after its arrival.
    ::unlink(PathOf(hash).c_str());
    EraseLocked(hash);
  }
}

void BlobCache::LeaveRoom() {
  const int64_t missing = MissingOnDisk(options_.free_bytes_wanted);
  absl::MutexLock lock(&mu_);
  EvictLocked(missing);
}

absl::Status BlobCache::Reserve(int64_t bytes) {
  const int64_t missing = MissingOnDisk(bytes + options_.free_bytes_wanted);
  {
    absl::MutexLock lock(&mu_);
    EvictLocked(std::max(missing, size_bytes_ + bytes - options_.bytes_max));
    if (size_bytes_ + bytes > options_.bytes_max)
      return absl::ResourceExhaustedError(absl::StrCat("cache: cannot take ", bytes, " bytes more, ", size_bytes_,
                                                       " bytes are in use, the limit is ", options_.bytes_max));
    size_bytes_ += bytes;
  }
  if (missing == 0 || MissingOnDisk(bytes + options_.free_bytes_min) == 0) return absl::OkStatus();
  Unreserve(bytes);
  return absl::ResourceExhaustedError(absl::StrCat("cache: cannot take ", bytes, " bytes more, the disk of \"", dir_,
                                                   "\" has ", options_.free_disk_bytes(), " bytes free, ",
                                                   options_.free_bytes_min, " must stay free"));
}

void BlobCache::Unreserve(int64_t bytes) {
  absl::MutexLock lock(&mu_);
  size_bytes_ -= bytes;
}

absl::Status BlobCache::Adopt(const std::string& hash, const std::string& owner, const std::string& path,
                              int64_t size_bytes, int64_t reserved_bytes) {
  URSA_RETURN_IF_ERROR(MakeFolder(absl::StrCat(dir_, "/", hash.substr(0, 2))));
  absl::MutexLock lock(&mu_);
  // A rename of a fresh file over an older one of the same bytes; it also replaces a damaged one. Tasks that have the
  // older one open keep it.
  if (::rename(path.c_str(), PathOf(hash).c_str()) != 0)
    return ErrnoStatus(errno, absl::StrCat("cache: cannot keep blob ", hash));
  const auto [it, added] = entries_.try_emplace(hash);
  Entry& entry = it->second;
  if (added) {
    entry.use = uses_.insert(uses_.end(), hash);
  } else {
    uses_.splice(uses_.end(), uses_, entry.use);
    size_bytes_ -= entry.size_bytes;
  }
  entry.size_bytes = size_bytes;
  entry.verified = true;
  entry.owners.insert(owner);
  pins_[owner].insert(hash);
  size_bytes_ += size_bytes - reserved_bytes;
  return absl::OkStatus();
}

absl::StatusOr<std::string> BlobCache::Pin(const std::string& hash, const std::string& owner) {
  if (!IsDigestHex(hash)) return absl::InvalidArgumentError(absl::StrCat("blob \"", hash, "\": not a SHA-256 hash"));
  const std::string path = PathOf(hash);
  {
    absl::MutexLock lock(&mu_);
    const auto it = entries_.find(hash);
    if (it == entries_.end()) return absl::NotFoundError(absl::StrCat("blob ", hash, ": not in the cache"));
    it->second.owners.insert(owner);
    pins_[owner].insert(hash);
    uses_.splice(uses_.end(), uses_, it->second.use);
    if (it->second.verified) return path;
  }
  const absl::StatusOr<std::string> actual = Sha256HexOfFile(path);
  absl::MutexLock lock(&mu_);
  const auto it = entries_.find(hash);
  if (it == entries_.end()) return absl::NotFoundError(absl::StrCat("blob ", hash, ": was damaged"));
  if (it->second.verified) return path;  // it came anew meanwhile
  if (actual.ok() && *actual == hash) {
    it->second.verified = true;
    return path;
  }
  URSA_LOG(WARNING) << "cache: blob " << hash << " is damaged, removed";
  ::unlink(path.c_str());
  EraseLocked(hash);
  return absl::NotFoundError(absl::StrCat("blob ", hash, ": was damaged"));
}

void BlobCache::Unpin(const std::string& hash, const std::string& owner) {
  absl::MutexLock lock(&mu_);
  const auto pins = pins_.find(owner);
  if (pins == pins_.end() || pins->second.erase(hash) == 0) return;
  if (pins->second.empty()) pins_.erase(pins);
  const auto it = entries_.find(hash);
  if (it != entries_.end()) it->second.owners.erase(owner);
}

void BlobCache::Release(const std::string& owner) {
  absl::MutexLock lock(&mu_);
  const auto pins = pins_.find(owner);
  if (pins == pins_.end()) return;
  for (const std::string& hash : pins->second) {
    const auto it = entries_.find(hash);
    if (it != entries_.end()) it->second.owners.erase(owner);
  }
  pins_.erase(pins);
}

void BlobCache::EraseLocked(const std::string& hash) {
  const auto it = entries_.find(hash);
  for (const std::string& owner : it->second.owners) pins_[owner].erase(hash);
  size_bytes_ -= it->second.size_bytes;
  uses_.erase(it->second.use);
  entries_.erase(it);
}

int64_t BlobCache::size_bytes() const {
  absl::MutexLock lock(&mu_);
  return size_bytes_;
}

}  // namespace ursa
