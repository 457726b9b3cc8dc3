#include "coordinator/core/scheduler.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/planted_bug.h"
#include "base/status_macros.h"
#include "coordinator/core/paging.h"
#include "coordinator/core/pool_offer.h"
#include "coordinator/core/worker_slots.h"
#include "coordinator/scheduling/simd_level.h"
#include "coordinator/state/task_name.h"
#include "experiments/labels.h"

namespace ursa {
namespace {

constexpr int kQueuePageSizeDefault = 100;
constexpr int kQueuePageSizeMax = 1000;

GangId GangOf(const TrialId& id) { return {id.first, id.second}; }
TrialId TrialOf(const GangId& id) { return {id.experiment_id, id.number}; }
GangId GangOfAuxTask(int64_t id) { return {0, id}; }

const std::string& PoolOr(const std::string& pool) {
  static const std::string* const kDefault = new std::string(kDefaultPool);
  return pool.empty() ? *kDefault : pool;
}

// "research/ann" is ann of the workspace research; other names are of no workspace.
Owner OwnerOf(const std::string& user) {
  const size_t slash = user.find('/');
  if (slash == std::string::npos) return {"", user};
  return {user.substr(0, slash), user.substr(slash + 1)};
}

std::string UserOf(const Owner& owner) {
  return owner.workspace.empty() ? owner.user : absl::StrCat(owner.workspace, "/", owner.user);
}

GangSpec SpecOf(const records::Demand& demand, const std::string& pool) {
  GangSpec spec;
  spec.pool = {PoolOr(pool), demand.kind()};
  spec.owner = OwnerOf(demand.user());
  spec.priority = demand.priority();
  spec.simd_level = SimdLevel(demand.simd());
  spec.max_ranks = demand.slots();
  spec.min_ranks = demand.min_slots() == 0 ? demand.slots() : demand.min_slots();
  spec.ranks_divide = demand.slots_divide();
  spec.labels = LabelTexts(demand.labels());
  if (demand.experiment_slots_max() != 0) spec.experiment_slots_max = demand.experiment_slots_max();
  return spec;
}

RunningGang RunningOf(const records::TrialRecord& trial) {
  const records::Gang& record = trial.gang();
  RunningGang gang;
  gang.id = {trial.experiment_id(), trial.number()};
  gang.spec = SpecOf(trial.demand(), record.pool());
  for (const records::Rank& rank : record.ranks()) {
    if (!rank.gone()) gang.places.push_back({rank.worker_id(), rank.slot()});
  }
  // Gangs of before these times were kept: since their phase began.
  gang.start = FromTimestamp(record.has_start_time() ? record.start_time() : record.phase_time());
  gang.checkpoint = record.has_checkpoint_time() ? FromTimestamp(record.checkpoint_time()) : gang.start;
  gang.protected_level = record.protected_level();
  if (record.has_protected_until()) gang.protected_until = FromTimestamp(record.protected_until());
  gang.stopping = record.phase() != records::Gang::PHASE_RUNNING && record.phase() != records::Gang::PHASE_REFORMING;
  if (record.preempted_for_experiment() != 0) {
    gang.preempted_for = GangId{record.preempted_for_experiment(), record.preempted_for_trial()};
  }
  return gang;
}

}  // namespace

void Scheduler::Restore(Tx& tx) {
  const State& state = tx.state();
  view_.SetTime(env_.clock->Now());
  for (const auto& [id, worker] : state.All<records::WorkerRecord>()) SyncWorker(tx, id);
  if (!URSA_PLANTED_BUG(forget_places)) {
    for (const TrialId& id : state.gangs()) SyncTrial(tx, id);
  }
  for (const auto& [id, task] : state.All<records::AuxTaskRecord>()) SyncAuxTask(tx, id);
  for (const auto& [key, usage] : state.All<records::UsageRecord>()) {
    view_.SetUse(
        {{usage.pool(), usage.kind()}, OwnerOf(usage.user()), {usage.slot_seconds(), FromTimestamp(usage.time())}});
  }
  for (const TrialId& id : state.waiting_trials()) SyncTrial(tx, id);
}

void Scheduler::SyncWorker(const Tx& tx, int64_t id) {
  const auto* record = tx.state().Find<records::WorkerRecord>(id);
  if (record == nullptr) return view_.RemoveWorker(id);
  SchedulerWorker worker;
  worker.id = id;
  worker.pool = {PoolOr(record->pool()), record->kind()};
  worker.simd_level = SimdLevel(record->simd());
  worker.num_slots = record->slots();
  worker.usable = workers_.IsUsable(tx, id);
  worker.labels = LabelTexts(record->labels());
  for (const v1::WorkerSlot& state : record->slot_states()) {
    if (!state.reason().empty()) worker.withheld.push_back(state.index());
  }
  view_.PutWorker(worker);
}

void Scheduler::SyncTrial(const Tx& tx, const TrialId& id) {
  const auto* trial = tx.state().Find<records::TrialRecord>(id);
  if (trial != nullptr && trial->has_gang() && trial->gang().phase() == records::Gang::PHASE_REFORMING) {
    reforming_.insert(id);
  } else {
    reforming_.erase(id);
  }
  if (trial != nullptr && trial->has_gang()) {
    RunningGang gang = RunningOf(*trial);
    return gang.places.empty() ? view_.Remove(gang.id) : view_.PutRunning(gang);
  }
  if (trial == nullptr || trial->state() != v1::Experiment::STATE_QUEUED) return view_.Remove(GangOf(id));
  const records::Demand& demand = trial->demand();
  view_.PutWaiting(
      {GangOf(id), SpecOf(demand, demand.pool()), demand.queue_position(), FromTimestamp(demand.queue_time())});
}

void Scheduler::SyncAuxTask(const Tx& tx, int64_t id) {
  const auto* task = tx.state().Find<records::AuxTaskRecord>(id);
  if (task == nullptr || task->worker_id() == 0 || task->slot() < 0) return view_.Remove(GangOfAuxTask(id));
  const auto* worker = tx.state().Find<records::WorkerRecord>(task->worker_id());
  if (worker == nullptr) return view_.Remove(GangOfAuxTask(id));
  RunningGang gang;
  gang.id = GangOfAuxTask(id);
  gang.spec.pool = {PoolOr(worker->pool()), worker->kind()};
  gang.spec.priority = kAboveAllPriorities;
  gang.places = {{task->worker_id(), task->slot()}};
  view_.PutRunning(gang);
}

void Scheduler::Sync(Tx& tx, const Changes& changes) {
  view_.SetTime(env_.clock->Now());
  std::set<int64_t> worker_ids = workers_.TakeUsabilityChanges();
  worker_ids.insert(changes.worker_records.begin(), changes.worker_records.end());
  // Trials only give slots back here (they get them by Decide); auxiliary tasks may have taken some of these since.
  for (const TrialId& id : changes.trials) SyncTrial(tx, id);
  for (const int64_t id : changes.aux_tasks) {
    const auto* task = tx.state().Find<records::AuxTaskRecord>(id);
    if (task == nullptr || task->worker_id() == 0) SyncAuxTask(tx, id);
  }
  for (const int64_t id : changes.aux_tasks) SyncAuxTask(tx, id);
  for (const int64_t id : worker_ids) SyncWorker(tx, id);
  if (!changes.worker_records.empty()) offers_.clear();
  for (const int64_t id : changes.worker_records) {
    const auto* worker = tx.state().Find<records::WorkerRecord>(id);
    if (worker == nullptr || !worker->drained()) continue;
    gangs_.StopOn(tx, id, absl::StrCat("moves off ", WorkerId(id).ToString(), ", which is being drained"));
  }
}

std::optional<RankPlace> Scheduler::FindPlace(const Tx& tx, const records::TrialRecord& trial,
                                              const records::Rank& gone,
                                              const std::set<std::pair<int64_t, int32_t>>& taken) const {
  const auto is_free = [&](const records::WorkerRecord& worker, int32_t slot) {
    return IsOffered(worker, slot) && tx.state().LoadOf(worker.id()).slots.count(slot) == 0 &&
           taken.count({worker.id(), slot}) == 0;
  };
  if (workers_.IsUsable(tx, gone.worker_id()) &&
      is_free(*tx.state().Find<records::WorkerRecord>(gone.worker_id()), gone.slot())) {
    return RankPlace{gone.worker_id(), gone.slot()};
  }
  for (const records::WorkerRecord* worker : workers_.UsableWorkers(tx)) {
    if (worker->kind() != trial.demand().kind() || PoolOr(worker->pool()) != PoolOr(trial.gang().pool()) ||
        SimdLevel(worker->simd()) < SimdLevel(trial.demand().simd()) ||
        !HasLabels(LabelTexts(worker->labels()), LabelTexts(trial.demand().labels()))) {
      continue;
    }
    for (int32_t slot = 0; slot < worker->slots(); ++slot) {
      if (is_free(*worker, slot)) return RankPlace{worker->id(), slot};
    }
  }
  return std::nullopt;
}

std::vector<TrialId> Scheduler::Reform(Tx& tx) {
  std::vector<TrialId> formed;
  const std::set<TrialId> reforming = reforming_;
  for (const TrialId& id : reforming) {
    if (!gangs_.IsReadyToReform(tx, id)) continue;
    const records::TrialRecord& trial = *tx.state().Find<records::TrialRecord>(id);
    std::vector<RankPlace> places;
    std::set<std::pair<int64_t, int32_t>> taken;
    bool is_placed = true;
    for (const records::Rank& rank : trial.gang().ranks()) {
      if (!rank.gone()) continue;
      const std::optional<RankPlace> place = FindPlace(tx, trial, rank, taken);
      is_placed &= place.has_value();
      if (!place) continue;
      places.push_back(*place);
      taken.insert({place->worker_id, place->slot});
    }
    if (!is_placed) {
      gangs_.GiveUpReform(tx, id);
    } else if (gangs_.Reform(tx, id, places)) {
      formed.push_back(id);
    }
    SyncTrial(tx, id);
  }
  return formed;
}

std::vector<TrialId> Scheduler::Decide(Tx& tx) {
  const Decisions decisions = view_.Schedule();
  std::vector<TrialId> started;
  for (const GangStart& start : decisions.starts) {
    started.push_back(TrialOf(start.id));
    gangs_.Start(tx, started.back(), start);
  }
  for (const GangPreemption& preemption : decisions.preemptions) {
    gangs_.Preempt(tx, TrialOf(preemption.victim), TrialOf(preemption.for_whom));
  }
  PutUsage(tx);
  return started;
}

void Scheduler::PutUsage(Tx& tx) {
  for (const ClusterView::UserUse& changed : view_.TakeChangedUse()) {
    if (changed.owner.user.empty()) continue;  // auxiliary tasks
    records::UsageRecord record;
    record.set_kind(changed.pool.kind);
    record.set_pool(changed.pool.pool);
    record.set_user(UserOf(changed.owner));
    if (changed.use == DecayedUse()) {
      const auto key = EntityTraits<records::UsageRecord>::KeyOf(record);
      if (tx.state().Find<records::UsageRecord>(key) != nullptr) {
        tx.Apply(std::move(Mutation().Delete<records::UsageRecord>(key)));
      }
      continue;
    }
    record.set_slot_seconds(changed.use.slot_seconds);
    *record.mutable_time() = ToTimestamp(changed.use.time);
    tx.Put(std::move(record));
  }
}

std::optional<RankPlace> Scheduler::HoldSlot(const Tx& tx, const std::string& kind, int64_t aux_task_id) {
  const std::optional<RankPlace> place = view_.FindFreeSlot(kind);
  if (!place) return std::nullopt;
  const auto* worker = tx.state().Find<records::WorkerRecord>(place->worker_id);
  RunningGang gang;
  gang.id = GangOfAuxTask(aux_task_id);
  gang.spec.pool = {PoolOr(worker->pool()), worker->kind()};
  gang.spec.priority = kAboveAllPriorities;
  gang.places = {*place};
  view_.PutRunning(gang);
  return place;
}

absl::StatusOr<ResolveContext> Scheduler::OfferOf(const Tx& tx, const std::string& pool) {
  const auto known = offers_.find(pool);
  if (known != offers_.end()) return known->second;
  URSA_ASSIGN_OR_RETURN(const ResolveContext offer, DescribePool(tx, env_.options, pool));
  if (offer.cluster_slots > 0) offers_[pool] = offer;
  return offer;
}

void Scheduler::Tick(Tx& tx) {
  if (view_.SetTime(env_.clock->Now()) || !reforming_.empty()) tx.RequestSettle();
}

std::string Scheduler::WhyWaits(const Tx&, const TrialId& id) const {
  const std::optional<WaitReason> reason = view_.WhyWaits(GangOf(id));
  return reason ? reason->ToText() : "";
}

absl::StatusOr<v1::ListQueueResponse> Scheduler::ListQueue(const Tx& tx, const v1::ListQueueRequest& request) const {
  URSA_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size(), kQueuePageSizeDefault, kQueuePageSizeMax));
  v1::ListQueueResponse response;
  for (const ClusterView::QueueItem& found : view_.ListQueue(static_cast<size_t>(page_size))) {
    const records::Demand& demand = tx.state().Find<records::TrialRecord>(TrialOf(found.id))->demand();
    v1::QueueItem* item = response.add_items();
    item->set_experiment_id(ExperimentId(found.id.experiment_id).ToString());
    item->set_trial_id(TaskName(TrialOf(found.id)));
    item->set_pool(found.pool.pool);
    item->set_kind(found.pool.kind);
    item->set_position(found.position);
    item->set_priority(demand.priority());
    item->set_slots(demand.slots());
    item->set_user(demand.user());
    *item->mutable_queue_time() = demand.queue_time();
    item->set_reason(found.reason.ToText());
  }
  response.set_num_waiting(static_cast<int64_t>(tx.state().waiting_trials().size()));
  return response;
}

}  // namespace ursa
