// Memory and processor settings of a process that trains on the CPU.
#ifndef URSA_WORKER_TRAIN_MEMORY_H_
#define URSA_WORKER_TRAIN_MEMORY_H_

#include "absl/status/status.h"

namespace ursa {

// Keeps freed memory in the process, so that the activations of each step do not fault in fresh pages: that is half of
// an eager CPU training step. To be called first in main(), before other threads start and before large allocations.
// The price: the process keeps its peak memory until it ends. Numbers do not change. INTERNAL if the allocator refuses.
absl::Status KeepMemoryInProcess();

// Threads of this process's tensor operations, >= 1; waiting ones sleep instead of spinning, as other ranks need the
// cores. To be called in main() before the first tensor operation.
void SetComputeThreads(int num_threads);

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_MEMORY_H_
