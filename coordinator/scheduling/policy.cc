#include "coordinator/scheduling/policy.h"

#include <algorithm>

#include "base/log.h"
#include "coordinator/scheduling/backfill.h"
#include "coordinator/scheduling/victims.h"

namespace ursa {
namespace {

using Job = WaitingQueue::Job;

size_t LevelOf(const Job& job) { return static_cast<size_t>(job.simd_level); }

int64_t NumMissing(const Pool& pool, const Job& head) {
  return head.min_ranks - pool.slots().num_free()[LevelOf(head)];
}

// What is free for each SIMD level when `allowance` slots may be taken of those that the head could use.
SlotsByLevel LimitsFor(const Pool& pool, const Job& head, int64_t allowance) {
  const SlotsByLevel& free = pool.slots().num_free();
  const int64_t usable = std::min(allowance, free[LevelOf(head)]);
  SlotsByLevel limits;
  for (size_t level = 0; level < kNumSimdLevels; ++level) {
    limits[level] =
        level < LevelOf(head) ? free[level] - free[LevelOf(head)] + usable : std::min(allowance, free[level]);
  }
  return limits;
}

// Starts the gang on at most `available` slots. Returns its handle as a running one.
int32_t Start(Pool* pool, int32_t waiting, int64_t available, SlotRequest request, absl::Time now,
              Decisions* decisions) {
  const Job& job = pool->queue().job(waiting);
  request.num_ranks = pool->queue().RanksFor(job, available);
  request.simd_level = job.simd_level;
  const int32_t handle = pool->Start(waiting, request, now);
  const Pool::Running& running = pool->running(handle);
  decisions->starts.push_back({running.id, running.places, running.protected_level, running.protected_until});
  return handle;
}

// Those of the running gangs that may have to give way so that `num_missing` slots come free for the head: of each
// priority from below, and of each size, the cheapest that are enough alone; up to the priority at which they are.
std::vector<int32_t> CandidatesFor(const Pool& pool, const Job& head, int64_t num_missing, absl::Time now) {
  std::vector<int32_t> handles;
  int64_t num_found = 0;  // slots
  int32_t last_priority = 0;
  for (const auto& [group, gangs] : pool.preemption_order()) {
    if (group.priority >= head.priority || (num_found >= num_missing && group.priority > last_priority)) break;
    const int64_t num_slots = group.gives[LevelOf(head)];
    int64_t num_left = num_slots == 0 ? 0 : (num_missing + num_slots - 1) / num_slots;
    for (auto it = gangs.begin(); it != gangs.end() && num_left > 0; ++it) {
      const Pool::Running& running = pool.running(it->running);
      if (running.protected_until > now && running.protected_level >= head.priority) continue;
      handles.push_back(it->running);
      num_found += num_slots;
      last_priority = group.priority;
      --num_left;
    }
  }
  return handles;
}

void PreemptFor(Pool* pool, int32_t waiting, absl::Time now, Decisions* decisions) {
  const Job& head = pool->queue().job(waiting);
  const int64_t num_missing = NumMissing(*pool, head) - pool->num_stopping(head.simd_level);
  if (num_missing <= 0 || pool->NumBelow(head.priority, head.simd_level) < num_missing) return;
  const std::vector<int32_t> handles = CandidatesFor(*pool, head, num_missing, now);
  std::vector<VictimCandidate> candidates;
  for (const int32_t handle : handles) {
    const Pool::Running& running = pool->running(handle);
    const absl::Duration since = std::max(absl::ZeroDuration(), now - running.checkpoint);
    const int64_t lost = absl::ToInt64Milliseconds(since) * static_cast<int64_t>(running.places.size());
    candidates.push_back({running.id, running.priority, running.gives[LevelOf(head)], lost, running.start});
  }
  for (const int32_t victim : ChooseVictims(candidates, num_missing, pool->options().exact_victims_missing_max)) {
    pool->Preempt(handles[static_cast<size_t>(victim)], waiting);
    decisions->preemptions.push_back({candidates[static_cast<size_t>(victim)].id, head.id});
  }
}

// Returns whether anything was started.
bool Backfill(Pool* pool, int32_t head_handle, absl::Time now, Decisions* decisions, std::vector<int32_t>* started) {
  const Job head = pool->queue().job(head_handle);
  // Most of the time nothing would fit even without a head.
  if (pool->queue().FindFirst(pool->slots().num_free()) == Pool::kNone) return false;
  const size_t num_started = started->size();
  int64_t allowance = BackfillAllowance(pool->running_sizes(head.simd_level), NumMissing(*pool, head),
                                        pool->options().backfill_missing_max);
  while (true) {
    const SlotsByLevel limits = LimitsFor(*pool, head, allowance);
    const int32_t waiting = pool->queue().FindFirst(limits);
    if (waiting == Pool::kNone) return started->size() > num_started;
    URSA_CHECK(waiting != head_handle) << "the head fits";
    SlotRequest request;
    request.kept_level = head.simd_level;
    request.kept_max = allowance;
    started->push_back(Start(pool, waiting, limits[LevelOf(pool->queue().job(waiting))], request, now, decisions));
    allowance -= pool->running(started->back()).gives[LevelOf(head)];
  }
}

}  // namespace

int32_t FirstInOrder(const Pool& pool) {
  const SlotsByLevel& capacity = pool.slots().capacity();
  const int32_t first = pool.queue().FindFirst(capacity);
  int32_t claimant = Pool::kNone;
  for (const auto& [id, claim] : pool.claims()) {
    if (claim.waiting == Pool::kNone) continue;
    const Job& job = pool.queue().job(claim.waiting);
    // The last of its victims is gone: now it starts, or the claim was in vain.
    if (claim.num_stopping == 0 && NumMissing(pool, job) > 0) continue;
    if (job.held_back || job.min_ranks > capacity[LevelOf(job)] || job.min_ranks > pool.queue().RoomOf(job.user))
      continue;
    if (claimant == Pool::kNone || job.priority > pool.queue().job(claimant).priority) claimant = claim.waiting;
  }
  if (claimant == Pool::kNone || first == Pool::kNone) return first;
  return pool.queue().job(first).priority > pool.queue().job(claimant).priority ? first : claimant;
}

absl::Time WaitsSince(const SchedulingOptions& options, absl::Time since, absl::Time start, absl::Time now) {
  return now - start >= options.aged_run_min ? now : since;
}

void SchedulePool(Pool* pool, absl::Time now, Decisions* decisions, std::vector<int32_t>* started) {
  while (true) {
    const int32_t first = FirstInOrder(*pool);
    if (first == Pool::kNone) break;
    const Job& job = pool->queue().job(first);
    if (NumMissing(*pool, job) <= 0) {
      started->push_back(Start(pool, first, pool->slots().num_free()[LevelOf(job)], SlotRequest(), now, decisions));
      continue;
    }
    PreemptFor(pool, first, now, decisions);
    // What has started counts for its user's share: there may be another head now, or one that fits.
    if (!Backfill(pool, first, now, decisions, started)) break;
  }
  pool->DropEmptyClaims();
}

}  // namespace ursa
