#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/failpoint.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

StatusFailpoint before_replace("base.file.before_replace");  // the new bytes are synced beside the old
Failpoint replaced("base.file.replaced");                    // the folder is not synced

constexpr size_t kScratchNameBytes = 8;

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string Subject(std::string_view what, const std::string& path) {
  return absl::StrCat("file \"", path, "\": cannot ", absl::string_view(what.data(), what.size()));
}

// "/a/b" -> "/a/", "b" -> "./".
std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "./" : path.substr(0, slash + 1);
}

// Temporary files are named PATH.new. and 16 hex digits. Whoever writes one holds a lock on it (flock, which ends with
// the process) from before its first byte until it has its final name.
std::string ScratchPrefix(const std::string& path) { return path + ".new."; }

// Waits, unless `flags` has LOCK_NB. False also where the file system has no locks.
bool Lock(int fd, int flags) {
  int result = 0;
  do {
    result = ::flock(fd, LOCK_EX | flags);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

// Deletes the temporary files of `path` that nobody has locked. What cannot be opened or locked is left alone.
void SweepScratchFiles(const std::string& path) {
  const std::string folder = FolderOf(path);
  const std::string prefix = ScratchPrefix(path.substr(path.rfind('/') + 1));
  DIR* const entries = ::opendir(folder.c_str());
  if (entries == nullptr) return;  // the write will say why
  while (const dirent* entry = ::readdir(entries)) {
    const std::string_view name = entry->d_name;
    if (name.size() != prefix.size() + 2 * kScratchNameBytes || name.substr(0, prefix.size()) != prefix) continue;
    if (name.find_first_not_of("0123456789abcdef", prefix.size()) != std::string_view::npos) continue;
    const std::string scratch = folder + std::string(name);
    const Descriptor file(::open(scratch.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (file.get() >= 0 && Lock(file.get(), LOCK_NB)) ::unlink(scratch.c_str());
  }
  ::closedir(entries);
}

// A new temporary file of `path`, open for writing and locked.
absl::StatusOr<Descriptor> MakeScratchFile(const std::string& path, int mode, std::string* scratch) {
  while (true) {
    *scratch = ScratchPrefix(path) + RandomHex(kScratchNameBytes);
    Descriptor file(::open(scratch->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (file.get() < 0) return ErrnoStatus(errno, Subject("create", *scratch));
    if (!Lock(file.get(), 0)) return file;  // then nothing is swept there, either
    struct stat info;
    if (::fstat(file.get(), &info) != 0) return ErrnoStatus(errno, Subject("stat", *scratch));
    if (info.st_nlink > 0) return file;
    // Swept between its making and its locking: another one.
  }
}

absl::Status WriteAndReplace(int fd, std::string_view bytes, const std::string& scratch, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return ErrnoStatus(errno, Subject("write", path));
    bytes.remove_prefix(put);
  }
  if (::fsync(fd) != 0) return ErrnoStatus(errno, Subject("sync", path));
  URSA_RETURN_IF_ERROR(before_replace.Pass());
  if (::rename(scratch.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, Subject("replace", path));
  return absl::OkStatus();
}

}  // namespace

absl::Status ErrnoStatus(int error_number, std::string_view subject) {
  return absl::ErrnoToStatus(error_number, absl::string_view(subject.data(), subject.size()));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus(errno, Subject("open", path));
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return ErrnoStatus(errno, Subject("stat", path));
  std::string bytes;
  bytes.reserve(info.st_size);
  char buffer[1 << 16];
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer, sizeof(buffer));
    if (got == 0) return bytes;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, Subject("read", path));
    bytes.append(buffer, got);
  }
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view bytes, int mode) {
  SweepScratchFiles(path);
  std::string scratch;
  URSA_ASSIGN_OR_RETURN(const Descriptor file, MakeScratchFile(path, mode, &scratch));
  const absl::Status replaced_status = WriteAndReplace(file.get(), bytes, scratch, path);
  if (!replaced_status.ok()) {
    ::unlink(scratch.c_str());
    return replaced_status;
  }
  replaced.Pass();
  const Descriptor directory(::open(FolderOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0)
    return ErrnoStatus(errno, Subject("sync the folder of", path));
  return absl::OkStatus();
}

}  // namespace ursa
