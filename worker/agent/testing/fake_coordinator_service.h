#ifndef URSA_WORKER_AGENT_TESTING_FAKE_COORDINATOR_SERVICE_H_
#define URSA_WORKER_AGENT_TESTING_FAKE_COORDINATOR_SERVICE_H_

#include <cstddef>
#include <memory>
#include <string>

#include "worker/agent/testing/fake_coordinator.h"

namespace ursa {

// FakeCoordinator behind a real gRPC server on the loopback interface.
class FakeCoordinatorServer {
 public:
  virtual ~FakeCoordinatorServer() = default;
  virtual std::string address() const = 0;  // "127.0.0.1:PORT"
  // Of how many connections calls have come.
  virtual size_t num_connections() const = 0;

  // `coordinator` is borrowed. Calls must carry `authorization: Bearer TOKEN`.
  static std::unique_ptr<FakeCoordinatorServer> Start(FakeCoordinator* coordinator, const std::string& token);
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_TESTING_FAKE_COORDINATOR_SERVICE_H_
