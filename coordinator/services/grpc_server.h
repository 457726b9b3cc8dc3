// The gRPC server: all services behind one authenticator.
#ifndef URSA_COORDINATOR_SERVICES_GRPC_SERVER_H_
#define URSA_COORDINATOR_SERVICES_GRPC_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ursa {

class Coordinator;
class Executor;

struct GrpcServerOptions {
  std::string listen = "127.0.0.1:0";  // HOST:PORT; port 0 picks one
  // PEM; both or neither. Without them only a loopback address is served.
  std::string tls_certificate;
  std::string tls_key;

  int message_bytes_max = 80 << 20;  // received; a prediction call brings a whole picture
  int metadata_bytes_max = 16 << 10;
  int concurrent_streams_max = 1024;                     // of one connection: workers may share one through a proxy
  absl::Duration keepalive_time = absl::Seconds(20);     // after which a silent connection is probed
  absl::Duration keepalive_timeout = absl::Seconds(10);  // for the answer
  absl::Duration min_ping_interval = absl::Seconds(1);   // clients that probe more often are cut off
};

// Answers calls until destroyed. Every call but those of grpc.health.v1 needs a token ("authorization: Bearer TOKEN")
// that allows it; what has no permission option is refused. Reflection needs any token.
class GrpcServer {
 public:
  // Errors: INVALID_ARGUMENT (address; certificate or key cannot be used), FAILED_PRECONDITION (not loopback without
  // TLS; the port is in use), INTERNAL (an RPC without a permission).
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(Coordinator* coordinator, Executor* blob_executor,
                                                           const GrpcServerOptions& options);
  virtual ~GrpcServer() = default;

  // "127.0.0.1:41234": as bound.
  virtual const std::string& address() const = 0;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SERVICES_GRPC_SERVER_H_
