// What the machines of a pool offer to a new experiment.
#ifndef URSA_COORDINATOR_CORE_POOL_OFFER_H_
#define URSA_COORDINATOR_CORE_POOL_OFFER_H_

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "coordinator/core/environment.h"
#include "experiments/spec.h"

namespace ursa {

// Of an elastic pool what is said of it. Else the workers of the pool that are not lost: those with GPUs if there are
// any, and of these the weakest counts. A context without dataset and version. FAILED_PRECONDITION: the pool has no
// worker, and other pools have.
absl::StatusOr<ResolveContext> DescribePool(const Tx& tx, const CoordinatorOptions& options, const std::string& pool);

// "gpu=cuda:16x4:32:avx2,batch=cpu:8x2:8": by name the kind of slots, the workers that it may have at most, the slots
// and the cores of each, and the instruction set that each has (default x86-64-v2). INVALID_ARGUMENT.
absl::StatusOr<std::map<std::string, ElasticPool>> ParseElasticPools(std::string_view text);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_POOL_OFFER_H_
