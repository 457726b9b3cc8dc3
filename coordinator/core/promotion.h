// What counts as evidence for a promotion. Pure.
#ifndef URSA_COORDINATOR_CORE_PROMOTION_H_
#define URSA_COORDINATOR_CORE_PROMOTION_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/state/state.h"

namespace ursa {

struct PromotionQuestion {
  std::string model;
  int64_t candidate = 0;
  int64_t champion = 0;    // 0: none
  std::string gates_hash;  // of the model's gates now
  std::string comparison;  // the one to judge by; empty: the latest that holds
};

// The id of the comparison that proves it ("c5"), or an empty text when a complete evaluation does because there is no
// champion. A comparison proves it if it is of this candidate with the present champion, under the model's gates of
// now, complete, and passed. Errors: FAILED_PRECONDITION (which of these is not so; verdict in words), NOT_FOUND (a
// comparison that was named), INVALID_ARGUMENT.
absl::StatusOr<std::string> FindEvidence(const State& state, const PromotionQuestion& question);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_PROMOTION_H_
