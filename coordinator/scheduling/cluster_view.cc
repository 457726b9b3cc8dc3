#include "coordinator/scheduling/cluster_view.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace ursa {

int32_t ClusterView::PoolIndex(const PoolKey& key) {
  const auto [it, is_new] = pool_indexes_.try_emplace(key, static_cast<int32_t>(pools_.size()));
  if (is_new) {
    pools_.emplace_back(key, options_);
    pools_.back().SetTime(now_);
    is_touched_.push_back(false);
  }
  return it->second;
}

Pool& ClusterView::Touch(int32_t index) {
  is_touched_[static_cast<size_t>(index)] = true;
  return pools_[static_cast<size_t>(index)];
}

const Pool* ClusterView::FindPool(const PoolKey& key) const {
  const auto it = pool_indexes_.find(key);
  return it == pool_indexes_.end() ? nullptr : &pools_[static_cast<size_t>(it->second)];
}

void ClusterView::ApplyWorker(const Worker& worker) {
  SchedulerWorker applied = worker.worker;
  for (size_t i = 0; i < pools_.size() && applied.usable; ++i) {
    if (static_cast<int32_t>(i) == worker.pool || !pools_[i].slots().IsHeld(applied.id)) continue;
    applied.usable = false;
    has_foreign_ = true;
  }
  Touch(worker.pool).PutWorker(applied);
}

void ClusterView::ApplyForeignWorkers(const std::vector<RankPlace>& places, int32_t pool) {
  int64_t last_id = 0;
  for (const RankPlace& place : places) {
    if (place.worker_id == last_id) continue;
    last_id = place.worker_id;
    const auto it = workers_.find(last_id);
    if (it != workers_.end() && it->second.pool != pool) ApplyWorker(it->second);
  }
}

void ClusterView::PutWorker(const SchedulerWorker& worker) {
  const int32_t pool = PoolIndex(worker.pool);
  const auto [it, is_new] = workers_.try_emplace(worker.id);
  if (!is_new && it->second.pool != pool) Touch(it->second.pool).RemoveWorker(worker.id);
  it->second = {worker, pool};
  ApplyWorker(it->second);
}

void ClusterView::RemoveWorker(int64_t worker_id) {
  const auto it = workers_.find(worker_id);
  if (it == workers_.end()) return;
  Touch(it->second.pool).RemoveWorker(worker_id);
  workers_.erase(it);
}

void ClusterView::PutWaiting(const WaitingGang& gang) {
  const int32_t pool = PoolIndex(gang.spec.pool);
  const auto [it, is_new] = gangs_.try_emplace(gang.id);
  if (!is_new) TakeOut(it->second);
  it->second = {pool, Touch(pool).AddWaiting(gang), false};
}

void ClusterView::PutRunning(const RunningGang& gang) {
  const int32_t pool = PoolIndex(gang.spec.pool);
  const auto [it, is_new] = gangs_.try_emplace(gang.id);
  if (!is_new && it->second.is_running && it->second.pool == pool &&
      pools_[static_cast<size_t>(pool)].running(it->second.handle).places == gang.places) {
    Touch(pool).UpdateRunning(it->second.handle, gang);
    return;
  }
  if (!is_new) TakeOut(it->second);
  it->second = {pool, Touch(pool).AddRunning(gang, now_), true};
  ApplyForeignWorkers(gang.places, pool);
}

void ClusterView::Remove(const GangId& id) {
  const auto it = gangs_.find(id);
  if (it == gangs_.end()) return;
  const Gang gang = it->second;
  gangs_.erase(it);
  TakeOut(gang);
}

void ClusterView::TakeOut(const Gang& gang) {
  Pool& pool = Touch(gang.pool);
  if (!gang.is_running) {
    pool.RemoveWaiting(gang.handle);
    return;
  }
  // The entry stays as it is until it is used again.
  pool.RemoveRunning(gang.handle, now_);
  if (has_foreign_) ApplyForeignWorkers(pool.running(gang.handle).places, gang.pool);
}

void ClusterView::SetUse(const UserUse& use) { Touch(PoolIndex(use.pool)).SetUse(use.owner, use.use); }

bool ClusterView::SetTime(absl::Time now) {
  now_ = std::max(now_, now);
  bool has_touched = false;
  for (size_t i = 0; i < pools_.size(); ++i) {
    if (!pools_[i].SetTime(now_) || pools_[i].queue().num_jobs() == 0) continue;
    is_touched_[i] = true;
    has_touched = true;
  }
  return has_touched;
}

std::optional<RankPlace> ClusterView::FindFreeSlot(const std::string& kind) const {
  for (const auto& [key, index] : pool_indexes_) {
    if (key.kind != kind) continue;
    const std::optional<RankPlace> place = pools_[static_cast<size_t>(index)].slots().FindOne();
    if (place) return place;
  }
  return std::nullopt;
}

Decisions ClusterView::Schedule() {
  Decisions decisions;
  std::vector<int32_t> started;
  for (const auto& [key, index] : pool_indexes_) {
    if (!is_touched_[static_cast<size_t>(index)]) continue;
    is_touched_[static_cast<size_t>(index)] = false;
    Pool& pool = pools_[static_cast<size_t>(index)];
    started.clear();
    SchedulePool(&pool, now_, &decisions, &started);
    for (const int32_t handle : started) gangs_[pool.running(handle).id] = {index, handle, true};
  }
  return decisions;
}

std::vector<ClusterView::UserUse> ClusterView::TakeChangedUse() {
  std::vector<UserUse> changed;
  for (const auto& [key, index] : pool_indexes_) {
    Pool& pool = pools_[static_cast<size_t>(index)];
    for (const int32_t user : pool.TakeChangedUsers()) {
      const FairShares::User& found = pool.queue().shares().user(user);
      changed.push_back({key, found.owner, found.use});
    }
  }
  return changed;
}

std::optional<WaitReason> ClusterView::WhyWaits(const GangId& id) const {
  const auto it = gangs_.find(id);
  if (it == gangs_.end() || it->second.is_running) return std::nullopt;
  return WaitExplainer(&pools_[static_cast<size_t>(it->second.pool)]).Explain(it->second.handle);
}

std::vector<ClusterView::QueueItem> ClusterView::ListQueue(size_t num_max) const {
  std::vector<QueueItem> items;
  for (const auto& [key, index] : pool_indexes_) {
    const Pool& pool = pools_[static_cast<size_t>(index)];
    WaitExplainer explainer(&pool);
    std::vector<int32_t> order = pool.queue().InOrder(num_max);
    // One that has a claim comes first, whatever the order says.
    const auto first = std::find(order.begin(), order.end(), explainer.first());
    if (first != order.end() && pool.claims().contains(pool.queue().job(*first).id)) {
      std::rotate(order.begin(), first, first + 1);
    }
    for (size_t i = 0; i < order.size(); ++i) {
      items.push_back({pool.queue().job(order[i]).id, key, static_cast<int64_t>(i) + 1, explainer.Explain(order[i])});
    }
  }
  return items;
}

std::string ClusterView::DebugExport() const {
  std::string text;
  for (const auto& [key, index] : pool_indexes_) {
    const Pool& pool = pools_[static_cast<size_t>(index)];
    const bool is_empty = pool.slots().capacity()[0] == 0 && pool.queue().num_jobs() == 0;
    if (!is_empty) text += pool.DebugExport();
  }
  return text;
}

}  // namespace ursa
