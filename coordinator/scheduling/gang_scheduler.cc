#include "coordinator/scheduling/gang_scheduler.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace ursa {
namespace {

// Slots of one kind, as the queue of that kind sees them.
struct Pool {
  std::vector<SchedulerWorker*> workers;
  std::vector<int32_t> running;  // slots of each running gang
  bool has_head = false;         // a gang waits; what follows is backfill
  WaitingGang head;
};

bool CanHold(const SchedulerWorker& worker, const WaitingGang& gang) { return worker.simd_level >= gang.simd_level; }

int32_t NumFree(const Pool& pool, const WaitingGang& gang) {
  int32_t num_free = 0;
  for (const SchedulerWorker* worker : pool.workers) {
    if (CanHold(*worker, gang)) num_free += static_cast<int32_t>(worker->free_slots.size());
  }
  return num_free;
}

// The least sum of some of `sizes` that is >= `least`; -1 if all together are less.
int64_t LeastSubsetSum(const std::vector<int32_t>& sizes, int64_t least) {
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  if (total < least) return -1;
  std::vector<char> reachable(static_cast<size_t>(total) + 1, 0);
  reachable[0] = 1;
  int64_t top = 0;
  for (const int32_t size : sizes) {
    for (int64_t sum = top; sum >= 0; --sum) {
      if (reachable[sum]) reachable[sum + size] = 1;
    }
    top += size;
  }
  for (int64_t sum = std::max<int64_t>(least, 0); sum <= total; ++sum) {
    if (reachable[sum]) return sum;
  }
  return -1;
}

// How many slots backfill may take without ever delaying the head.
int64_t BackfillAllowance(const Pool& pool) {
  const int64_t num_free = NumFree(pool, pool.head);
  const int64_t sum = LeastSubsetSum(pool.running, pool.head.num_ranks - num_free);
  return sum < 0 ? 0 : num_free + sum - pool.head.num_ranks;
}

std::vector<RankPlace> Place(Pool* pool, const WaitingGang& gang) {
  std::vector<SchedulerWorker*> chosen;
  for (SchedulerWorker* worker : pool->workers) {
    if (!CanHold(*worker, gang) || static_cast<int32_t>(worker->free_slots.size()) < gang.num_ranks) continue;
    if (chosen.empty() || worker->free_slots.size() < chosen[0]->free_slots.size()) chosen.assign(1, worker);
  }
  if (chosen.empty()) {
    for (SchedulerWorker* worker : pool->workers) {
      if (CanHold(*worker, gang) && !worker->free_slots.empty()) chosen.push_back(worker);
    }
    std::stable_sort(chosen.begin(), chosen.end(), [](const SchedulerWorker* a, const SchedulerWorker* b) {
      return a->free_slots.size() > b->free_slots.size();
    });
  }
  std::vector<RankPlace> ranks;
  for (SchedulerWorker* worker : chosen) {
    const size_t num_taken = std::min(worker->free_slots.size(), static_cast<size_t>(gang.num_ranks) - ranks.size());
    for (size_t i = 0; i < num_taken; ++i) ranks.push_back({worker->id, worker->free_slots[i]});
    worker->free_slots.erase(worker->free_slots.begin(), worker->free_slots.begin() + static_cast<long>(num_taken));
    if (static_cast<int32_t>(ranks.size()) == gang.num_ranks) break;
  }
  return ranks;
}

}  // namespace

std::vector<GangPlacement> ScheduleGangs(std::vector<SchedulerWorker> workers, const std::vector<RunningGang>& running,
                                         const std::vector<WaitingGang>& waiting) {
  std::map<std::string, Pool> pools;
  for (SchedulerWorker& worker : workers) pools[worker.kind].workers.push_back(&worker);
  for (const RunningGang& gang : running) {
    if (gang.num_slots > 0) pools[gang.kind].running.push_back(gang.num_slots);
  }
  std::vector<GangPlacement> placements;
  for (const WaitingGang& gang : waiting) {
    Pool& pool = pools[gang.kind];
    const int64_t num_free = NumFree(pool, gang);
    const bool fits = num_free >= gang.num_ranks;
    const int64_t capacity = std::accumulate(pool.running.begin(), pool.running.end(), num_free);
    if (!fits && !pool.has_head && capacity >= gang.num_ranks) {
      pool.has_head = true;
      pool.head = gang;
    }
    if (!fits || (pool.has_head && gang.num_ranks > BackfillAllowance(pool))) continue;
    placements.push_back({gang.id, Place(&pool, gang)});
    pool.running.push_back(gang.num_ranks);
  }
  return placements;
}

int32_t SimdLevel(std::string_view simd) {
  constexpr std::string_view kLevels[] = {"x86-64-v2", "avx2", "avx512"};
  for (int32_t i = 0; i < 3; ++i) {
    if (simd == kLevels[i]) return i;
  }
  return -1;
}

}  // namespace ursa
