// `ursa up` and `ursa down`: a coordinator and one worker on this machine, in one data folder.
//
// What is in the folder, beside the daemons' own files:
//   address                     the coordinator's HOST:PORT, written by it
//   admin.token, worker.token   made by the coordinator at its first start, readable by their owner only
//   client.env                  URSA_SERVER and URSA_TOKEN_FILE for `ursa`, written here
//   pids                        "ursa-worker 123" a line, for people; written here
//   log/coordinator.log, log/worker.log
//   up.lock                     held while something is started or stopped
#ifndef URSA_CLIENT_CLI_LOCAL_CLUSTER_H_
#define URSA_CLIENT_CLI_LOCAL_CLUSTER_H_

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/processes.h"

namespace ursa::cli {

struct UpOptions {
  std::string dir;                                   // absolute, see AbsoluteFolder
  int port = 0;                                      // 0: the folder's earlier one, else any
  std::optional<int> slots;                          // default: the GPUs, else 1
  std::optional<std::string> kind;                   // cpu or cuda; default: cuda if enough GPUs can be used
  std::string ursa_bin;                              // where programs are looked for, beside this executable's folder
  absl::Duration start_timeout = absl::Seconds(60);  // of each daemon
  std::string dev = "/dev";                          // where GPUs are looked for; another one for tests
};

// What runs.
struct UpResult {
  std::string server;                  // "127.0.0.1:4321"
  std::string token_file;              // absolute
  std::vector<DaemonProcess> daemons;  // coordinator and worker
  std::vector<std::string> started;    // programs that this call has started
  std::string note;                    // what the user would not expect; often empty
};

// Starts what is missing and returns once the worker is registered with the coordinator.
// When it fails or `signals` brings a signal, what this call has started is stopped again.
// Errors: that of a folder that cannot be written; FAILED_PRECONDITION: a daemon ended (`log_tail` gets the last lines
// of its log), it runs already with another port or other slots; more cuda slots than GPUs, or GPUs that cannot be
// used; DEADLINE_EXCEEDED; CANCELLED: a signal came.
absl::StatusOr<UpResult> BringUp(const UpOptions& options, SignalWaiter* signals, std::string* log_tail);

struct DownOptions {
  std::string dir;  // absolute
  // The worker checkpoints what it runs. Together they stay under two minutes, which scripts wait for.
  absl::Duration worker_grace = absl::Seconds(95);
  absl::Duration task_grace = absl::Seconds(5);
  absl::Duration coordinator_grace = absl::Seconds(15);
};

// Stops the worker, then the coordinator, politely first; whatever still names the folder after its grace is killed.
// Returns how many processes have ended; 0 when nothing ran. `on_step` hears what is being waited for.
// Errors: INTERNAL: a process does not die.
absl::StatusOr<int> BringDown(const DownOptions& options, const std::function<void(const std::string&)>& on_step);

// Stops this folder's daemons without the lock, which the caller must hold.
absl::StatusOr<int> StopDaemons(const DownOptions& options, const std::function<void(const std::string&)>& on_step);

// The absolute form of a folder as the user spelled it, without a slash at the end. Errors: INVALID_ARGUMENT (empty).
absl::StatusOr<std::string> AbsoluteFolder(const std::string& dir);

// GPUs of this machine: /dev/nvidia0, /dev/nvidia1, ... `dev` is for tests.
int CountGpus(const std::string& dev = "/dev");

// What client.env holds. Values are quoted where a shell would need it.
std::string ClientEnv(const std::string& server, const std::string& token_file);

// The last `num_lines` lines of what a file holds from byte `offset` on; empty when it cannot be read.
std::string TailOfFile(const std::string& path, int64_t offset, int num_lines);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_LOCAL_CLUSTER_H_
