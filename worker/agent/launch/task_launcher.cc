#include "worker/agent/launch/task_launcher.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

// A spare puts the words of its task in place of its own: the kernel shows what stands where they stood.
constexpr size_t kRoomForTask = 96;

}  // namespace

absl::Status ExitStatus(const ProcessSupervisor::Exit& exit, std::string_view printed) {
  if (exit.exit_code == 0 && exit.signal == 0) return absl::OkStatus();
  const absl::string_view text = absl::StripAsciiWhitespace(absl::string_view(printed.data(), printed.size()));
  const size_t line = text.rfind('\n');
  return absl::InternalError(
      absl::StrCat(exit.signal != 0 ? absl::StrCat("signal ", exit.signal) : absl::StrCat("exit code ", exit.exit_code),
                   text.empty() ? "" : ": ", text.substr(line == absl::string_view::npos ? 0 : line + 1)));
}

absl::StatusOr<LaunchedTask> TaskLauncher::Launch(const ProcessKey& key, const worker::v1::TaskAssignment& assignment) {
  URSA_ASSIGN_OR_RETURN(Ends ends, Connect(nullptr));
  ends.server->Assign(key, assignment);
  return Start(
      next_process_id_++, std::move(ends),
      {"ursa-task", "--task", key.task_id, "--rank", absl::StrCat(key.rank), "--epoch", absl::StrCat(key.epoch)},
      assignment.threads());
}

absl::StatusOr<LaunchedTask> TaskLauncher::LaunchSpare(int threads, std::function<void(int64_t process_id)> on_ready) {
  const int64_t process_id = next_process_id_++;
  URSA_ASSIGN_OR_RETURN(Ends ends, Connect([process_id, on_ready = std::move(on_ready)] { on_ready(process_id); }));
  return Start(process_id, std::move(ends),
               {"ursa-spare", "--spare", options_.kind, "--room", std::string(kRoomForTask, '.')}, threads);
}

absl::StatusOr<int64_t> TaskLauncher::LaunchSelfCheck() {
  ProcessSupervisor::Command command;
  command.program = options_.task_binary;
  command.arguments = {"ursa-task", "--self_check", options_.kind};
  const int64_t process_id = next_process_id_++;
  URSA_RETURN_IF_ERROR(supervisor_->Start(process_id, command).status());
  return process_id;
}

absl::StatusOr<TaskLauncher::Ends> TaskLauncher::Connect(std::function<void()> on_ready) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) return ErrnoStatus(errno, "socketpair");
  absl::StatusOr<std::unique_ptr<TaskServer>> server =
      TaskServer::Start(host_, sockets[0], options_.server, std::move(on_ready));
  if (server.ok()) return Ends{*std::move(server), sockets[1]};
  ::close(sockets[1]);
  return server.status();
}

absl::StatusOr<LaunchedTask> TaskLauncher::Start(int64_t process_id, Ends ends, std::vector<std::string> words,
                                                 int threads) {
  const std::string num_threads = absl::StrCat(std::max(1, threads));
  ProcessSupervisor::Command command;
  command.program = options_.task_binary;
  command.arguments = std::move(words);
  for (const char* word : {"--dir", options_.dir.c_str(), "--fabric_address", options_.fabric_address.c_str(), "--fd"})
    command.arguments.push_back(word);
  command.arguments.push_back(absl::StrCat(ProcessSupervisor::kInheritedFd));
  // A device's number is NVML's, which goes by PCI addresses.
  command.environment = {{"OMP_WAIT_POLICY", "PASSIVE"},
                         {"OMP_NUM_THREADS", num_threads},
                         {"MKL_NUM_THREADS", num_threads},
                         {"CUDA_DEVICE_ORDER", "PCI_BUS_ID"}};
  command.inherited_fd = ends.task_fd;
  const absl::StatusOr<pid_t> pid = supervisor_->Start(process_id, command);
  ::close(ends.task_fd);
  URSA_RETURN_IF_ERROR(pid.status());
  return LaunchedTask{process_id, *pid, std::move(ends.server)};
}

}  // namespace ursa
