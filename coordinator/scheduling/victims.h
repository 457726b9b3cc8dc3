// Which gangs give way to one of higher priority.
#ifndef URSA_COORDINATOR_SCHEDULING_VICTIMS_H_
#define URSA_COORDINATOR_SCHEDULING_VICTIMS_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/scheduling/gang.h"

namespace ursa {

struct VictimCandidate {
  GangId id;
  int32_t priority = 0;
  int64_t num_slots = 0;    // that its end would free for whoever preempts, > 0
  int64_t lost_millis = 0;  // slot-milliseconds of work since its last checkpoint
  absl::Time start;
};

// The candidates that should give way so that `num_missing` > 0 slots come free; none if all together have less. By
// index, ascending. None of them can be spared. In this order:
//   1 of the highest priority that must be touched at all, the least lost work; of equal losses the fewest gangs; of
//     equal numbers the fewest slots
//   2 with what is missing then, the same for the priorities below
//   3 among gangs of one size and equal loss, those that started last
// Exact for up to `exact_missing_max` missing slots of one priority: beyond, the gangs that lose the least for each
// slot are taken until it is enough, and those that can be spared are left out again.
std::vector<int32_t> ChooseVictims(const std::vector<VictimCandidate>& candidates, int64_t num_missing,
                                   int64_t exact_missing_max);

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_VICTIMS_H_
