#include "base/run_program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/spawn.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(5);

// A file without a name, in memory. Unlike a pipe it never blocks either side.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("ursa", MFD_CLOEXEC)) {}
  ~MemoryFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  int fd() const { return fd_; }

  absl::Status Fill(const std::string& bytes) {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t written = ::pwrite(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
      if (written < 0 && errno != EINTR) return ErrnoStatus(errno, "input of a program");
      done += static_cast<size_t>(std::max<ssize_t>(written, 0));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Contents() const {
    struct stat info;
    if (::fstat(fd_, &info) != 0) return ErrnoStatus(errno, "output of a program");
    const auto size = static_cast<size_t>(info.st_size);
    if (size > kProgramOutputBytesMax)
      return absl::ResourceExhaustedError(
          absl::StrCat("output of a program: is ", size, " bytes, the limit is ", kProgramOutputBytesMax));
    std::string bytes(size, '\0');
    const ssize_t got = ::pread(fd_, bytes.data(), bytes.size(), 0);
    if (got < 0) return ErrnoStatus(errno, "output of a program");
    bytes.resize(static_cast<size_t>(got));
    return bytes;
  }

 private:
  int fd_;
};

// The wait status, or that of a process killed at the deadline with `timed_out` set.
int WaitFor(pid_t pid, absl::Duration timeout, bool* timed_out) {
  Clock* const clock = Clock::Real();
  const absl::Time deadline = clock->Now() + timeout;
  int status = 0;
  for (;;) {
    const pid_t waited = ::waitpid(pid, &status, *timed_out ? 0 : WNOHANG);
    if (waited == pid || (waited < 0 && errno != EINTR)) return status;
    if (*timed_out) continue;
    if (clock->Now() >= deadline) {
      *timed_out = true;
      ::kill(-pid, SIGKILL);
    } else {
      clock->SleepUntil(std::min(deadline, clock->Now() + kPollInterval));
    }
  }
}

std::string LastLine(const std::string& text) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipWhitespace());
  return lines.empty() ? "it says nothing" : std::string(absl::StripAsciiWhitespace(lines.back()));
}

}  // namespace

absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& words, const std::string& input,
                                       absl::Duration timeout) {
  MemoryFile in, out, err;
  if (in.fd() < 0 || out.fd() < 0 || err.fd() < 0) return ErrnoStatus(errno, "memfd_create");
  URSA_RETURN_IF_ERROR(in.Fill(input));
  SpawnActions actions;
  posix_spawn_file_actions_adddup2(actions.get(), in.fd(), 0);
  posix_spawn_file_actions_adddup2(actions.get(), out.fd(), 1);
  posix_spawn_file_actions_adddup2(actions.get(), err.fd(), 2);
  // A group of its own: a Ctrl-C is for us, not for an sbatch on its way.
  URSA_ASSIGN_OR_RETURN(const pid_t pid, Spawn(words, actions, SpawnLeads::kProcessGroup));
  bool timed_out = false;
  const int status = WaitFor(pid, timeout, &timed_out);
  if (timed_out)
    return absl::DeadlineExceededError(
        absl::StrCat(words[0], ": has not answered within ", absl::FormatDuration(timeout)));
  if (status == 0) return out.Contents();
  URSA_ASSIGN_OR_RETURN(const std::string said, err.Contents());
  const std::string how =
      WIFEXITED(status) ? absl::StrCat("exit status ", WEXITSTATUS(status)) : absl::StrCat("signal ", WTERMSIG(status));
  return absl::FailedPreconditionError(absl::StrCat(words[0], ": ", how, ": ", LastLine(said)));
}

}  // namespace ursa
