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
#include "worker/eval/evaluation_task.h"
#include "worker/serve/prediction_task.h"
#include "worker/task/failpoints.h"
#include "worker/task/failure.h"
#include "worker/task/ingest.h"
#include "worker/task/training.h"
#include "worker/train/memory.h"

namespace ursa {
namespace {

using worker::v1::TaskAssignment;
using worker::v1::TaskFinished;

constexpr char kUsage[] =
    "ursa-task is started by ursa-worker.\n"
    "usage: ursa-task --dir DIR --fd N --task ID --rank R --epoch E [--fabric_address IP]\n"
    "       ursa-task --self_check --dir DIR\n";

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
      return RunEvaluation(agent, assignment.evaluate());
    case TaskAssignment::kPredict:
      return RunPrediction(agent, assignment.predict());
    case TaskAssignment::KIND_NOT_SET:
      break;
  }
  return absl::InternalError(absl::StrCat("task ", assignment.task_id(), ": assignment without a kind"));
}

absl::Status Run(int fd, const TaskPaths& paths) {
  URSA_RETURN_IF_ERROR(ArmFailpoints());
  URSA_RETURN_IF_ERROR(KeepMemoryInProcess());
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<AgentClient> agent, AgentClient::Connect(fd));
  URSA_ASSIGN_OR_RETURN(const TaskAssignment assignment, agent->GetAssignment());
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

// Before slots are offered: that this program, with all its libraries, starts here.
int SelfCheck() {
  const absl::Status status = KeepMemoryInProcess();
  if (status.ok()) std::printf("ursa-task starts\n");
  if (!status.ok()) std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
  std::fflush(stdout);
  ::_exit(status.ok() ? 0 : 1);
}

int Main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--self_check") == 0) return SelfCheck();
  std::map<std::string, std::string> flags;
  for (int i = 1; i + 1 < argc; i += 2) flags[argv[i]] = argv[i + 1];
  const auto fd = flags.find("--fd");
  if (fd == flags.end() || argc % 2 == 0) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  TaskPaths paths;
  paths.executable_folder = ExecutableFolder();
  if (const auto address = flags.find("--fabric_address"); address != flags.end())
    paths.fabric_address = address->second;
  const absl::Status status = Run(std::atoi(fd->second.c_str()), paths);
  std::fflush(stdout);
  // Torch's and Gloo's threads may still wait for a peer that has gone: all is reported, so leave without their
  // consent.
  ::_exit(status.ok() ? 0 : 1);
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) { return ursa::Main(argc, argv); }
