#ifndef URSA_WORKER_AGENT_GRPC_COORDINATOR_LINK_H_
#define URSA_WORKER_AGENT_GRPC_COORDINATOR_LINK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/agent/coordinator_link.h"

namespace ursa {

struct GrpcCoordinatorLinkOptions {
  // Where the coordinator is, as ParseServerAddress takes it; asked at each Connect(), because a restarted coordinator
  // may be elsewhere.
  std::function<absl::StatusOr<std::string>()> address;
  std::string token_file;                               // read at each Connect(); empty: no token is sent
  std::string ca_file;                                  // PEM certificates to trust with TLS; empty: the system's
  int message_bytes_max = 64 << 20;                     // received
  absl::Duration short_call_limit = absl::Seconds(30);  // of calls that answer at once
  // On connections that leave this machine, to notice a peer that vanished without a word: pings, how long an answer or
  // the receipt of what was sent may take, and how long a connection may take to be made.
  absl::Duration keepalive = absl::Seconds(30);
  absl::Duration unacknowledged_max = absl::Seconds(5);
  absl::Duration connect_timeout = absl::Seconds(3);
};

// WorkerService.Join with the one-time token in options.token_file: gives the worker's id. One try. Errors: as Join's;
// UNAVAILABLE (out of reach, or the address or the token cannot be read yet).
absl::StatusOr<std::string> JoinOnce(const GrpcCoordinatorLinkOptions& options, const std::string& credential_hash);

// The real link.
std::unique_ptr<CoordinatorLink> NewGrpcCoordinatorLink(GrpcCoordinatorLinkOptions options);

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_GRPC_COORDINATOR_LINK_H_
