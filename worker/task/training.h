// One rank of a training task.
#ifndef URSA_WORKER_TASK_TRAINING_H_
#define URSA_WORKER_TASK_TRAINING_H_

#include <string>

#include "absl/status/statusor.h"
#include "ursa/worker/v1/task.pb.h"
#include "worker/agent_client/agent_client.h"

namespace ursa {

struct TaskPaths {
  std::string executable_folder;             // of ursa-task, with the slash at its end
  std::string fabric_address = "127.0.0.1";  // of the interface that carries collectives

  // libursa_cuda.so of an installed program, else of one that was built here.
  std::string CudaPlugin() const;
};

// Trains as `assignment` says, from its checkpoint if it names one, and reports all through `agent`. Ends early with
// OUTCOME_STOPPED when told to. Errors that would come again however often the task is tried (a picture that cannot be
// read, a loss that is not finite) are OUTCOME_USER_ERROR; a status is returned for the others.
absl::StatusOr<worker::v1::TaskFinished> RunTraining(AgentClient* agent, const worker::v1::TaskAssignment& assignment,
                                                     const TaskPaths& paths);

}  // namespace ursa

#endif  // URSA_WORKER_TASK_TRAINING_H_
