// Starts processes of ursa-task.
#ifndef URSA_WORKER_AGENT_LAUNCH_TASK_LAUNCHER_H_
#define URSA_WORKER_AGENT_LAUNCH_TASK_LAUNCHER_H_

#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ursa/worker/v1/task.pb.h"
#include "worker/agent/process_supervisor.h"
#include "worker/agent/task_server.h"
#include "worker/agent/task_table.h"

namespace ursa {

// OK if the process ended well, else how, with the last line that it printed.
absl::Status ExitStatus(const ProcessSupervisor::Exit& exit, std::string_view printed);

// A process that has a socket to its agent, and the agent's end of it.
struct LaunchedTask {
  int64_t process_id = 0;  // the supervisor's
  pid_t pid = -1;
  std::unique_ptr<TaskServer> server;
};

// Knows how the program is called: words, environment, socket. Borrows supervisor and host. Not thread-safe. What a
// process printed and how it ended comes by the supervisor's callbacks.
class TaskLauncher {
 public:
  struct Options {
    std::string task_binary;
    std::string dir;  // the cluster's folder; on the command lines
    std::string fabric_address;
    std::string kind;  // of the slots: what a spare and a self-check load
    TaskServer::Options server;
  };

  TaskLauncher(ProcessSupervisor* supervisor, TaskHost* host, Options options)
      : supervisor_(supervisor), host_(host), options_(std::move(options)) {}

  // For one task, which it is told at once. Errors of these: the system's, that of gRPC when it does not start.
  absl::StatusOr<LaunchedTask> Launch(const ProcessKey& key, const worker::v1::TaskAssignment& assignment);

  // Ahead of a task that is to have so many threads. `on_ready` is called once, from any thread, when it waits for its
  // assignment.
  absl::StatusOr<LaunchedTask> LaunchSpare(int threads, std::function<void(int64_t process_id)> on_ready);

  bool IsAlive(int64_t process_id) { return supervisor_->IsAlive(process_id); }
  // At once. Nothing happens if it has ended.
  void Kill(int64_t process_id) { supervisor_->Signal(process_id, SIGKILL); }

  // One that says by its exit code whether the program starts here. Returns the supervisor's id.
  absl::StatusOr<int64_t> LaunchSelfCheck();

 private:
  // The two ends of a socket; the task's is to be closed when it has been handed on.
  struct Ends {
    std::unique_ptr<TaskServer> server;
    int task_fd = -1;
  };

  absl::StatusOr<Ends> Connect(std::function<void()> on_ready);
  absl::StatusOr<LaunchedTask> Start(int64_t process_id, Ends ends, std::vector<std::string> words, int threads);

  ProcessSupervisor* const supervisor_;
  TaskHost* const host_;
  const Options options_;
  int64_t next_process_id_ = 1;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_LAUNCH_TASK_LAUNCHER_H_
