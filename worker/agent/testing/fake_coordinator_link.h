#ifndef URSA_WORKER_AGENT_TESTING_FAKE_COORDINATOR_LINK_H_
#define URSA_WORKER_AGENT_TESTING_FAKE_COORDINATOR_LINK_H_

#include <memory>

#include "worker/agent/coordinator_link.h"
#include "worker/agent/testing/fake_coordinator.h"

namespace ursa {

// The fake link: straight to `coordinator`, which is borrowed.
std::unique_ptr<CoordinatorLink> NewFakeCoordinatorLink(FakeCoordinator* coordinator);

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_TESTING_FAKE_COORDINATOR_LINK_H_
