// How machines become workers: invitations, and which token speaks for which worker.
//
//   admin                      coordinator                          worker
//     |--1 InviteWorker(hash)---->|                                    |
//     |-----------2 the token, by hand or by file--------------------->|
//     |                           |<--3 Join(token; hash of credential)|
//     |                           |---- its id ----------------------->|
//     |                           |<--4 Connect(credential) -----------|  from now on nothing else
//
// Between 1 and 3 the invitation is open: it can be listed, and revoked.
//
// Whoever will use a secret has drawn it: the coordinator gets SHA-256 hashes only, so that no record and no kept
// answer holds a secret, and 1 and 3 may be asked again.
#ifndef URSA_COORDINATOR_CORE_ADMISSION_H_
#define URSA_COORDINATOR_CORE_ADMISSION_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/environment.h"
#include "ursa/v1/cluster.pb.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa {

// The name of a worker's credential among the tokens: "worker-w3".
std::string CredentialName(int64_t worker_id);

// Whether a stream that was opened with the token `actor`, of which `token` is known now (null: nothing any more), may
// speak for the worker of that id (0: a new one). PERMISSION_DENIED: the credential is another worker's, or has been
// revoked since; or only its own credential speaks for that worker.
absl::Status CheckSpeaker(const std::string& actor, const records::TokenRecord* token, int64_t worker_id,
                          const records::WorkerRecord* known);

// Puts what the invitation said of the worker into its hello. PERMISSION_DENIED: hello says something else.
absl::Status ApplyGrant(const records::TokenRecord& token, worker::v1::Hello* hello);

// What a token says of time: UNAUTHENTICATED when it has expired. A one-time token that has been used stays good for
// whoever used it, so that an answer that was lost can be asked for again.
absl::Status CheckExpiry(const records::TokenRecord& token, absl::Time now);

// Makes invitations, and workers out of them. All that it knows is in the token records. Guarded by the coordinator's
// lock: every method takes a transaction.
class Admission {
 public:
  explicit Admission(const Environment* env) : env_(*env) {}

  // ClusterService.InviteWorker, ListWorkerInvites, RevokeWorkerInvite.
  absl::StatusOr<v1::WorkerInvite> Invite(Tx& tx, const Caller& caller, const v1::InviteWorkerRequest& request) const;
  absl::StatusOr<v1::ListWorkerInvitesResponse> List(const Tx& tx, const v1::ListWorkerInvitesRequest& request) const;
  absl::StatusOr<v1::WorkerInvite> Revoke(Tx& tx, const Caller& caller,
                                          const v1::RevokeWorkerInviteRequest& request) const;
  // WorkerService.Join. The caller is the one-time token.
  absl::StatusOr<worker::v1::JoinResponse> Join(Tx& tx, const Caller& caller,
                                                const worker::v1::JoinRequest& request) const;

  // Drops invitations whose time is over: unused ones at once, the others when nobody asks about them any more.
  void Tick(Tx& tx) const;

 private:
  const Environment& env_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_ADMISSION_H_
