// The allocator's settings for a process that holds a State.
#ifndef URSA_COORDINATOR_COMMIT_HEAP_H_
#define URSA_COORDINATOR_COMMIT_HEAP_H_

#include "absl/status/status.h"

namespace ursa {

// Lets heaps grow by large steps: a State is hundreds of megabytes in small pieces, and each page that a thread's heap
// grows by itself is a system call which holds up the page faults of all threads. To be called first in main(), before
// other threads start. The price: the process keeps up to 64 MiB of freed memory for each heap (about one a thread).
// INTERNAL if the allocator refuses.
absl::Status GrowHeapByLargeSteps();

}  // namespace ursa

#endif  // URSA_COORDINATOR_COMMIT_HEAP_H_
