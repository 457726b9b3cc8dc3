// A process that keeps one model version loaded and answers pictures until it is told to stop.
#ifndef URSA_WORKER_SERVE_PREDICTION_TASK_H_
#define URSA_WORKER_SERVE_PREDICTION_TASK_H_

#include "absl/status/statusor.h"
#include "ursa/worker/v1/task.pb.h"
#include "worker/agent_client/agent_client.h"

namespace ursa {

// Answers each PredictInput by a PredictOutput with the same call id, in the order they come. Ends with OUTCOME_STOPPED
// when told to; calls that came before are answered first.
absl::StatusOr<worker::v1::TaskFinished> RunPrediction(AgentClient* agent,
                                                       const worker::v1::PredictAssignment& predict);

}  // namespace ursa

#endif  // URSA_WORKER_SERVE_PREDICTION_TASK_H_
