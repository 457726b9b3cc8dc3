// How much may be started before a gang that waits for slots, without ever delaying it.
#ifndef URSA_COORDINATOR_SCHEDULING_BACKFILL_H_
#define URSA_COORDINATOR_SCHEDULING_BACKFILL_H_

#include <cstdint>

#include "coordinator/scheduling/size_counts.h"

namespace ursa {

// The least sum >= `least` (> 0) of some of the sizes; -1 if all together are less. Steps: about the number of
// different sizes times log(least) times least / 64.
int64_t LeastSumAtLeast(const SizeCounts& sizes, int64_t least);

// How many slots others may take before the head, which misses `num_missing` > 0 slots. `running` are the sizes of what
// runs: each gives its slots back at one time, which nobody knows. The head starts when what has come back first adds
// up to num_missing. If others take b slots, it has to add up to num_missing + b; that is at the same moment, in
// whatever order the gangs end, if and only if no sum of sizes lies in [num_missing, num_missing + b): so b may be at
// most the least sum >= num_missing, less num_missing. What is so started counts as running from then on, and the rest
// of the allowance stays the rest of the allowance. 0 when num_missing is over `missing_max`, for which it is not
// computed.
int64_t BackfillAllowance(const SizeCounts& running, int64_t num_missing, int64_t missing_max);

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_BACKFILL_H_
