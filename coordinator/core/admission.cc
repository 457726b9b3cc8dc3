#include "coordinator/core/admission.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/digest.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/core/paging.h"
#include "experiments/labels.h"
#include "experiments/resource_names.h"

namespace ursa {
namespace {

constexpr char kInvitePrefix[] = "invite-";
constexpr char kCredentialPrefix[] = "worker-";
constexpr int kListPageSizeMax = 1000;
constexpr absl::Duration kValidMin = absl::Minutes(1);
constexpr absl::Duration kValidMax = absl::Hours(24 * 30);

std::string Name(int64_t worker_id) { return WorkerId(worker_id).ToString(); }

bool IsInvite(const records::TokenRecord& token) {
  return std::find(token.permissions().begin(), token.permissions().end(), v1::PERMISSION_JOIN) !=
         token.permissions().end();
}

v1::WorkerInvite ToProto(const records::TokenRecord& token) {
  v1::WorkerInvite invite;
  invite.set_id(token.name());
  *invite.mutable_create_time() = token.create_time();
  *invite.mutable_expire_time() = token.expire_time();
  invite.set_pool(token.pool());
  *invite.mutable_labels() = token.labels();
  if (token.worker_id() != 0) invite.set_worker_id(Name(token.worker_id()));
  return invite;
}

absl::Status CheckHash(std::string_view field, const std::string& hash) {
  if (IsDigestHex(hash)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(field), ": is no SHA-256 hash, which is ", kDigestHexLength, " lower-case hex digits"));
}

absl::Status CheckInvite(const v1::InviteWorkerRequest& request) {
  URSA_RETURN_IF_ERROR(CheckHash("token_hash", request.token_hash()));
  if (!request.pool().empty()) URSA_RETURN_IF_ERROR(CheckName("pool", request.pool()));
  URSA_RETURN_IF_ERROR(CheckLabels(request.labels()));
  const absl::Duration valid = absl::Seconds(request.valid_seconds());
  if (valid >= kValidMin && valid <= kValidMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("invitation: valid for ", absl::FormatDuration(valid),
                                                 "; allowed: ", absl::FormatDuration(kValidMin), " to ",
                                                 absl::FormatDuration(kValidMax)));
}

}  // namespace

std::string CredentialName(int64_t worker_id) { return absl::StrCat(kCredentialPrefix, Name(worker_id)); }

absl::Status CheckSpeaker(const std::string& actor, const records::TokenRecord* token, int64_t worker_id,
                          const records::WorkerRecord* known) {
  if (token == nullptr && absl::StartsWith(actor, kCredentialPrefix)) {
    return absl::PermissionDeniedError(absl::StrCat("token ", actor, ": has been revoked"));
  }
  const int64_t owner = token == nullptr ? 0 : token->worker_id();
  if (owner != 0 && worker_id != 0 && worker_id != owner) {
    return absl::PermissionDeniedError(
        absl::StrCat("worker ", Name(worker_id), ": cannot connect, the credential is that of ", Name(owner)));
  }
  if (owner == 0 && known != nullptr && known->joined()) {
    return absl::PermissionDeniedError(
        absl::StrCat("worker ", Name(worker_id), ": cannot connect, it has a credential of its own to show"));
  }
  return absl::OkStatus();
}

absl::Status ApplyGrant(const records::TokenRecord& token, worker::v1::Hello* hello) {
  if (!token.pool().empty()) {
    if (!hello->pool().empty() && hello->pool() != token.pool()) {
      return absl::PermissionDeniedError(
          absl::StrCat("hello: pool \"", hello->pool(), "\", its invitation is for \"", token.pool(), "\""));
    }
    hello->set_pool(token.pool());
  }
  const absl::Status merged = MergeLabels(token.labels(), hello->mutable_labels());
  if (merged.ok()) return merged;
  return absl::PermissionDeniedError(absl::StrCat("hello: with those of its invitation: ", merged.message()));
}

absl::Status CheckExpiry(const records::TokenRecord& token, absl::Time now) {
  if (!token.has_expire_time() || token.worker_id() != 0 || now < FromTimestamp(token.expire_time())) {
    return absl::OkStatus();
  }
  return absl::UnauthenticatedError(absl::StrCat("token ", token.name(), ": has expired (hint: ursa worker invite)"));
}

absl::StatusOr<v1::WorkerInvite> Admission::Invite(Tx& tx, const Caller& caller,
                                                   const v1::InviteWorkerRequest& request) const {
  URSA_RETURN_IF_ERROR(CheckInvite(request));
  if (tx.state().FindToken(request.token_hash()) != nullptr) {
    return absl::AlreadyExistsError("token_hash: that token is known (hint: draw a new one)");
  }
  const auto& tokens = tx.state().All<records::TokenRecord>();
  const auto num_open = std::count_if(tokens.begin(), tokens.end(), [](const auto& entry) {
    return IsInvite(entry.second) && entry.second.worker_id() == 0;
  });
  if (num_open >= env_.options.open_invites_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cluster: has ", num_open, " open invitations, at most ", env_.options.open_invites_max));
  }
  records::TokenRecord token;
  token.set_name(absl::StrCat(kInvitePrefix, TakeNumber(tx, "invite")));
  token.set_hash(request.token_hash());
  token.add_permissions(v1::PERMISSION_JOIN);
  const absl::Time now = env_.clock->Now();
  *token.mutable_create_time() = ToTimestamp(now);
  *token.mutable_expire_time() = ToTimestamp(now + absl::Seconds(request.valid_seconds()));
  token.set_pool(request.pool());
  *token.mutable_labels() = request.labels();
  SortLabels(token.mutable_labels());
  const v1::WorkerInvite invite = ToProto(token);
  const std::string details = absl::StrCat(token.pool().empty() ? "" : absl::StrCat("pool=", token.pool(), " "),
                                           absl::StrJoin(LabelTexts(token.labels()), " "));
  const std::string resource = absl::StrCat("tokens/", token.name());
  tx.Apply(
      std::move(Mutation().Put(std::move(token)).Audit(AuditEvent(env_, caller, "worker.invite", resource, details))));
  return invite;
}

absl::StatusOr<v1::ListWorkerInvitesResponse> Admission::List(const Tx& tx,
                                                              const v1::ListWorkerInvitesRequest& request) const {
  URSA_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size(), kListPageSizeMax, kListPageSizeMax));
  const std::string& after = request.page_token();
  if (!after.empty() && !absl::StartsWith(after, kInvitePrefix)) return BadPageToken(after);
  v1::ListWorkerInvitesResponse response;
  int64_t num_bytes = 0;
  const auto& tokens = tx.state().All<records::TokenRecord>();
  for (auto it = after.empty() ? tokens.lower_bound(kInvitePrefix) : tokens.upper_bound(after);
       it != tokens.end() && absl::StartsWith(it->first, kInvitePrefix); ++it) {
    const v1::WorkerInvite invite = ToProto(it->second);
    num_bytes += static_cast<int64_t>(invite.ByteSizeLong());
    const bool is_full = response.invites_size() > 0 && num_bytes > env_.options.page_bytes_max;
    if (response.invites_size() == page_size || is_full) {
      response.set_next_page_token(response.invites(response.invites_size() - 1).id());
      break;
    }
    *response.add_invites() = invite;
  }
  return response;
}

absl::StatusOr<v1::WorkerInvite> Admission::Revoke(Tx& tx, const Caller& caller,
                                                   const v1::RevokeWorkerInviteRequest& request) const {
  if (!absl::StartsWith(request.id(), kInvitePrefix)) {
    return absl::InvalidArgumentError(
        absl::StrCat("invitation \"", request.id(), "\": is no id of one (hint: ", kInvitePrefix, "7)"));
  }
  const auto* token = tx.state().Find<records::TokenRecord>(request.id());
  if (token == nullptr) return absl::NotFoundError(absl::StrCat("invitation ", request.id(), ": not found"));
  if (token->worker_id() != 0) {
    const std::string worker = Name(token->worker_id());
    return absl::FailedPreconditionError(absl::StrCat("invitation ", token->name(), ": cannot be revoked, worker ",
                                                      worker, " has joined with it (hint: ursa worker remove ", worker,
                                                      ")"));
  }
  const v1::WorkerInvite invite = ToProto(*token);
  URSA_LOG(INFO) << "token=" << invite.id() << " ->REVOKED by " << caller.actor;
  tx.Apply(std::move(
      Mutation()
          .Delete<records::TokenRecord>(invite.id())
          .Audit(AuditEvent(env_, caller, "worker.revoke-invite", absl::StrCat("tokens/", invite.id()), ""))));
  return invite;
}

absl::StatusOr<worker::v1::JoinResponse> Admission::Join(Tx& tx, const Caller& caller,
                                                         const worker::v1::JoinRequest& request) const {
  URSA_RETURN_IF_ERROR(CheckHash("credential_hash", request.credential_hash()));
  const auto* found = tx.state().Find<records::TokenRecord>(caller.actor);
  if (found == nullptr || !IsInvite(*found)) return absl::UnauthenticatedError("token: is not valid");
  URSA_RETURN_IF_ERROR(CheckExpiry(*found, env_.clock->Now()));
  worker::v1::JoinResponse response;
  if (found->worker_id() != 0) {
    if (found->credential_hash() != request.credential_hash()) {
      return absl::FailedPreconditionError(absl::StrCat("token ", found->name(), ": cannot be used, worker ",
                                                        Name(found->worker_id()),
                                                        " has joined with it (hint: ursa worker invite)"));
    }
    response.set_worker_id(Name(found->worker_id()));
    return response;
  }
  if (tx.state().FindToken(request.credential_hash()) != nullptr) {
    return absl::InvalidArgumentError("credential_hash: is that of another token");
  }
  const auto num_workers = static_cast<int64_t>(tx.state().All<records::WorkerRecord>().size());
  if (num_workers >= env_.options.num_workers_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cluster: has ", num_workers, " workers, at most ", env_.options.num_workers_max));
  }
  records::TokenRecord invite = *found;
  const int64_t worker_id = TakeNumber(tx, "worker");
  invite.set_worker_id(worker_id);
  invite.set_credential_hash(request.credential_hash());
  records::TokenRecord credential;
  credential.set_name(CredentialName(worker_id));
  credential.set_hash(request.credential_hash());
  credential.add_permissions(v1::PERMISSION_WORKER);
  *credential.mutable_create_time() = ToTimestamp(env_.clock->Now());
  credential.set_worker_id(worker_id);
  credential.set_pool(invite.pool());
  *credential.mutable_labels() = invite.labels();
  URSA_LOG(INFO) << "worker=" << Name(worker_id) << " ->JOINED token=" << invite.name();
  tx.Apply(std::move(Mutation()
                         .Put(std::move(invite))
                         .Put(std::move(credential))
                         .Audit(AuditEvent(env_, caller, "worker.join", IdName("workers", 'w', worker_id), ""))));
  response.set_worker_id(Name(worker_id));
  return response;
}

void Admission::Tick(Tx& tx) const {
  const absl::Time now = env_.clock->Now();
  Mutation mutation;
  const auto& tokens = tx.state().All<records::TokenRecord>();
  for (auto it = tokens.lower_bound(kInvitePrefix); it != tokens.end() && absl::StartsWith(it->first, kInvitePrefix);
       ++it) {
    const absl::Duration kept = it->second.worker_id() == 0 ? absl::ZeroDuration() : env_.options.request_age_max;
    if (now >= FromTimestamp(it->second.expire_time()) + kept) mutation.Delete<records::TokenRecord>(it->first);
  }
  if (!mutation.empty()) tx.Apply(std::move(mutation));
}

}  // namespace ursa
