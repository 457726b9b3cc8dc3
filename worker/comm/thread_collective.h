// The fake Collective: ranks are threads of one process, sums are real.
#ifndef URSA_WORKER_COMM_THREAD_COLLECTIVE_H_
#define URSA_WORKER_COMM_THREAD_COLLECTIVE_H_

#include <memory>
#include <vector>

#include "worker/comm/collective.h"

namespace ursa {

// One Collective per rank; each is used by that rank's thread, and the group lives as long as any of them. Sums are
// taken in rank order. A rank whose Collective is destroyed counts as dead: calls of the others fail.
std::vector<std::unique_ptr<Collective>> MakeThreadCollectives(int world_size);

}  // namespace ursa

#endif  // URSA_WORKER_COMM_THREAD_COLLECTIVE_H_
