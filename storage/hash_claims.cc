#include "storage/hash_claims.h"

#include <algorithm>
#include <utility>

namespace ursa {

HashClaims::Claim::Claim(HashClaims* claims, std::set<std::string> hashes)
    : claims_(claims), hashes_(std::move(hashes)) {
  const auto all_free = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(claims_->mu_) {
    return std::none_of(hashes_.begin(), hashes_.end(),
                        [this](const std::string& hash) { return claims_->claimed_.count(hash) > 0; });
  };
  absl::MutexLock lock(&claims_->mu_, absl::Condition(&all_free));
  claims_->claimed_.insert(hashes_.begin(), hashes_.end());
}

HashClaims::Claim::~Claim() {
  absl::MutexLock lock(&claims_->mu_);
  for (const std::string& hash : hashes_) claims_->claimed_.erase(hash);
}

}  // namespace ursa
