// Which waiting gangs start now, and on which slots. A pure function.
#ifndef URSA_COORDINATOR_SCHEDULING_GANG_SCHEDULER_H_
#define URSA_COORDINATOR_SCHEDULING_GANG_SCHEDULER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ursa {

// A worker that may be given tasks: alive and not drained.
struct SchedulerWorker {
  int64_t id = 0;
  std::string kind;  // of its slots: cpu or cuda
  int32_t simd_level = 0;
  std::vector<int32_t> free_slots;  // ascending
};

// A gang that runs: how many of its ranks stand on workers of the list above. It will give them all back at one time,
// which nobody knows.
struct RunningGang {
  std::string kind;
  int32_t num_slots = 0;
};

struct WaitingGang {
  int64_t id = 0;
  std::string kind;
  int32_t simd_level = 0;  // of its workers, at least
  int32_t num_ranks = 1;
};

struct RankPlace {
  int64_t worker_id = 0;
  int32_t slot = 0;
  friend bool operator==(const RankPlace& a, const RankPlace& b) {
    return a.worker_id == b.worker_id && a.slot == b.slot;
  }
};

struct GangPlacement {
  int64_t gang_id = 0;
  std::vector<RankPlace> ranks;  // by rank; ranks of one worker stand together
};

// Gangs are started in the order given, each with all of its ranks or not at all. The first one of a kind that does not
// fit now but would if nothing ran is the head. A later gang of the same kind is started before it (backfill) only if
// that cannot delay the head, in whatever order the running gangs end: with d slots missing to the head, let s be the
// least sum >= d that some of the running gangs give back; a gang may take up to free + s - needed slots. What started
// as backfill counts as running from then on. Fit: the worker with the fewest free slots that holds the whole gang; if
// none does, the fewest workers, largest first.
std::vector<GangPlacement> ScheduleGangs(std::vector<SchedulerWorker> workers, const std::vector<RunningGang>& running,
                                         const std::vector<WaitingGang>& waiting);

// The order of instruction sets: x86-64-v2 < avx2 < avx512; -1 for another word.
int32_t SimdLevel(std::string_view simd);

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_GANG_SCHEDULER_H_
