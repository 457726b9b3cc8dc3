#include "coordinator/core/access.h"

#include <google/protobuf/descriptor.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/status_macros.h"
#include "coordinator/core/admission.h"

namespace ursa {
namespace {

constexpr size_t kTokenBytesMax = 256;
constexpr std::string_view kBlobService = "ursa.v1.BlobService";

v1::Permission PermissionOf(const google::protobuf::MethodDescriptor& method) {
  return method.options().GetExtension(v1::permission);
}

}  // namespace

void Access::SetToken(const std::string& name, std::string_view token, const std::set<v1::Permission>& permissions) {
  Tx tx(env_.commit);
  records::TokenRecord record;
  record.set_name(name);
  record.set_hash(Sha256Hex(token));
  for (const v1::Permission permission : permissions) record.add_permissions(permission);
  const auto* known = tx.state().Find<records::TokenRecord>(name);
  if (known != nullptr && known->hash() == record.hash() &&
      std::equal(known->permissions().begin(), known->permissions().end(), record.permissions().begin(),
                 record.permissions().end())) {
    return;
  }
  *record.mutable_create_time() = ToTimestamp(env_.clock->Now());
  tx.Apply(std::move(
      Mutation().Put(std::move(record)).Audit(AuditEvent(env_, Caller{"system"}, "token.set", "tokens/" + name, ""))));
}

absl::StatusOr<Identity> Access::Authenticate(std::string_view token) const {
  if (token.empty() || token.size() > kTokenBytesMax) return absl::UnauthenticatedError("token: is not valid");
  const std::string hash = Sha256Hex(token);
  Tx tx(env_.commit);
  const records::TokenRecord* record = tx.state().FindToken(hash);
  if (record == nullptr) return absl::UnauthenticatedError("token: is not valid");
  URSA_RETURN_IF_ERROR(CheckExpiry(*record, env_.clock->Now()));
  Identity identity;
  identity.actor = record->name();
  for (const int permission : record->permissions()) {
    identity.permissions.insert(static_cast<v1::Permission>(permission));
  }
  return identity;
}

absl::Status Authorize(const Identity& identity, std::string_view path) {
  std::string name(path.substr(path.empty() ? 0 : 1));
  const size_t slash = name.find('/');
  const std::string service = name.substr(0, slash);
  if (slash != std::string::npos) name[slash] = '.';
  const auto* method = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
  if (method == nullptr) return absl::UnimplementedError(absl::StrCat("call ", std::string(path), ": is not known"));
  const v1::Permission needed = PermissionOf(*method);
  if (needed != v1::PERMISSION_UNSPECIFIED && identity.permissions.count(needed)) return absl::OkStatus();
  if (service == kBlobService && identity.permissions.count(v1::PERMISSION_WORKER)) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("call ", std::string(path), ": needs ", v1::Permission_Name(needed),
                                                  ", the token \"", identity.actor, "\" does not have it"));
}

absl::Status CheckPermissions(const std::set<std::string>& service_names) {
  for (const std::string& service_name : service_names) {
    const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(service_name);
    if (service == nullptr) return absl::InternalError(absl::StrCat("service ", service_name, ": has no descriptor"));
    for (int i = 0; i < service->method_count(); ++i) {
      if (PermissionOf(*service->method(i)) == v1::PERMISSION_UNSPECIFIED) {
        return absl::InternalError(
            absl::StrCat("call ", service->method(i)->full_name(), ": has no permission option"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace ursa
