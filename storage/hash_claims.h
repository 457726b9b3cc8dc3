// Mutual exclusion by content hash.
#ifndef URSA_STORAGE_HASH_CLAIMS_H_
#define URSA_STORAGE_HASH_CLAIMS_H_

#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace ursa {

// Hashes whose stored state one thread is looking at and changing, while the disk works and no mutex is held.
// Thread-safe.
class HashClaims {
 public:
  // Holds claims on `hashes` from construction, which waits until nobody else has one of them, to destruction. All are
  // taken at once, so that two threads cannot wait for each other.
  class Claim {
   public:
    Claim(HashClaims* claims, std::set<std::string> hashes);
    ~Claim();
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;

   private:
    HashClaims* const claims_;
    const std::set<std::string> hashes_;
  };

 private:
  absl::Mutex mu_;
  std::set<std::string> claimed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ursa

#endif  // URSA_STORAGE_HASH_CLAIMS_H_
