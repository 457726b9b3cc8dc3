#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/failpoint.h"

namespace ursa {
namespace {

StatusFailpoint before_replace("base.file.before_replace");  // the new bytes are synced beside the old
Failpoint replaced("base.file.replaced");                    // the folder is not synced

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string Subject(std::string_view what, const std::string& path) {
  return absl::StrCat("file \"", path, "\": cannot ", absl::string_view(what.data(), what.size()));
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
  const std::string scratch = absl::StrCat(path, ".new.", RandomHex(8));
  {
    Descriptor file(::open(scratch.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (file.get() < 0) return ErrnoStatus(errno, Subject("create", scratch));
    while (!bytes.empty()) {
      const ssize_t put = ::write(file.get(), bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) {
        const int error_number = errno;
        ::unlink(scratch.c_str());
        return ErrnoStatus(error_number, Subject("write", path));
      }
      bytes.remove_prefix(put);
    }
    if (::fsync(file.get()) != 0) {
      const int error_number = errno;
      ::unlink(scratch.c_str());
      return ErrnoStatus(error_number, Subject("sync", path));
    }
  }
  if (absl::Status told = before_replace.Pass(); !told.ok()) {
    ::unlink(scratch.c_str());
    return told;
  }
  if (::rename(scratch.c_str(), path.c_str()) != 0) {
    const int error_number = errno;
    ::unlink(scratch.c_str());
    return ErrnoStatus(error_number, Subject("replace", path));
  }
  replaced.Pass();
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0)
    return ErrnoStatus(errno, Subject("sync the folder of", path));
  return absl::OkStatus();
}

}  // namespace ursa
