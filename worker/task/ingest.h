// Decodes every file of an import and says which are pictures.
#ifndef URSA_WORKER_TASK_INGEST_H_
#define URSA_WORKER_TASK_INGEST_H_

#include "absl/status/statusor.h"
#include "ursa/worker/v1/task.pb.h"
#include "worker/agent_client/agent_client.h"

namespace ursa {

// Reports a verdict for each candidate, in order. What a hostile file does to this process is its own end alone: the
// coordinator tries again a few times, then the import ends in an error.
absl::StatusOr<worker::v1::TaskFinished> RunIngest(AgentClient* agent, const worker::v1::IngestAssignment& ingest);

}  // namespace ursa

#endif  // URSA_WORKER_TASK_INGEST_H_
