// Predicts the examples that the ledger lacks.
#ifndef URSA_WORKER_EVAL_EVALUATION_TASK_H_
#define URSA_WORKER_EVAL_EVALUATION_TASK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ursa/worker/v1/task.pb.h"
#include "worker/agent_client/agent_client.h"
#include "worker/eval/predictor.h"

namespace ursa {

// Brings the version's weights into the cache and loads them. Errors: of the agent and of Predictor::Create.
absl::StatusOr<std::unique_ptr<Predictor>> LoadPredictor(AgentClient* agent, const worker::v1::ModelRef& model,
                                                         at::Device device = at::Device(at::kCPU));

// Reports the logits of every example of the assignment, each once, computed on its device (of kind cuda by way of the
// plug-in at `cuda_plugin`). A picture that cannot be read ends it with OUTCOME_USER_ERROR naming the example.
absl::StatusOr<worker::v1::TaskFinished> RunEvaluation(AgentClient* agent, const worker::v1::TaskAssignment& assignment,
                                                       const std::string& cuda_plugin);

}  // namespace ursa

#endif  // URSA_WORKER_EVAL_EVALUATION_TASK_H_
