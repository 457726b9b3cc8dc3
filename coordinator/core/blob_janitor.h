// Deletes blobs that nothing refers to any more.
#ifndef URSA_COORDINATOR_CORE_BLOB_JANITOR_H_
#define URSA_COORDINATOR_CORE_BLOB_JANITOR_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/core/environment.h"

namespace ursa {

// Of the blobs that State refers to itself (checkpoints, lists, manifests); pictures belong to manifests and are never
// touched. A blob that lost its last reference is marked (GarbageRecord, in the same mutation) and deleted after a
// while, unless something refers to it again or somebody asked for it meanwhile: who is told "it is here" has time to
// name it. Who was told so by an earlier process gets that time anew from the start of this one, and likewise after a
// time in which it stood still. Guarded by the coordinator's lock: methods take a transaction, or take it themselves.
class BlobJanitor {
 public:
  // Keeps blobs while somebody looks at them or stores them, and then long enough for them to be named. Its end takes
  // the coordinator's lock.
  class Hold {
   public:
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    friend class BlobJanitor;
    Hold(BlobJanitor* janitor, std::vector<std::string> hashes) : janitor_(*janitor), hashes_(std::move(hashes)) {}
    BlobJanitor& janitor_;
    const std::vector<std::string> hashes_;
  };

  explicit BlobJanitor(const Environment* env) : env_(*env) {}

  // Once, at the start.
  void Restore(Tx& tx);

  // To be asked by whoever is about to refer to blobs that State may not refer to yet. Null: one of them is being
  // deleted just now, and `again` is called on the executor when that is over. Takes the lock itself.
  std::unique_ptr<Hold> TryHold(std::vector<std::string> hashes, std::function<void()> again);

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
  absl::Time begin_;  // nothing is deleted before
  absl::Time last_tick_;
  std::map<std::string, absl::Time> touched_;
  std::map<std::string, int> holds_;  // how many there are of each
  std::set<std::string> deleting_;
  std::vector<std::function<void()>> waiters_;  // for the end of the deletion
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_BLOB_JANITOR_H_
