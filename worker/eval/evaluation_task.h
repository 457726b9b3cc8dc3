// Predicts the examples that the ledger lacks.
#ifndef URSA_WORKER_EVAL_EVALUATION_TASK_H_
#define URSA_WORKER_EVAL_EVALUATION_TASK_H_

#include <memory>

#include "absl/status/statusor.h"
#include "ursa/worker/v1/task.pb.h"
#include "worker/agent_client/agent_client.h"
#include "worker/eval/predictor.h"

namespace ursa {

// Brings the version's weights into the cache and loads them. Errors: of the agent and of Predictor::Create.
absl::StatusOr<std::unique_ptr<Predictor>> LoadPredictor(AgentClient* agent, const worker::v1::ModelRef& model);

// Reports the logits of every example of `evaluate`, each once. A picture that cannot be read ends it with
// OUTCOME_USER_ERROR naming the example.
absl::StatusOr<worker::v1::TaskFinished> RunEvaluation(AgentClient* agent,
                                                       const worker::v1::EvaluateAssignment& evaluate);

}  // namespace ursa

#endif  // URSA_WORKER_EVAL_EVALUATION_TASK_H_
