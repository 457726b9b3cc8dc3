#include "coordinator/scheduling/pool.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace ursa {
namespace {

Pool::PreemptionKey KeyOf(const Pool::Running& running, int32_t handle) {
  return {absl::ToUnixNanos(running.checkpoint), absl::ToUnixNanos(running.start), running.id, handle};
}

}  // namespace

Pool::Pool(PoolKey key, const SchedulingOptions& options) : key_(std::move(key)), options_(options), queue_(options) {}

void Pool::PutWorker(const SchedulerWorker& worker) {
  if (!slots_.PutWorker(worker)) return;
  for (const int32_t handle : slots_.HoldersOf(worker.id)) Recount(handle);
}

void Pool::RemoveWorker(int64_t worker_id) {
  const std::vector<int32_t> holders = slots_.HoldersOf(worker_id);
  slots_.RemoveWorker(worker_id);
  for (const int32_t handle : holders) Recount(handle);
}

int32_t Pool::AddWaiting(const WaitingGang& gang) {
  const GangSpec& spec = gang.spec;
  URSA_CHECK(spec.priority >= 1 && spec.priority <= kPriorityMax && spec.simd_level >= 0 &&
             spec.simd_level < kNumSimdLevels && spec.min_ranks >= 1 && spec.max_ranks >= spec.min_ranks &&
             (spec.ranks_divide == 0 || spec.ranks_divide % spec.min_ranks == 0))
      << "t" << gang.id.experiment_id << "." << gang.id.number;
  WaitingQueue::Job job;
  job.id = gang.id;
  job.user = queue_.shares().IndexOf(spec.owner);
  job.priority = spec.priority;
  job.simd_level = spec.simd_level;
  job.label_class = slots_.AddClass(spec.labels);
  job.min_ranks = spec.min_ranks;
  job.max_ranks = spec.max_ranks;
  job.ranks_divide = spec.ranks_divide;
  job.experiment_slots_max = spec.experiment_slots_max;
  job.position = gang.position;
  job.since = gang.since;
  const int32_t handle = queue_.Add(job);
  SetClaimant(gang.id, handle);
  return handle;
}

void Pool::RemoveWaiting(int32_t handle) {
  SetClaimant(queue_.job(handle).id, kNone);
  slots_.DropClass(queue_.job(handle).label_class);
  queue_.Remove(handle);
}

void Pool::SetClaimant(const GangId& id, int32_t waiting) {
  if (claims_.empty()) return;
  const auto it = claims_.find(id);
  if (it != claims_.end()) it->second.waiting = waiting;
}

int32_t Pool::NewRunning() {
  const int32_t handle = running_.Add();
  mutable_running(handle).in_use = true;
  return handle;
}

void Pool::Count(int32_t handle, int sign) {
  const Running& running = this->running(handle);
  for (size_t level = 0; level < kNumSimdLevels; ++level) {
    const int64_t num_slots = running.gives[level];
    if (num_slots == 0) break;
    sizes_[level].Add(static_cast<int32_t>(num_slots), sign);
    (running.stopping ? num_stopping_ : num_by_priority_[static_cast<size_t>(running.priority)])[level] +=
        sign * num_slots;
  }
  if (sign < 0) {
    TakeOutOfOrder(handle);
  } else if (!running.stopping && running.gives[0] > 0 && running.priority <= kPriorityMax) {
    PutInOrder(handle);
  }
  if (!running.stopping || !running.preempted_for) return;
  const auto [claim, is_new] = claims_.try_emplace(*running.preempted_for);
  if (is_new) claim->second.waiting = queue_.Find(claim->first);
  claim->second.num_stopping += sign;
}

void Pool::PutInOrder(int32_t handle) {
  mutable_running(handle).to_be_filed = static_cast<int32_t>(to_be_filed_.size());
  to_be_filed_.push_back(handle);
}

void Pool::TakeOutOfOrder(int32_t handle) {
  Running& running = mutable_running(handle);
  if (const int32_t index = std::exchange(running.to_be_filed, kNone); index != kNone) {
    const int32_t last = to_be_filed_.back();
    to_be_filed_.pop_back();
    if (last == handle) return;
    to_be_filed_[static_cast<size_t>(index)] = last;
    mutable_running(last).to_be_filed = index;
  }
  if (!std::exchange(running.is_filed, false)) return;
  const auto group = GroupOf(running);
  group->gangs.erase(KeyOf(running, handle));
  if (group->gangs.empty()) preemption_order_[static_cast<size_t>(running.priority)].erase(group);
}

void Pool::FileInOrder() {
  for (const int32_t handle : to_be_filed_) {
    Running& running = mutable_running(handle);
    running.to_be_filed = kNone;
    running.is_filed = true;
    absl::btree_set<PreemptionKey>& gangs = GroupOf(running)->gangs;
    gangs.insert(gangs.begin(), KeyOf(running, handle));  // where what has started last belongs
  }
  to_be_filed_.clear();
}

std::vector<Pool::PreemptionGroup>::iterator Pool::GroupOf(const Running& running) {
  std::vector<PreemptionGroup>& groups = preemption_order_[static_cast<size_t>(running.priority)];
  const auto found =
      std::find_if(groups.begin(), groups.end(), [&](const PreemptionGroup& group) { return group.IsOf(running); });
  if (found != groups.end()) return found;
  PreemptionGroup added{static_cast<int64_t>(running.places.size()), running.gives, {}};
  return groups.insert(std::lower_bound(groups.begin(), groups.end(), added), std::move(added));
}

void Pool::ChargeHeld(const Running& running, int sign, absl::Time now) {
  const int64_t num_slots = sign * static_cast<int64_t>(running.places.size());
  queue_.shares().AddHeld(running.user, num_slots, now);
  if (running.experiment_slots_max) {
    queue_.AddExperimentHeld(running.id.experiment_id, num_slots, *running.experiment_slots_max);
  }
}

void Pool::Recount(int32_t handle) {
  Running& running = mutable_running(handle);
  Count(handle, -1);
  running.gives = GivesOf(running);
  Count(handle, 1);
}

void Pool::SetTerms(const RunningGang& gang, Running* running) {
  running->priority = gang.spec.priority;
  running->start = gang.start;
  running->checkpoint = gang.checkpoint;
  running->protected_level = gang.protected_level;
  running->protected_until = gang.protected_until;
  running->stopping = gang.stopping;
  running->preempted_for = gang.preempted_for;
}

int32_t Pool::AddRunning(const RunningGang& gang, absl::Time now) {
  URSA_CHECK(gang.spec.priority >= 1 && gang.spec.priority <= kAboveAllPriorities)
      << "t" << gang.id.experiment_id << "." << gang.id.number;
  const int32_t handle = NewRunning();
  Running& running = mutable_running(handle);
  running.id = gang.id;
  running.user = queue_.shares().IndexOf(gang.spec.owner);
  running.experiment_slots_max = gang.spec.experiment_slots_max;
  running.places = gang.places;
  SetTerms(gang, &running);
  for (const RankPlace& place : running.places) slots_.Occupy(place, handle);
  running.gives = GivesOf(running);
  Count(handle, 1);
  ChargeHeld(running, 1, now);
  return handle;
}

void Pool::RemoveRunning(int32_t handle, absl::Time now) {
  Running& running = mutable_running(handle);
  Count(handle, -1);
  ChargeHeld(running, -1, now);
  slots_.Release(running.places);
  running.in_use = false;
  running_.GiveBack(handle);
}

void Pool::UpdateRunning(int32_t handle, const RunningGang& gang) {
  Running& running = mutable_running(handle);
  Count(handle, -1);
  SetTerms(gang, &running);
  Count(handle, 1);
}

int32_t Pool::Start(int32_t waiting, const SlotRequest& request, absl::Time now) {
  const WaitingQueue::Job& job = queue_.job(waiting);
  RemoveWaiting(waiting);  // the entry stays as it is until it is used again
  const int32_t handle = NewRunning();
  Running& running = mutable_running(handle);
  running.id = job.id;
  running.user = job.user;
  running.priority = job.priority;
  running.experiment_slots_max = job.experiment_slots_max;
  FreeSlots::Taken taken = slots_.Take(request, handle);
  running.places = std::move(taken.places);
  running.start = now;
  running.checkpoint = now;
  const bool is_raised = job.level > job.priority;
  running.protected_level = is_raised ? job.level : 0;
  running.protected_until = is_raised ? now + options_.aged_run_min : absl::InfinitePast();
  running.stopping = false;
  running.preempted_for.reset();
  running.gives = taken.gives;
  Count(handle, 1);
  ChargeHeld(running, 1, now);
  return handle;
}

void Pool::Preempt(int32_t handle, int32_t waiting) {
  Running& running = mutable_running(handle);
  Count(handle, -1);
  running.stopping = true;
  running.preempted_for = queue_.job(waiting).id;
  claims_[*running.preempted_for].waiting = waiting;
  Count(handle, 1);
}

void Pool::DropEmptyClaims() {
  for (auto it = claims_.begin(); it != claims_.end();) {
    it = it->second.num_stopping == 0 ? claims_.erase(it) : std::next(it);
  }
}

void Pool::SetUse(const Owner& owner, const DecayedUse& use) {
  queue_.shares().SetUse(queue_.shares().IndexOf(owner), use);
}

int64_t Pool::NumBelow(int32_t priority, int32_t level) const {
  int64_t sum = 0;
  for (int32_t below = 1; below < priority; ++below) {
    sum += num_by_priority_[static_cast<size_t>(below)][static_cast<size_t>(level)];
  }
  return sum;
}

int64_t Pool::GivesTo(const Running& running, const WaitingQueue::Job& job) const {
  const auto level = static_cast<size_t>(job.simd_level);
  return job.label_class == kNoLabels ? running.gives[level] : slots_.GivenBack(running.places, job.label_class)[level];
}

int64_t Pool::NumStoppingFor(const WaitingQueue::Job& job) const {
  if (job.label_class == kNoLabels) return num_stopping(job.simd_level);
  int64_t sum = 0;
  for (int32_t handle = 0; handle < running_.num_handles(); ++handle) {
    const Running& running = running_[handle];
    if (running.in_use && running.stopping) sum += GivesTo(running, job);
  }
  return sum;
}

SizeCounts Pool::RunningSizesFor(const WaitingQueue::Job& job) const {
  SizeCounts sizes;
  for (int32_t handle = 0; handle < running_.num_handles(); ++handle) {
    const Running& running = running_[handle];
    const int64_t num_slots = running.in_use ? GivesTo(running, job) : 0;
    if (num_slots > 0) sizes.Add(static_cast<int32_t>(num_slots), 1);
  }
  return sizes;
}

std::string Pool::DebugExport() const {
  std::string text = absl::StrCat("pool ", key_.pool, " ", key_.kind, "\n", slots_.DebugExport());
  std::map<GangId, const Running*> sorted;
  for (int32_t handle = 0; handle < running_.num_handles(); ++handle) {
    const Running& running = running_[handle];
    if (running.in_use) sorted[running.id] = &running;
  }
  for (const auto& [id, running] : sorted) {
    absl::StrAppend(&text, "running ", id.experiment_id, ".", id.number, " priority ", running->priority, " gives");
    for (const int64_t num_slots : running->gives) absl::StrAppend(&text, " ", num_slots);
    if (running->stopping) absl::StrAppend(&text, " stopping");
    for (const RankPlace& place : running->places) absl::StrAppend(&text, " w", place.worker_id, "/", place.slot);
    absl::StrAppend(&text, "\n");
  }
  for (int32_t level = 0; level < kNumSimdLevels; ++level) {
    absl::StrAppend(&text, "level ", level, " stopping ", num_stopping(level), " running ",
                    NumBelow(kAboveAllPriorities + 1, level), " sizes");
    for (const auto& [size, count] : running_sizes(level)) absl::StrAppend(&text, " ", size, "x", count);
    absl::StrAppend(&text, "\n");
  }
  for (const auto& [id, claim] : claims_) {
    absl::StrAppend(&text, "claim of ", id.experiment_id, ".", id.number, " on ", claim.num_stopping, " waits ",
                    claim.waiting != kNone, "\n");
  }
  return text + queue_.DebugExport();
}

}  // namespace ursa
