// What the machines of a pool offer to a new experiment.
#ifndef URSA_COORDINATOR_CORE_POOL_OFFER_H_
#define URSA_COORDINATOR_CORE_POOL_OFFER_H_

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/core/environment.h"
#include "experiments/spec.h"

namespace ursa {

// The workers of the pool that are not lost: those with GPUs if there are any, and of these the weakest counts. A
// context without dataset and version. FAILED_PRECONDITION: the pool has no worker, and other pools have.
absl::StatusOr<ResolveContext> DescribePool(const Tx& tx, const std::string& pool);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_POOL_OFFER_H_
