#include "coordinator/services/grpc_call_support.h"

#include "base/status_macros.h"
#include "coordinator/core/access.h"

namespace ursa {
namespace {

constexpr std::string_view kBearer = "Bearer ";

}  // namespace

absl::StatusOr<std::string_view> TokenOf(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  const auto sent = metadata.find("authorization");
  if (sent != metadata.end()) {
    const std::string_view value(sent->second.data(), sent->second.size());
    if (value.substr(0, kBearer.size()) == kBearer) return value.substr(kBearer.size());
  }
  return absl::UnauthenticatedError("token: none was sent");
}

absl::StatusOr<Caller> CallerOf(const Environment& env, const grpc::CallbackServerContext& context) {
  URSA_ASSIGN_OR_RETURN(const std::string_view token, TokenOf(context.client_metadata()));
  URSA_ASSIGN_OR_RETURN(Identity identity, Access(&env).Authenticate(token));
  return Caller{std::move(identity.actor)};
}

}  // namespace ursa
