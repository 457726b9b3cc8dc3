#include "worker/agent/task_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/planted_bug.h"

namespace ursa {

using worker::v1::TaskAssignment;
using worker::v1::TaskOrder;

namespace {

// Fencing epoch at which the process of the i-th rank was, or is to be, started.
int64_t ProcessEpoch(const TaskAssignment& assignment, int i) {
  return i < assignment.rank_epochs_size() ? assignment.rank_epochs(i) : assignment.epoch();
}

}  // namespace

void TaskTable::SetDesired(const worker::v1::DesiredState& desired) {
  desired_.clear();
  for (const TaskOrder& order : desired.orders()) {
    TaskOrder& known = desired_[order.assignment().task_id()];
    if (known.assignment().epoch() <= order.assignment().epoch()) known = order;
  }
  // A task that is neither wanted nor running will not come back at an epoch that it had here.
  for (auto it = history_.begin(); it != history_.end();) {
    const auto process = processes_.lower_bound(ProcessKey{it->first, 0, 0});
    const bool runs = process != processes_.end() && process->first.task_id == it->first;
    it = runs || desired_.count(it->first) > 0 ? std::next(it) : history_.erase(it);
  }
}

void TaskTable::OnStarted(const ProcessKey& key) {
  const auto it = processes_.find(key);
  if (it != processes_.end() && it->second.phase == Phase::kStarting) it->second.phase = Phase::kRunning;
}

void TaskTable::OnEnded(const ProcessKey& key) { processes_.erase(key); }

void TaskTable::OnFinished(const ProcessKey& key, absl::Time now) {
  const auto it = processes_.find(key);
  if (it == processes_.end() || it->second.finished || it->second.phase == Phase::kKilled) return;
  it->second.finished = true;
  it->second.kill_at = std::min(it->second.kill_at, now + options_.finished_limit);
}

void TaskTable::BeginShutdown() { shutting_down_ = true; }

void TaskTable::KillAll() { shutting_down_ = killing_all_ = true; }

std::vector<TaskTable::Action> TaskTable::Reconcile(absl::Time now) {
  std::vector<Action> actions;
  for (auto& [key, process] : processes_) ReconcileProcess(key, &process, now, &actions);
  if (!shutting_down_) {
    for (const auto& [task_id, order] : desired_) StartMissing(order, &actions);
  }
  return actions;
}

void TaskTable::ReconcileProcess(const ProcessKey& key, Process* process, absl::Time now,
                                 std::vector<Action>* actions) {
  if (process->phase == Phase::kKilled) return;
  auto kill = [&](std::string reason, bool unwanted) {
    process->phase = Phase::kKilled;
    process->kill_at = absl::InfiniteFuture();
    actions->push_back(Kill{key, std::move(reason), unwanted});
  };
  const TaskOrder* order = FindOrder(key);
  if (killing_all_) {
    kill("the agent ends", false);
  } else if (order == nullptr && !process->finished && !URSA_PLANTED_BUG(leave_orphans)) {
    kill("the coordinator does not want it", true);
  } else if (now >= process->kill_at) {
    kill(process->finished ? "it said it had finished, and did not end" : "it did not stop in time", false);
  } else if (process->phase != Phase::kStopping && (shutting_down_ || (order != nullptr && order->stop()))) {
    process->phase = Phase::kStopping;
    const absl::Duration limit = process->slot.has_value() ? options_.stop_limit : options_.auxiliary_stop_limit;
    process->kill_at = std::min(process->kill_at, now + limit);
    actions->push_back(TellStop{key, shutting_down_ ? "the worker shuts down" : "the coordinator asked for it",
                                key.rank == (order != nullptr ? order->parting_rank() : 0)});
  } else if (order != nullptr && order->assignment().epoch() > process->group_epoch &&
             !URSA_PLANTED_BUG(never_tell_reform)) {
    process->group_epoch = order->assignment().epoch();
    actions->push_back(Reform{key, process->group_epoch, order->assignment().world_size()});
  }
}

void TaskTable::StartMissing(const TaskOrder& order, std::vector<Action>* actions) {
  const auto& assignment = order.assignment();
  History& history = history_[assignment.task_id()];
  if (assignment.epoch() < history.epoch) return;
  if (assignment.epoch() > history.epoch) {
    history.epoch = assignment.epoch();
    std::set<std::pair<int64_t, int32_t>> started;
    for (int i = 0; i < assignment.ranks_size(); ++i) {
      const std::pair<int64_t, int32_t> process(ProcessEpoch(assignment, i), assignment.ranks(i));
      if (history.started.count(process) > 0) started.insert(process);
    }
    history.started = std::move(started);
  }
  // A stopped order has nothing to checkpoint before its start, but the coordinator waits to hear of its end.
  const std::string fault = order.stop() ? "told to stop before it was started" : Fault(order);
  const bool waits = UnwantedRuns(assignment.task_id());
  for (int i = 0; i < assignment.ranks_size(); ++i) {
    const ProcessKey key{assignment.task_id(), ProcessEpoch(assignment, i), assignment.ranks(i)};
    if (history.started.count({key.epoch, key.rank}) > 0 || processes_.count(key) > 0) continue;
    if (!fault.empty()) {
      history.started.insert({key.epoch, key.rank});
      actions->push_back(Refuse{key, fault});
      continue;
    }
    const bool auxiliary = order.slots_size() == 0;
    if ((waits || (!auxiliary && SlotTaken(order.slots(i)))) && !URSA_PLANTED_BUG(share_slots)) continue;
    if (!URSA_PLANTED_BUG(start_again)) history.started.insert({key.epoch, key.rank});
    Process& process = processes_[key];
    process.group_epoch = assignment.epoch();
    Start start{key, assignment};
    start.assignment.set_rank(key.rank);
    if (!auxiliary) {
      process.slot = start.slot = order.slots(i);
      start.assignment.set_device_index(order.slots(i));
    }
    actions->push_back(std::move(start));
  }
}

std::string TaskTable::Fault(const TaskOrder& order) const {
  const int num_epochs = order.assignment().rank_epochs_size();
  if (num_epochs != 0 && num_epochs != order.assignment().ranks_size())
    return absl::StrCat("order has ", order.assignment().ranks_size(), " ranks and ", num_epochs, " epochs of ranks");
  if (order.slots_size() == 0) return "";
  if (order.slots_size() != order.assignment().ranks_size())
    return absl::StrCat("order has ", order.assignment().ranks_size(), " ranks and ", order.slots_size(), " slots");
  if (std::set<int32_t>(order.slots().begin(), order.slots().end()).size() != size_t(order.slots_size()))
    return "order names a slot twice";
  for (const int32_t slot : order.slots()) {
    if (slot < 0 || slot >= num_slots_)
      return absl::StrCat("order names slot ", slot, ", this worker has ", num_slots_);
  }
  return "";
}

const TaskOrder* TaskTable::FindOrder(const ProcessKey& key) const {
  const auto it = desired_.find(key.task_id);
  if (it == desired_.end()) return nullptr;
  const TaskAssignment& assignment = it->second.assignment();
  for (int i = 0; i < assignment.ranks_size(); ++i) {
    if (assignment.ranks(i) == key.rank && ProcessEpoch(assignment, i) == key.epoch) return &it->second;
  }
  return nullptr;
}

bool TaskTable::UnwantedRuns(const std::string& task_id) const {
  for (auto it = processes_.lower_bound(ProcessKey{task_id, 0, 0});
       it != processes_.end() && it->first.task_id == task_id; ++it) {
    if (FindOrder(it->first) == nullptr) return true;
  }
  return false;
}

bool TaskTable::SlotTaken(int32_t slot) const {
  return std::any_of(processes_.begin(), processes_.end(),
                     [slot](const auto& entry) { return entry.second.slot == slot; });
}

absl::Time TaskTable::NextWakeup() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [key, process] : processes_) next = std::min(next, process.kill_at);
  return next;
}

void TaskTable::OnPosition(const ProcessKey& key, worker::v1::RankPosition position, absl::Time now) {
  const auto it = processes_.find(key);
  if (it == processes_.end()) return;
  it->second.position = std::move(position);
  it->second.positioned = now;
}

std::vector<worker::v1::TaskStatus> TaskTable::Running(absl::Time now) const {
  std::vector<worker::v1::TaskStatus> running;
  for (const auto& [key, process] : processes_) {
    worker::v1::TaskStatus& status = running.emplace_back();
    status.set_task_id(key.task_id);
    status.set_epoch(key.epoch);
    status.set_rank(key.rank);
    if (!process.position) continue;
    *status.mutable_position() = *process.position;
    status.set_silent_millis(absl::ToInt64Milliseconds(now - process.positioned));
  }
  return running;
}

std::optional<ProcessKey> TaskTable::FindProcess(const std::string& task_id, int64_t epoch) const {
  const auto it = processes_.lower_bound(ProcessKey{task_id, epoch, 0});
  if (it == processes_.end() || it->first.task_id != task_id || it->first.epoch != epoch) return std::nullopt;
  return it->first;
}

}  // namespace ursa
