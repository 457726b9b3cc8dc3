// Processes of a data folder: finding them in /proc, starting them apart from the caller, ending them.
#ifndef URSA_CLIENT_CLI_PROCESSES_H_
#define URSA_CLIENT_CLI_PROCESSES_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ursa::cli {

inline constexpr char kCoordinatorProgram[] = "ursa-coordinator";
inline constexpr char kWorkerProgram[] = "ursa-worker";
inline constexpr char kTaskProgram[] = "ursa-task";
inline constexpr char kSpareProgram[] = "ursa-spare";  // an ursa-task that has no task

// A live process of one of the programs above.
struct DaemonProcess {
  pid_t pid = 0;
  std::string program;             // "ursa-worker"
  std::vector<std::string> words;  // its command line

  // The value of a flag in its command line, "--slots 2" or "--slots=2".
  std::optional<std::string> Flag(const std::string& name) const;
};

// Whether a command line names `folder` (absolute, without a slash at the end): a word that is it or a path below it,
// also behind a "=", or a --dir whose value is the same folder under another name (a link).
bool NamesFolder(const std::vector<std::string>& words, const std::string& folder);

// Live processes of our programs that name `folder`, by pid. Zombies have ended and are not among them.
std::vector<DaemonProcess> FindDaemons(const std::string& folder);
std::vector<DaemonProcess> FindDaemons(const std::string& folder, const std::string& program);

// `ursa up` processes that stay in the foreground for `folder`, but not this process.
std::vector<pid_t> FindForegroundUps(const std::string& folder);

// Starts `words` (words[0] is the program's path) in a session of its own, in `folder`, with standard input from
// /dev/null, both outputs appended to `log_file`, no other descriptor of ours, and no signal blocked.
// Errors: that of the system with the program's path.
absl::StatusOr<pid_t> StartDaemon(const std::vector<std::string>& words, const std::string& folder,
                                  const std::string& log_file);

// Whether the process runs. One of our own children that has ended is reaped first, and its wait status is put into
// `exit_status` if that is given.
bool IsRunning(pid_t pid, int* exit_status = nullptr);

// Whether a SIGKILL is on its way to the process, which may still be in the middle of a disk write.
bool IsBeingKilled(pid_t pid);

// Waits until none of `pids` runs, for at most `timeout`. Returns whether that is so.
bool WaitUntilGone(const std::vector<pid_t>& pids, absl::Duration timeout);

// "exit status 1" or "killed by signal 9 (Killed)", of a wait status.
std::string DescribeExit(int wait_status);

// The program beside this executable, else in the folder `ursa_bin`, if that is not empty.
// Errors: NOT_FOUND, with the places looked at.
absl::StatusOr<std::string> FindProgram(const std::string& program, const std::string& ursa_bin);

// Holds an exclusive lock on a file, also against other users of this class. Movable.
class FileLock {
 public:
  // Waits for at most `timeout`. Errors: of opening; DEADLINE_EXCEEDED.
  static absl::StatusOr<FileLock> Acquire(const std::string& path, absl::Duration timeout);
  FileLock(FileLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

// Takes SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGCHLD out of their usual course, so that they are waited for instead,
// and lets a write into a closed pipe fail instead of ending the process. Make it before any thread is started: threads
// inherit it.
class SignalWaiter {
 public:
  SignalWaiter();

  // Waits for at most `timeout`. Returns SIGINT, SIGTERM, SIGHUP or SIGQUIT once one of them has come (now or before),
  // else 0, earlier if a child has ended.
  int Wait(absl::Duration timeout);

 private:
  int stop_signal_ = 0;
};

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_PROCESSES_H_
