// Starts processes, reads what they print, and knows when they have ended.
#ifndef URSA_WORKER_AGENT_PROCESS_SUPERVISOR_H_
#define URSA_WORKER_AGENT_PROCESS_SUPERVISOR_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace ursa {

// Supervises child processes. Each is the leader of a process group of its own; when it ends, however it ends, what is
// left of its group is killed, and it is reaped. The kernel kills it when this process dies (PDEATHSIG): none outlives
// it.
//
// Threads: the spawner forks all children, because PDEATHSIG follows the forking thread, so it lives as long as any
// child; the watcher waits on pidfds and pipes, and runs the callbacks, one at a time. Safe for use by many threads.
// Destruction kills and reaps all children, then ends both threads; no callback runs after it.
class ProcessSupervisor {
 public:
  struct Command {
    std::string program;                                           // path of the executable
    std::vector<std::string> arguments;                            // argv, [0] included
    std::vector<std::pair<std::string, std::string>> environment;  // set over what this process has
    int inherited_fd = -1;  // becomes descriptor kInheritedFd of the child; the caller's stays its own; -1: none
  };
  static constexpr int kInheritedFd = 3;

  struct Exit {
    int exit_code = 0;
    int signal = 0;  // that ended it, 0 if none
  };

  struct Callbacks {
    // What the process wrote to its standard output and error, as it comes.
    std::function<void(int64_t id, std::string_view printed)> on_output;
    // The process has been reaped, all its output has been handed over. The last call for this id.
    std::function<void(int64_t id, const Exit& exit)> on_exit;
  };

  explicit ProcessSupervisor(Callbacks callbacks);
  ~ProcessSupervisor();
  ProcessSupervisor(const ProcessSupervisor&) = delete;
  ProcessSupervisor& operator=(const ProcessSupervisor&) = delete;

  // Starts a process as `id`, which must be new. Returns its process id once it executes the program. Callbacks may
  // come before it returns. Errors: those of fork and execve with the system's text; then no callback comes.
  absl::StatusOr<pid_t> Start(int64_t id, const Command& command);

  // Whether the process has not ended, whatever the callbacks have told so far. False for one that was not started.
  bool IsAlive(int64_t id);

  // Sends `signal` to the process's group. Nothing happens if it has ended.
  void Signal(int64_t id, int signal);

 private:
  struct Child {
    pid_t pid = -1;
    int pidfd = -1;
    int output_fd = -1;
  };
  struct SpawnRequest {
    int64_t id = 0;
    const Command* command = nullptr;
    absl::StatusOr<pid_t> result = absl::UnknownError("not started");
    bool done = false;
  };

  void RunSpawner();
  void RunWatcher();
  absl::StatusOr<pid_t> Spawn(int64_t id, const Command& command);
  // Hands over what can be read now. Returns false when there will be no more.
  bool ReadOutput(int64_t id, int output_fd);
  void Reap(int64_t id);
  void Wake();

  const Callbacks callbacks_;
  int epoll_fd_ = -1;
  int wake_fd_ = -1;

  absl::Mutex mu_;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  SpawnRequest* request_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::map<int64_t, Child> children_ ABSL_GUARDED_BY(mu_);  // not reaped

  std::thread spawner_;
  std::thread watcher_;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_PROCESS_SUPERVISOR_H_
