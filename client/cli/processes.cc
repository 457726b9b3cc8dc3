#include "client/cli/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/spawn.h"

namespace ursa::cli {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(20);

std::string Basename(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// A process's command line; empty for a zombie, a kernel thread, or one that has gone.
std::vector<std::string> CommandLine(pid_t pid) {
  const absl::StatusOr<std::string> bytes = ReadFile(absl::StrCat("/proc/", pid, "/cmdline"));
  if (!bytes.ok() || bytes->empty()) return {};
  std::vector<std::string> words = absl::StrSplit(*bytes, '\0');
  words.pop_back();  // behind the last word's end
  return words;
}

std::vector<pid_t> AllProcesses() {
  std::vector<pid_t> pids;
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return pids;
  while (const dirent* entry = ::readdir(proc)) {
    const std::string name = entry->d_name;
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc() && end == name.data() + name.size()) pids.push_back(pid);
  }
  ::closedir(proc);
  std::sort(pids.begin(), pids.end());
  return pids;
}

bool IsSameFolder(const std::string& a, const std::string& b) {
  struct stat first, second;
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

std::optional<std::string> FlagValue(const std::vector<std::string>& words, const std::string& name) {
  const std::string flag = "--" + name;
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] == flag && i + 1 < words.size()) return words[i + 1];
    if (words[i].compare(0, flag.size() + 1, flag + "=") == 0) return words[i].substr(flag.size() + 1);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> DaemonProcess::Flag(const std::string& name) const { return FlagValue(words, name); }

bool NamesFolder(const std::vector<std::string>& words, const std::string& folder) {
  for (const std::string& word : words) {
    for (size_t at = word.find(folder); at != std::string::npos; at = word.find(folder, at + 1)) {
      const size_t end = at + folder.size();
      const bool starts = at == 0 || word[at - 1] == '=';
      if (starts && (end == word.size() || word[end] == '/')) return true;
    }
  }
  const std::optional<std::string> dir = FlagValue(words, "dir");
  return dir.has_value() && IsSameFolder(*dir, folder);
}

std::vector<DaemonProcess> FindDaemons(const std::string& folder) {
  std::vector<DaemonProcess> found;
  for (const pid_t pid : AllProcesses()) {
    std::vector<std::string> words = CommandLine(pid);
    if (words.empty()) continue;
    const std::string program = Basename(words[0]);
    if (program != kCoordinatorProgram && program != kWorkerProgram && program != kTaskProgram &&
        program != kSpareProgram)
      continue;
    if (NamesFolder(words, folder)) found.push_back({pid, program, std::move(words)});
  }
  return found;
}

std::vector<DaemonProcess> FindDaemons(const std::string& folder, const std::string& program) {
  std::vector<DaemonProcess> found = FindDaemons(folder);
  found.erase(std::remove_if(found.begin(), found.end(), [&](const DaemonProcess& p) { return p.program != program; }),
              found.end());
  return found;
}

std::vector<pid_t> FindForegroundUps(const std::string& folder) {
  std::vector<pid_t> found;
  for (const pid_t pid : AllProcesses()) {
    if (pid == ::getpid()) continue;
    const std::vector<std::string> words = CommandLine(pid);
    if (words.size() > 1 && Basename(words[0]) == "ursa" && words[1] == "up" && NamesFolder(words, folder))
      found.push_back(pid);
  }
  return found;
}

absl::StatusOr<pid_t> StartDaemon(const std::vector<std::string>& words, const std::string& folder,
                                  const std::string& log_file) {
  SpawnActions actions;
  posix_spawn_file_actions_addopen(actions.get(), 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(actions.get(), 1, log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(actions.get(), 1, 2);
  posix_spawn_file_actions_addclosefrom_np(actions.get(), 3);
  posix_spawn_file_actions_addchdir_np(actions.get(), folder.c_str());
  const absl::StatusOr<pid_t> pid = Spawn(words, actions, SpawnLeads::kSession);
  if (pid.ok()) return pid;
  return absl::Status(pid.status().code(), absl::StrCat(pid.status().message(), "; its log is \"", log_file, "\""));
}

bool IsRunning(pid_t pid, int* exit_status) {
  int status = 0;
  const pid_t waited = ::waitpid(pid, &status, WNOHANG);
  if (waited == pid && exit_status != nullptr) *exit_status = status;
  if (waited >= 0) return waited == 0;  // a child of ours; while it starts its command line is empty
  return !CommandLine(pid).empty();
}

bool IsBeingKilled(pid_t pid) {
  const absl::StatusOr<std::string> text = ReadFile(absl::StrCat("/proc/", pid, "/status"));
  if (!text.ok()) return true;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (!absl::StartsWith(line, "SigPnd:") && !absl::StartsWith(line, "ShdPnd:")) continue;
    uint64_t pending = 0;
    if (absl::SimpleHexAtoi(absl::StripAsciiWhitespace(line.substr(7)), &pending) &&
        (pending >> (SIGKILL - 1) & 1) != 0)
      return true;
  }
  return false;
}

bool WaitUntilGone(const std::vector<pid_t>& pids, absl::Duration timeout) {
  Clock* const clock = Clock::Real();
  const absl::Time deadline = clock->Now() + timeout;
  for (;;) {
    if (std::none_of(pids.begin(), pids.end(), [](pid_t pid) { return IsRunning(pid); })) return true;
    if (clock->Now() >= deadline) return false;
    clock->SleepUntil(std::min(deadline, clock->Now() + kPollInterval));
  }
}

std::string DescribeExit(int wait_status) {
  if (WIFEXITED(wait_status)) return absl::StrCat("exit status ", WEXITSTATUS(wait_status));
  if (WIFSIGNALED(wait_status))
    return absl::StrCat("killed by signal ", WTERMSIG(wait_status), " (", ::strsignal(WTERMSIG(wait_status)), ")");
  return absl::StrCat("wait status ", wait_status);
}

absl::StatusOr<std::string> FindProgram(const std::string& program, const std::string& ursa_bin) {
  std::vector<std::string> places;
  char self[4096];
  const ssize_t length = ::readlink("/proc/self/exe", self, sizeof(self));
  if (length > 0) {
    const std::string path(self, length);
    places.push_back(path.substr(0, path.rfind('/')));
  }
  if (!ursa_bin.empty()) places.push_back(ursa_bin);
  for (const std::string& place : places) {
    char absolute[PATH_MAX];
    const std::string path = place + "/" + program;
    if (::access(path.c_str(), X_OK) != 0 || ::realpath(place.c_str(), absolute) == nullptr) continue;
    return std::string(absolute) + "/" + program;
  }
  return absl::NotFoundError(absl::StrCat("program ", program, ": is not in ", absl::StrJoin(places, ", "),
                                          " (hint: URSA_BIN names the folder that has it)"));
}

absl::StatusOr<FileLock> FileLock::Acquire(const std::string& path, absl::Duration timeout) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("file \"", path, "\": cannot open"));
  FileLock lock(fd);
  Clock* const clock = Clock::Real();
  const absl::Time deadline = clock->Now() + timeout;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return ErrnoStatus(errno, absl::StrCat("file \"", path, "\": cannot lock"));
    if (clock->Now() >= deadline)
      return absl::DeadlineExceededError(absl::StrCat(
          "file \"", path, "\": another `ursa up` or `ursa down` has held it for ", absl::FormatDuration(timeout)));
    clock->SleepUntil(clock->Now() + kPollInterval);
  }
  return lock;
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

namespace {

sigset_t AwaitedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

}  // namespace

SignalWaiter::SignalWaiter() {
  sigset_t blocked = AwaitedSignals();
  sigaddset(&blocked, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
}

int SignalWaiter::Wait(absl::Duration timeout) {
  const sigset_t set = AwaitedSignals();
  const timespec limit = absl::ToTimespec(stop_signal_ != 0 ? absl::ZeroDuration() : timeout);
  const int signal = ::sigtimedwait(&set, nullptr, &limit);
  if (signal > 0 && signal != SIGCHLD) stop_signal_ = signal;
  return stop_signal_;
}

}  // namespace ursa::cli
