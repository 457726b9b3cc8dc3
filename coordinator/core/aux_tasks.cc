#include "coordinator/core/aux_tasks.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/planted_bug.h"

namespace ursa {
namespace {

using Outcome = worker::v1::TaskFinished;

constexpr int32_t kNoSlot = -1;

bool IsPrediction(const records::AuxTaskRecord& task) { return task.assignment().has_predict(); }

}  // namespace

std::string AuxTaskName(int64_t task_id) { return Id<'a'>(task_id).ToString(); }

std::optional<int64_t> ParseAuxTaskName(const std::string& text) {
  const auto id = Id<'a'>::Parse(text);
  if (!id) return std::nullopt;
  return id->number();
}

int64_t AuxTasks::Add(Tx& tx, records::AuxTaskRecord task) {
  const int64_t id = TakeNumber(tx, "aux");
  task.set_id(id);
  task.set_slot(kNoSlot);
  tx.Put(std::move(task));
  return id;
}

void AuxTasks::Drop(Tx& tx, int64_t task_id) {
  const auto* found = tx.state().Find<records::AuxTaskRecord>(task_id);
  if (found == nullptr) return;
  if (found->worker_id() == 0) {
    tx.Apply(std::move(Mutation().Delete<records::AuxTaskRecord>(task_id)));
    return;
  }
  records::AuxTaskRecord task = *found;
  task.set_ending(true);
  tx.Put(std::move(task));
}

std::optional<RankPlace> AuxTasks::FindPlace(const Tx& tx, const records::AuxTaskRecord& task) const {
  std::optional<RankPlace> best;
  size_t best_load = 0;
  for (const records::WorkerRecord* worker : workers_.UsableWorkers(tx)) {
    const WorkerLoad& load = tx.state().LoadOf(worker->id());
    size_t num_jobs = 0;
    size_t num_predictions = 0;
    for (const int64_t id : load.aux_tasks) {
      ++(IsPrediction(*tx.state().Find<records::AuxTaskRecord>(id)) ? num_predictions : num_jobs);
    }
    if (IsPrediction(task) ? num_predictions >= static_cast<size_t>(env_.options.warm_predictions_max) : num_jobs > 0) {
      continue;
    }
    if (!best || load.aux_tasks.size() < best_load) {
      best = RankPlace{worker->id(), kNoSlot};
      best_load = load.aux_tasks.size();
    }
  }
  return best;
}

void AuxTasks::Schedule(Tx& tx) {
  const std::set<int64_t> waiting = tx.state().waiting_aux_tasks();
  for (const int64_t id : waiting) {
    const auto* found = tx.state().Find<records::AuxTaskRecord>(id);
    const std::string& device = found->assignment().device();
    const std::optional<RankPlace> place =
        device == "cuda" ? scheduler_.HoldSlot(tx, device, id) : FindPlace(tx, *found);
    if (!place) continue;
    records::AuxTaskRecord task = *found;
    task.set_worker_id(place->worker_id);
    task.set_slot(place->slot);
    task.set_epoch(task.epoch() + 1);
    task.set_outcome(Outcome::OUTCOME_UNSPECIFIED);
    task.set_reason("");
    task.set_num_done(0);
    URSA_LOG(INFO) << "task=" << AuxTaskName(id) << " worker=" << WorkerId(place->worker_id).ToString()
                   << " epoch=" << task.epoch() << " WAITING->PLACED";
    tx.Put(std::move(task));
  }
}

bool AuxTasks::OnEvent(Tx& tx, int64_t worker_id, const worker::v1::StampedEvent& stamped) {
  const auto id = ParseAuxTaskName(stamped.task_id());
  const auto* found = id ? tx.state().Find<records::AuxTaskRecord>(*id) : nullptr;
  if (found == nullptr || found->worker_id() != worker_id || found->epoch() != stamped.epoch()) {
    ++num_refused_;
    return false;
  }
  records::AuxTaskRecord task = *found;
  const worker::v1::TaskEvent& event = stamped.event();
  switch (event.event_case()) {
    case worker::v1::TaskEvent::kProgress:
      task.set_num_done(event.progress().num_done());
      tx.Put(std::move(task));
      return true;
    case worker::v1::TaskEvent::kIngest:
    case worker::v1::TaskEvent::kPredictions:
    case worker::v1::TaskEvent::kPredict:
      if (!task.ending()) owner_.on_report(tx, task, event);
      return true;
    case worker::v1::TaskEvent::kFinished: {
      if (task.ending()) return true;
      task.set_outcome(event.finished().outcome());
      task.set_reason(event.finished().reason());
      const bool completed = task.outcome() == Outcome::OUTCOME_COMPLETED;
      const bool is_final = completed || task.outcome() == Outcome::OUTCOME_USER_ERROR;
      if (task.outcome() == Outcome::OUTCOME_STOPPED) workers_.SetLeaving({worker_id});
      task.set_ending(is_final);
      tx.Put(task);
      if (is_final) {
        owner_.on_end(tx, task, completed ? absl::OkStatus() : absl::InvalidArgumentError(task.reason()));
      }
      return true;
    }
    case worker::v1::TaskEvent::kExited: {
      const worker::v1::TaskExited& exited = event.exited();
      std::string why = !task.reason().empty() ? task.reason()
                        : exited.signal() != 0 ? absl::StrCat("ended by signal ", exited.signal())
                                               : absl::StrCat("ended with exit status ", exited.exit_code());
      if (!exited.last_words().empty()) absl::StrAppend(&why, "; its last words: ", exited.last_words());
      OnDeath(tx, std::move(task), why, task.outcome() != Outcome::OUTCOME_STOPPED);
      return true;
    }
    default:
      return true;  // a log: auxiliary tasks have none here
  }
}

void AuxTasks::OnHeartbeat(Tx& tx, int64_t worker_id, const worker::v1::Heartbeat& heartbeat) {
  const auto& tasks = tx.state().LoadOf(worker_id).aux_tasks;
  if (tasks.empty()) return;
  const absl::Time now = env_.clock->Now();
  const absl::Time connected = workers_.ConnectedSince(worker_id);
  std::vector<int64_t> gone;
  for (const int64_t id : tasks) {
    const auto& task = *tx.state().Find<records::AuxTaskRecord>(id);
    if (!task.ending()) continue;
    const auto& alive = heartbeat.tasks();
    const std::string name = AuxTaskName(id);
    if (std::any_of(alive.begin(), alive.end(), [&](const worker::v1::TaskStatus& status) {
          return status.task_id() == name && status.epoch() == task.epoch();
        })) {
      missing_since_.erase(id);
      continue;
    }
    const absl::Time since = missing_since_.try_emplace(id, now).first->second;
    if (now - std::max(since, connected) >= env_.options.unseen_time) gone.push_back(id);
  }
  for (const int64_t id : gone) {
    OnDeath(tx, *tx.state().Find<records::AuxTaskRecord>(id), "its worker does not have it", false);
  }
}

void AuxTasks::OnDeath(Tx& tx, records::AuxTaskRecord task, const std::string& why, bool counts) {
  const int64_t id = task.id();
  missing_since_.erase(id);
  if (task.ending()) {
    tx.Apply(std::move(Mutation().Delete<records::AuxTaskRecord>(id)));
    return;
  }
  URSA_LOG(WARNING) << "task=" << AuxTaskName(id) << " epoch=" << task.epoch() << " died: " << why;
  if (counts) task.set_attempts(task.attempts() + 1);
  if (IsPrediction(task) || task.attempts() >= env_.options.aux_attempts_max) {
    tx.Apply(std::move(Mutation().Delete<records::AuxTaskRecord>(id)));
    owner_.on_end(tx, task,
                  absl::AbortedError(absl::StrCat(
                      "task ", AuxTaskName(id), " died",
                      task.attempts() > 1 ? absl::StrCat(" ", task.attempts(), " times") : "", ": ", why)));
    return;
  }
  task.set_worker_id(0);
  task.set_slot(kNoSlot);
  tx.Put(task);
  owner_.on_retry(tx, task);
}

void AuxTasks::OnWorkerGone(Tx& tx, int64_t worker_id, const std::string& why) {
  if (URSA_PLANTED_BUG(keep_lost_aux_tasks)) return;
  const std::set<int64_t> ids = tx.state().LoadOf(worker_id).aux_tasks;
  for (const int64_t id : ids) OnDeath(tx, *tx.state().Find<records::AuxTaskRecord>(id), why, false);
}

void AuxTasks::AddOrders(const Tx& tx, int64_t worker_id, worker::v1::DesiredState* desired) const {
  for (const int64_t id : tx.state().LoadOf(worker_id).aux_tasks) {
    const auto& task = *tx.state().Find<records::AuxTaskRecord>(id);
    if (task.ending()) continue;
    worker::v1::TaskOrder* order = desired->add_orders();
    worker::v1::TaskAssignment* assignment = order->mutable_assignment();
    *assignment = task.assignment();
    assignment->set_task_id(AuxTaskName(id));
    assignment->set_epoch(task.epoch());
    assignment->set_world_size(1);
    assignment->add_ranks(0);
    assignment->set_threads(1);
    if (task.slot() != kNoSlot) order->add_slots(task.slot());
  }
}

}  // namespace ursa
