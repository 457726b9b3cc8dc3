// Tokens: who may call what.
#ifndef URSA_COORDINATOR_CORE_ACCESS_H_
#define URSA_COORDINATOR_CORE_ACCESS_H_

#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/environment.h"
#include "ursa/v1/annotations.pb.h"

namespace ursa {

// A token's name and what it allows.
struct Identity {
  std::string actor;
  std::set<v1::Permission> permissions;
};

// Stores tokens hashed (SHA-256; they are random, so that is enough). Thread-safe.
class Access {
 public:
  explicit Access(const Environment* env) : env_(*env) {}

  // Makes `token` the one of that name, with those permissions. What it was before no longer works.
  void SetToken(const std::string& name, std::string_view token, const std::set<v1::Permission>& permissions);

  // Whose token it is. UNAUTHENTICATED: nobody's, or its time is over.
  absl::StatusOr<Identity> Authenticate(std::string_view token) const;

 private:
  const Environment& env_;
};

// Whether `identity` may call the RPC `path` ("/ursa.v1.BlobService/UploadBlobs") by its permission option. A worker
// may also call BlobService, which its agent needs. Errors: PERMISSION_DENIED, UNIMPLEMENTED (no such RPC).
absl::Status Authorize(const Identity& identity, std::string_view path);

// Whether each RPC of the services has a permission. `service_names` as "ursa.v1.BlobService". INTERNAL: names the one
// that has none; or an unknown service.
absl::Status CheckPermissions(const std::set<std::string>& service_names);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_ACCESS_H_
