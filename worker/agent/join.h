// How this machine becomes a worker of a cluster.
#ifndef URSA_WORKER_AGENT_JOIN_H_
#define URSA_WORKER_AGENT_JOIN_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/backoff.h"

namespace ursa {

// The files of a membership, in the worker's own folder:
//   credential.new  drawn, and not yet known to have been accepted: a worker that was killed asks again with the same
//   worker.id       the id that the coordinator gave
//   worker.starts   how often an agent was started here
//   credential      accepted; the one thing that the worker shows from then on. Mode 0600, as credential.new
struct JoinFiles {
  explicit JoinFiles(const std::string& folder)
      : credential(folder + "/credential"),
        new_credential(folder + "/credential.new"),
        worker_id(folder + "/worker.id"),
        starts(folder + "/worker.starts") {}

  std::string credential;
  std::string new_credential;
  std::string worker_id;
  std::string starts;
};

struct JoinCalls {
  // One try: gives the worker's id. UNAVAILABLE is tried again.
  std::function<absl::StatusOr<std::string>(const std::string& credential_hash)> join;
  // Waits; false: the wait was interrupted, and so is the joining.
  std::function<bool(absl::Duration)> wait;
};

// Counts this start, durably. Errors: the file's, DATA_LOSS (no number is in it).
absl::StatusOr<int64_t> CountStart(const JoinFiles& files);

// Whether it has joined before.
bool HasJoined(const JoinFiles& files);

// Joins, unless that was done before. Errors: those of `join`, CANCELLED, the files'.
absl::Status JoinCluster(const JoinFiles& files, const JoinCalls& calls, Backoff* backoff);

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_JOIN_H_
