// How the ranks of a group that was formed (anew) come to stand at the same place: one of them has the state that all
// go on from.
#ifndef URSA_WORKER_TRAIN_GROUP_SYNC_H_
#define URSA_WORKER_TRAIN_GROUP_SYNC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/comm/collective.h"

namespace ursa {

// What a rank brings.
struct RankStanding {
  bool has_state = false;  // false: it was started to take the place of one that died
  int64_t step = 0;        // optimizer steps done
  int64_t epoch = 0;       // epochs ended

  friend bool operator==(const RankStanding& a, const RankStanding& b) {
    return a.has_state == b.has_state && a.step == b.step && a.epoch == b.epoch;
  }
};

// The rank whose state all go on from: one with the most steps; of these one that has ended fewer epochs, as the end of
// an epoch can be done again and is then done by all; of these the lowest. -1: none has a state.
int ChooseLeader(const std::vector<RankStanding>& ranks);

// Every rank's standing, by rank. UNAVAILABLE: a peer died.
absl::StatusOr<std::vector<RankStanding>> ExchangeStandings(Collective* collective, const RankStanding& own);

// Gives the leader's texts to all ranks; the others' must be as many, and are replaced.
absl::Status ShareTexts(Collective* collective, int leader, std::vector<std::string>* texts);

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_GROUP_SYNC_H_
