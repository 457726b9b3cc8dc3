// Where a crash of a task is interesting (base/failpoint.h).
#ifndef URSA_WORKER_TASK_FAILPOINTS_H_
#define URSA_WORKER_TASK_FAILPOINTS_H_

#include "base/failpoint.h"

namespace ursa::failpoints {

inline Failpoint task_assigned("task.assigned");
inline Failpoint task_before_finished("task.before_finished");  // the work is done, nobody knows
inline Failpoint task_finished("task.finished");                // the agent knows
inline Failpoint ingest_checked("task.ingest.checked");
inline Failpoint ingest_reported("task.ingest.reported");
inline Failpoint rendezvous_before("task.rendezvous.before");
inline Failpoint rendezvous_done("task.rendezvous.done");
inline Failpoint training_restored("task.training.restored");      // from a checkpoint
inline Failpoint checkpoint_written("task.checkpoint.written");    // in the agent's cache, not reported
inline Failpoint checkpoint_reported("task.checkpoint.reported");  // to the agent

}  // namespace ursa::failpoints

#endif  // URSA_WORKER_TASK_FAILPOINTS_H_
