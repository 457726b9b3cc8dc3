// Limits of two programs that have to fit each other.
#include <gtest/gtest.h>

#include "coordinator/core/environment.h"
#include "worker/agent/grpc_coordinator_link.h"

namespace ursa {
namespace {

// What an agent was told is stored, it may name later. The answer comes at the latest at the end of the call; what
// names the blob then waits for a stream, at most until the lease ends; and the coordinator may stand still for as long
// as BlobJanitor does not notice.
TEST(LimitsTest, ABlobStaysUntilNobodyCanNameItAnyMore) {
  const CoordinatorOptions coordinator;
  const GrpcCoordinatorLinkOptions agent;
  EXPECT_GT(coordinator.garbage_age, agent.short_call_limit + coordinator.lease + coordinator.garbage_age / 4);
}

TEST(LimitsTest, AConnectionThatIsNotMadeOrDeadIsNoticedWhileTheClusterWaits) {
  const CoordinatorOptions coordinator;
  const GrpcCoordinatorLinkOptions agent;
  EXPECT_LE(4 * coordinator.heartbeat, coordinator.lease) << "one late heartbeat must not lose a worker";
  EXPECT_LE(agent.connect_timeout, coordinator.lease);
  EXPECT_LT(agent.unacknowledged_max, coordinator.garbage_age);
}

}  // namespace
}  // namespace ursa
