// ursa-task: one process of a task. Started by ursa-worker, never by hand.
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/agent_client/agent_client.h"
#include "worker/comm/device.h"
#include "worker/eval/evaluation_task.h"
#include "worker/serve/prediction_task.h"
#include "worker/task/failpoints.h"
#include "worker/task/failure.h"
#include "worker/task/ingest.h"
#include "worker/task/spare.h"
#include "worker/task/training.h"
#include "worker/task/warm_up.h"
#include "worker/train/memory.h"

namespace ursa {
namespace {

using worker::v1::TaskAssignment;
using worker::v1::TaskFinished;

constexpr char kUsage[] =
    "ursa-task is started by ursa-worker.\n"
    "usage: ursa-task --task ID --rank R --epoch E --dir DIR --fabric_address IP --fd N\n"
    "       ursa-task --spare KIND --room TEXT --dir DIR --fabric_address IP --fd N\n"
    "       ursa-task --self_check KIND\n";

std::string ExecutableFolder() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path) - 1);
  if (length <= 0) return "./";
  const std::string executable(path, length);
  return executable.substr(0, executable.rfind('/') + 1);
}

absl::StatusOr<TaskFinished> RunAssignment(AgentClient* agent, const TaskAssignment& assignment,
                                           const TaskPaths& paths) {
  switch (assignment.kind_case()) {
    case TaskAssignment::kTrain:
      return RunTraining(agent, assignment, paths);
    case TaskAssignment::kIngest:
      return RunIngest(agent, assignment.ingest());
    case TaskAssignment::kEvaluate:
      return RunEvaluation(agent, assignment, paths.CudaPlugin());
    case TaskAssignment::kPredict:
      return RunPrediction(agent, assignment.predict());
    case TaskAssignment::KIND_NOT_SET:
      break;
  }
  return absl::InternalError(absl::StrCat("task ", assignment.task_id(), ": assignment without a kind"));
}

// The command line, which a spare changes when it has become its task's.
struct CommandLine {
  int argc = 0;
  char** argv = nullptr;
  std::map<std::string, std::string> flags;
};

// The fencing epoch that names this process.
int64_t ProcessEpoch(const TaskAssignment& assignment) {
  for (int i = 0; i < assignment.rank_epochs_size(); ++i) {
    if (assignment.ranks(i) == assignment.rank()) return assignment.rank_epochs(i);
  }
  return assignment.epoch();
}

// From here on the process is seen as one that was started for its task.
void ShowAsTask(const CommandLine& line, const TaskAssignment& assignment) {
  SetCommandLine(line.argc, line.argv,
                 {"ursa-task", "--task", assignment.task_id(), "--rank", absl::StrCat(assignment.rank()), "--epoch",
                  absl::StrCat(ProcessEpoch(assignment)), "--dir", line.flags.at("--dir"), "--fabric_address",
                  line.flags.at("--fabric_address"), "--fd", line.flags.at("--fd")});
}

// Warms up, and waits until there is a task.
absl::StatusOr<TaskAssignment> WaitAsSpare(AgentClient* agent, const CommandLine& line, const TaskPaths& paths) {
  const FirstToGo first_to_go;
  const absl::Status warm = WarmUp(line.flags.at("--spare"), paths.CudaPlugin());
  // A task that needs what is missing says so itself.
  if (!warm.ok()) URSA_LOG(WARNING) << "spare: " << warm;
  URSA_ASSIGN_OR_RETURN(TaskAssignment assignment, agent->GetAssignment());
  ShowAsTask(line, assignment);
  return assignment;
}

absl::Status Run(const CommandLine& line, const TaskPaths& paths) {
  URSA_RETURN_IF_ERROR(KeepMemoryInProcess());
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<AgentClient> agent,
                        AgentClient::Connect(std::atoi(line.flags.at("--fd").c_str())));
  URSA_ASSIGN_OR_RETURN(const TaskAssignment assignment, line.flags.count("--spare") > 0
                                                             ? WaitAsSpare(agent.get(), line, paths)
                                                             : agent->GetAssignment());
  // What is armed now counts, whenever the process was started; its name is on its command line.
  URSA_RETURN_IF_ERROR(ArmFailpoints());
  failpoints::task_assigned.Pass();
  SetComputeThreads(assignment.threads());
  absl::StatusOr<TaskFinished> finished = RunAssignment(agent.get(), assignment, paths);
  if (!finished.ok()) {
    URSA_LOG(ERROR) << "task=" << assignment.task_id() << " rank=" << assignment.rank()
                    << " failed: " << finished.status();
    finished = FinishedWith(TaskFinished::OUTCOME_FAILED, finished.status());
  } else if (finished->outcome() == TaskFinished::OUTCOME_USER_ERROR) {
    std::fprintf(stderr, "error: %s\n", finished->reason().c_str());
  }
  worker::v1::TaskEvent event;
  *event.mutable_finished() = *finished;
  failpoints::task_before_finished.Pass();
  URSA_RETURN_IF_ERROR(agent->Report(std::move(event)));
  failpoints::task_finished.Pass();
  return finished->outcome() == TaskFinished::OUTCOME_FAILED ? absl::UnavailableError(finished->reason())
                                                             : absl::OkStatus();
}

// Before slots of that kind are offered: that this program, with all its libraries, starts here and finds its devices.
int SelfCheck(const std::string& kind, const TaskPaths& paths) {
  absl::Status status = KeepMemoryInProcess();
  if (status.ok()) status = OpenAccelerator(kind, paths.CudaPlugin()).status();
  if (status.ok()) std::printf("ursa-task starts\n");
  if (!status.ok()) std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
  std::fflush(stdout);
  ::_exit(status.ok() ? 0 : 1);
}

int Main(int argc, char** argv) {
  TaskPaths paths;
  paths.executable_folder = ExecutableFolder();
  if (argc == 3 && std::strcmp(argv[1], "--self_check") == 0) return SelfCheck(argv[2], paths);
  CommandLine line{argc, argv, {}};
  for (int i = 1; i + 1 < argc; i += 2) line.flags[argv[i]] = argv[i + 1];
  for (const char* flag : {"--dir", "--fabric_address", "--fd"}) {
    if (argc % 2 == 1 && line.flags.count(flag) > 0) continue;
    std::fputs(kUsage, stderr);
    return 2;
  }
  paths.fabric_address = line.flags["--fabric_address"];
  const absl::Status status = Run(line, paths);
  std::fflush(stdout);
  // Torch's and Gloo's threads may still wait for a peer that has gone: all is reported, so leave without their
  // consent.
  ::_exit(status.ok() ? 0 : 1);
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) { return ursa::Main(argc, argv); }
