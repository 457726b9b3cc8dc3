// Which waiting gangs of a pool start now, where, and which running ones give way. A pure function of the pool's value
// and the time.
#ifndef URSA_COORDINATOR_SCHEDULING_POLICY_H_
#define URSA_COORDINATOR_SCHEDULING_POLICY_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/scheduling/gang.h"
#include "coordinator/scheduling/pool.h"

namespace ursa {

struct GangStart {
  GangId id;
  std::vector<RankPlace> ranks;  // by rank; ranks of one worker stand together
  // Its level in the queue, if aging had raised it, and until when no gang of that or a lower priority may preempt it.
  int32_t protected_level = 0;
  absl::Time protected_until = absl::InfinitePast();
};

// The victim is to checkpoint and end, and goes back to the queue; the other one gets its slots.
struct GangPreemption {
  GangId victim;
  GangId for_whom;
};

struct Decisions {
  std::vector<GangStart> starts;
  std::vector<GangPreemption> preemptions;
};

// The policy
//
// Order: as WaitingQueue has it. A gang is left out while its user, workspace or experiment is at its limit, and while
// it needs more than the usable workers have altogether: it blocks nobody.
//
// 1 In this order gangs start, each with all of its ranks or not at all. The first that does not fit is the head.
// 2 Preemption: if the head still misses slots after those of stopping gangs have come back, gangs of a strictly lower
//   priority (the recipe's, not the aged one) are stopped (victims.h): just enough of them, and none if even all of
//   them would not do. The head has a claim on what so comes free: until it has started, it stands first, except before
//   gangs of a strictly higher priority.
// 3 Backfill: later gangs start if that cannot delay the head, in whatever order the running gangs end (backfill.h).
//   Only slots that the head could use count: what is on workers with too low a SIMD level, or without the labels that
//   it asks for, is free for all.
//
// So: nothing that could start is left waiting but for a limit or for the head's sake; nothing waits for ever while
// gangs end (aging); a gang is preempted only for one of higher priority, which starts when the victims are gone.
//
// Assumptions: nobody knows how long a gang runs; a gang gives all its slots back at about the same time; a gang may be
// spread over any workers of its pool; slots are alike but for the SIMD level and the labels of their workers; the head
// is the head of this moment: when the order changes (a gang of higher priority comes, shares change), the promise of
// backfill is that of the new one. A gang that is queued again keeps its position, and its wait if its run was too
// short to count.
//
// Changes the pool by what was decided and appends the decisions; `started` gets the handles of those that start.
void SchedulePool(Pool* pool, absl::Time now, Decisions* decisions, std::vector<int32_t>* started);

// Since when a gang waits that had waited since `since`, ran from `start` to `now`, and is queued again.
absl::Time WaitsSince(const SchedulingOptions& options, absl::Time since, absl::Time start, absl::Time now);

// Who is to start next, whether it fits or not; Pool::kNone: nobody that could.
int32_t FirstInOrder(const Pool& pool);

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_POLICY_H_
