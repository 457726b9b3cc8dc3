// Memory and processor settings of a process that trains on the CPU.
#ifndef URSA_WORKER_TRAIN_MEMORY_H_
#define URSA_WORKER_TRAIN_MEMORY_H_

#include "absl/status/status.h"

namespace ursa {

// Keeps freed memory in the process, so that the activations of each step do not fault in fresh pages: that is half of
// an eager CPU training step. To be called first in main(), before other threads start and before large allocations.
// The price: the process keeps its peak memory until it ends. Numbers do not change. INTERNAL if the allocator refuses.
absl::Status KeepMemoryInProcess();

// Threads of this process's tensor operations, >= 1. To be called in main() before the first tensor operation. What the
// OpenMP library and the allocator read as they are loaded must be in the environment by then: whoever starts the
// process sets OMP_WAIT_POLICY=PASSIVE (waiting threads sleep: other ranks need the cores), and may set
// GLIBC_TUNABLES=glibc.malloc.hugetlb=1 (huge pages, where the system allows them: some 6 % faster).
void SetComputeThreads(int num_threads);

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_MEMORY_H_
