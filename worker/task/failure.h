// What a task says of its failure.
#ifndef URSA_WORKER_TASK_FAILURE_H_
#define URSA_WORKER_TASK_FAILURE_H_

#include "absl/status/status.h"
#include "ursa/worker/v1/task.pb.h"

namespace ursa {

// The status's text, and its cause if it carries one.
worker::v1::TaskFinished FinishedWith(worker::v1::TaskFinished::Outcome outcome, const absl::Status& status);

}  // namespace ursa

#endif  // URSA_WORKER_TASK_FAILURE_H_
