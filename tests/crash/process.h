// A program under test as a process of its own.
#ifndef URSA_TESTS_CRASH_PROCESS_H_
#define URSA_TESTS_CRASH_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ursa::crash {

// Waits until `condition` holds, looking again every few milliseconds; whether it came to hold within `limit`.
bool WaitUntil(const std::function<bool()>& condition, absl::Duration limit);
// Lets time pass: for a kill at a random moment.
void LetPass(absl::Duration duration);

// How a process ended.
struct Death {
  int exit_code = 0;
  int signal = 0;  // 0: it ended by itself

  std::string ToString() const;
};

// One child process. Owns it: what still runs is killed when this goes. Not thread-safe.
class Process {
 public:
  using Environment = std::vector<std::pair<std::string, std::string>>;  // set over what this process has

  // Starts `words` (the program's path first), standard output and error appended to `log_file`.
  static absl::StatusOr<Process> Start(const std::vector<std::string>& words, const Environment& environment,
                                       const std::string& log_file);
  Process() = default;
  ~Process() { Kill(); }
  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, 0)), death_(other.death_) {}
  Process& operator=(Process&& other) noexcept;

  // Whether it runs; false for a process that was never started.
  bool IsRunning();
  // SIGKILL, and waits until it has gone. Nothing happens if it has ended.
  void Kill();
  void Signal(int signal) const;
  // How it ended; nothing while it runs or if it was never started.
  const std::optional<Death>& death() const { return death_; }
  pid_t pid() const { return pid_; }

 private:
  explicit Process(pid_t pid) : pid_(pid) {}
  void Reap(int options);

  pid_t pid_ = 0;  // 0: never started, or reaped
  std::optional<Death> death_;
};

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_PROCESS_H_
