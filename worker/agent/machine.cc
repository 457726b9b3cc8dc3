#include "worker/agent/machine.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file.h"

namespace ursa {

std::string HostName() {
  char name[256] = "";
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown";
}

int NumCores() {
  cpu_set_t cpus;
  if (::sched_getaffinity(0, sizeof(cpus), &cpus) != 0) return 1;
  return std::max(1, CPU_COUNT(&cpus));
}

std::string SimdLevel() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return "avx512";
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "avx2" : "x86-64-v2";
}

absl::StatusOr<std::string> AddressOfInterface(const std::string& name) {
  ifaddrs* interfaces = nullptr;
  if (::getifaddrs(&interfaces) != 0) return ErrnoStatus(errno, "network interfaces: cannot list");
  std::string v4, v6;
  for (const ifaddrs* it = interfaces; it != nullptr; it = it->ifa_next) {
    if (it->ifa_addr == nullptr || name != it->ifa_name) continue;
    char text[INET6_ADDRSTRLEN];
    if (it->ifa_addr->sa_family == AF_INET && v4.empty()) {
      v4 = ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(it->ifa_addr)->sin_addr, text, sizeof(text));
    } else if (it->ifa_addr->sa_family == AF_INET6 && v6.empty()) {
      v6 = ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(it->ifa_addr)->sin6_addr, text, sizeof(text));
    }
  }
  ::freeifaddrs(interfaces);
  if (v4.empty() && v6.empty())
    return absl::NotFoundError(absl::StrCat("network interface \"", name, "\": no such interface has an address"));
  return v4.empty() ? v6 : v4;
}

absl::Status LockFolder(const std::string& dir) {
  const std::string path = dir + "/lock";
  // Never closed: the kernel ends the lock with the process.
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("file \"", path, "\": cannot open"));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error_number = errno;
    ::close(fd);
    if (error_number != EWOULDBLOCK) return ErrnoStatus(error_number, absl::StrCat("file \"", path, "\": cannot lock"));
    const absl::StatusOr<std::string> pid = ReadFile(path);
    return absl::FailedPreconditionError(
        absl::StrCat("folder \"", dir, "\": another worker runs on it, process ",
                     pid.ok() ? absl::StripAsciiWhitespace(*pid) : absl::string_view("unknown")));
  }
  const std::string pid = absl::StrCat(::getpid(), "\n");
  if (::ftruncate(fd, 0) != 0 || ::write(fd, pid.data(), pid.size()) != static_cast<ssize_t>(pid.size()))
    return ErrnoStatus(errno, absl::StrCat("file \"", path, "\": cannot write"));
  return absl::OkStatus();
}

}  // namespace ursa
