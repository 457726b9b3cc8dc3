// Deletes blobs that nothing refers to any more.
#ifndef URSA_COORDINATOR_CORE_BLOB_JANITOR_H_
#define URSA_COORDINATOR_CORE_BLOB_JANITOR_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/core/environment.h"

namespace ursa {

// Of the blobs that State refers to itself (checkpoints, lists, manifests); pictures belong to manifests and are never
// touched. A blob that lost its last reference is marked (GarbageRecord, in the same mutation) and deleted after a
// while, unless something refers to it again or somebody asked for it meanwhile: who is told "it is here" has time to
// name it. Guarded by the coordinator's lock.
class BlobJanitor {
 public:
  explicit BlobJanitor(const Environment* env) : env_(*env) {}

  // Marks what a mutation left without reference.
  void Mark(Tx& tx, const std::set<std::string>& hashes) const;
  // Somebody was told that these are stored: they stay for a while.
  void Touch(Tx&, const std::vector<std::string>& hashes);
  // Whether it is being deleted just now: then it does not count as stored.
  bool IsDeleting(const std::string& hash) const { return deleting_.count(hash) > 0; }
  // Starts deleting what is due, on the executor.
  void Tick(Tx& tx);

 private:
  const Environment& env_;
  std::map<std::string, absl::Time> touched_;
  std::set<std::string> deleting_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_BLOB_JANITOR_H_
