#include "coordinator/scheduling/policy.h"

#include <algorithm>

#include "base/log.h"
#include "coordinator/scheduling/backfill.h"
#include "coordinator/scheduling/victims.h"

namespace ursa {
namespace {

using Job = WaitingQueue::Job;

size_t LevelOf(const Job& job) { return static_cast<size_t>(job.simd_level); }

int64_t NumFree(const Pool& pool, const Job& job) { return pool.slots().num_free(job.label_class)[LevelOf(job)]; }

int64_t NumMissing(const Pool& pool, const Job& head) { return head.min_ranks - NumFree(pool, head); }

// What is free for each label class and SIMD level when `allowance` slots may be taken of those that the head could
// use.
SlotsByClass LimitsFor(const Pool& pool, const Job& head, int64_t allowance) {
  SlotsByClass limits = pool.slots().free_by_class();
  for (size_t label_class = 0; label_class < limits.size(); ++label_class) {
    for (int32_t level = 0; level < kNumSimdLevels; ++level) {
      int64_t& limit = limits[label_class][static_cast<size_t>(level)];
      if (limit == 0) continue;
      const int64_t of_head =
          pool.slots().NumFreeOfBoth(static_cast<int32_t>(label_class), level, head.label_class, head.simd_level);
      limit -= std::max<int64_t>(0, of_head - allowance);
    }
  }
  return limits;
}

// Starts the gang on at most `available` slots. Returns its handle as a running one.
int32_t Start(Pool* pool, int32_t waiting, int64_t available, SlotRequest request, absl::Time now,
              Decisions* decisions) {
  const Job& job = pool->queue().job(waiting);
  request.num_ranks = pool->queue().RanksFor(job, available);
  request.simd_level = job.simd_level;
  request.label_class = job.label_class;
  const int32_t handle = pool->Start(waiting, request, now);
  const Pool::Running& running = pool->running(handle);
  decisions->starts.push_back({running.id, running.places, running.protected_level, running.protected_until});
  return handle;
}

// Those of the running gangs that may have to give way so that `num_missing` slots come free for the head: of each
// priority from below, and of each size, the cheapest that are enough alone; up to the priority at which they are. Of
// gangs that are alike but for the labels of their workers, all.
std::vector<int32_t> CandidatesFor(Pool* pool, const Job& head, int64_t num_missing, absl::Time now) {
  std::vector<int32_t> handles;
  int64_t num_found = 0;  // slots
  for (int32_t priority = 1; priority < head.priority && num_found < num_missing; ++priority) {
    for (const Pool::PreemptionGroup& group : pool->preemption_order()[static_cast<size_t>(priority)]) {
      if (group.gives[LevelOf(head)] == 0) continue;
      int64_t num_left = num_missing;  // slots, of this group alone
      for (auto it = group.gangs.begin(); it != group.gangs.end() && num_left > 0; ++it) {
        const Pool::Running& running = pool->running(it->running);
        const int64_t num_slots = pool->GivesTo(running, head);
        if (num_slots == 0 || (running.protected_until > now && running.protected_level >= head.priority)) continue;
        handles.push_back(it->running);
        num_found += num_slots;
        if (head.label_class == kNoLabels) num_left -= num_slots;
      }
    }
  }
  return handles;
}

void PreemptFor(Pool* pool, int32_t waiting, absl::Time now, Decisions* decisions) {
  const Job& head = pool->queue().job(waiting);
  const int64_t num_missing = NumMissing(*pool, head) - pool->NumStoppingFor(head);
  if (num_missing <= 0 || pool->NumBelow(head.priority, head.simd_level) < num_missing) return;
  const std::vector<int32_t> handles = CandidatesFor(pool, head, num_missing, now);
  std::vector<VictimCandidate> candidates;
  for (const int32_t handle : handles) {
    const Pool::Running& running = pool->running(handle);
    const absl::Duration since = std::max(absl::ZeroDuration(), now - running.checkpoint);
    const int64_t lost = absl::ToInt64Milliseconds(since) * static_cast<int64_t>(running.places.size());
    candidates.push_back({running.id, running.priority, pool->GivesTo(running, head), lost, running.start});
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
  if (pool->queue().FindFirst(pool->slots().free_by_class()) == Pool::kNone) return false;
  const size_t num_started = started->size();
  const int64_t missing_max = pool->options().backfill_missing_max;
  int64_t allowance =
      head.label_class == kNoLabels
          ? BackfillAllowance(pool->running_sizes(head.simd_level), NumMissing(*pool, head), missing_max)
          : BackfillAllowance(pool->RunningSizesFor(head), NumMissing(*pool, head), missing_max);
  while (true) {
    const SlotsByClass limits = LimitsFor(*pool, head, allowance);
    const int32_t waiting = pool->queue().FindFirst(limits);
    if (waiting == Pool::kNone) return started->size() > num_started;
    URSA_CHECK(waiting != head_handle) << "the head fits";
    SlotRequest request;
    request.kept_class = head.label_class;
    request.kept_level = head.simd_level;
    request.kept_max = allowance;
    const Job& job = pool->queue().job(waiting);
    const int64_t available = limits[static_cast<size_t>(job.label_class)][LevelOf(job)];
    started->push_back(Start(pool, waiting, available, request, now, decisions));
    allowance -= pool->GivesTo(pool->running(started->back()), head);
  }
}

}  // namespace

int32_t FirstInOrder(const Pool& pool) {
  const int32_t first = pool.queue().FindFirst(pool.slots().capacity_by_class());
  int32_t claimant = Pool::kNone;
  for (const auto& [id, claim] : pool.claims()) {
    if (claim.waiting == Pool::kNone) continue;
    const Job& job = pool.queue().job(claim.waiting);
    // The last of its victims is gone: now it starts, or the claim was in vain.
    if (claim.num_stopping == 0 && NumMissing(pool, job) > 0) continue;
    const int64_t capacity = pool.slots().capacity(job.label_class)[LevelOf(job)];
    if (job.held_back || job.min_ranks > capacity || job.min_ranks > pool.queue().RoomOf(job.user)) continue;
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
      started->push_back(Start(pool, first, NumFree(*pool, job), SlotRequest(), now, decisions));
      continue;
    }
    PreemptFor(pool, first, now, decisions);
    // What has started counts for its user's share: there may be another head now, or one that fits.
    if (!Backfill(pool, first, now, decisions, started)) break;
  }
  pool->DropEmptyClaims();
}

}  // namespace ursa
