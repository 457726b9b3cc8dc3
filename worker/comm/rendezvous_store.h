// Where ranks find each other: a small key-value store that all ranks of one job and epoch share.
#ifndef URSA_WORKER_COMM_RENDEZVOUS_STORE_H_
#define URSA_WORKER_COMM_RENDEZVOUS_STORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ursa {

// Keys and values are bytes. Safe for use by many threads. Errors of all calls: UNAVAILABLE when the store is out of
// reach; DEADLINE_EXCEEDED when a key did not come in time.
class RendezvousStore {
 public:
  virtual ~RendezvousStore() = default;

  virtual absl::Status Set(const std::string& key, const std::string& value) = 0;

  // The key's value; waits up to `timeout` for it to be set.
  virtual absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) = 0;

  // Adds to the integer under `key` (0 before the first; kept as decimal text) and returns the sum.
  virtual absl::StatusOr<int64_t> Add(const std::string& key, int64_t delta) = 0;

  // Whether all `keys` are set now.
  virtual absl::StatusOr<bool> Check(const std::vector<std::string>& keys) = 0;

  // Waits up to `timeout` until all `keys` are set.
  virtual absl::Status Wait(const std::vector<std::string>& keys, absl::Duration timeout) = 0;

  // Removes the key; returns whether it was there.
  virtual absl::StatusOr<bool> Delete(const std::string& key) = 0;
};

}  // namespace ursa

#endif  // URSA_WORKER_COMM_RENDEZVOUS_STORE_H_
