// Where a crash of the coordinator is interesting beside a change's own way to the disk (base/failpoint.h): between
// what is done off the lock and the change that names it.
#ifndef URSA_COORDINATOR_CORE_FAILPOINTS_H_
#define URSA_COORDINATOR_CORE_FAILPOINTS_H_

#include "base/failpoint.h"

namespace ursa::failpoints {

inline Failpoint worker_hello_taken("coordinator.worker.hello_taken");  // and not answered
inline Failpoint report_blobs_found("coordinator.report.blobs_found");  // of checkpoints that are about to be recorded
inline Failpoint import_manifest_stored("coordinator.import.manifest_stored");  // named by no record
inline Failpoint evaluation_list_stored("coordinator.evaluation.list_stored");  // of examples to predict, the same
inline Failpoint evaluation_computed("coordinator.evaluation.computed");

}  // namespace ursa::failpoints

#endif  // URSA_COORDINATOR_CORE_FAILPOINTS_H_
