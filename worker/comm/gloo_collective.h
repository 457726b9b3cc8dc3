// The Collective of CPU ranks: Gloo, through libtorch's c10d.
#ifndef URSA_WORKER_COMM_GLOO_COLLECTIVE_H_
#define URSA_WORKER_COMM_GLOO_COLLECTIVE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/collective.h"
#include "worker/comm/rendezvous_store.h"

namespace ursa {

struct GlooOptions {
  int rank = 0;
  int world_size = 1;                          // >= 1; rank < world_size
  std::string address = "127.0.0.1";           // of the interface that carries the ranks' traffic
  absl::Duration timeout = absl::Minutes(30);  // of one collective; a peer that died is noticed at once
  absl::Duration connect_timeout = absl::Minutes(2);
};

// Joins the group; returns once all ranks have. `store` is shared with the collective. Errors: INVALID_ARGUMENT,
// UNAVAILABLE (peers did not come in time, no such address).
absl::StatusOr<std::unique_ptr<Collective>> MakeGlooCollective(std::shared_ptr<RendezvousStore> store,
                                                               const GlooOptions& options);

}  // namespace ursa

#endif  // URSA_WORKER_COMM_GLOO_COLLECTIVE_H_
