// The one place where absl::Status and grpc::Status are turned into each other. Codes have the same numbers.
#ifndef URSA_BASE_GRPC_STATUS_H_
#define URSA_BASE_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace ursa {

grpc::Status ToGrpcStatus(const absl::Status& status);
absl::Status FromGrpcStatus(const grpc::Status& status);

// Of a call that the caller did not cancel: whether the server is gone, so that it may be made again. CANCELLED is what
// a server that stops in good order gives to calls under way.
bool IsServerGone(const grpc::Status& status);

}  // namespace ursa

#endif  // URSA_BASE_GRPC_STATUS_H_
