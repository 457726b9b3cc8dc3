// Auxiliary tasks: ingest, evaluation, prediction. One process and one thread beside a worker's slots.
#ifndef URSA_COORDINATOR_CORE_AUX_TASKS_H_
#define URSA_COORDINATOR_CORE_AUX_TASKS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/core/workers.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa {

// Places auxiliary tasks and hears of them; what their work means is their owner's (imports, evaluations, comparisons,
// predictions). A worker has one ingest or evaluation at a time, and beside it some prediction processes. On a worker
// with GPUs an evaluation of a model that was trained there takes a free slot before any queued training.
//
//   waiting --1--> placed --2--> ending --4--> (gone)
//      ^             |---3--> ending --4--> (gone)       owner told of the failure
//      `-----5-------'
//   1 Schedule: a new epoch         2 it has completed: the owner is told      3 USER_ERROR, or too many deaths
//   4 its process is gone            5 it died or its worker is gone: tried again, elsewhere if need be
//
// A prediction process is not tried again: its callers are told. Guarded by the coordinator's lock.
class AuxTasks {
 public:
  struct Owner {
    // A report of its work (ingest, predictions, predict); may apply.
    std::function<void(Tx& tx, const records::AuxTaskRecord& task, const worker::v1::TaskEvent& event)> on_report;
    // Its work is done, or has failed for good.
    std::function<void(Tx& tx, const records::AuxTaskRecord& task, const absl::Status& status)> on_end;
    // It will begin anew.
    std::function<void(Tx& tx, const records::AuxTaskRecord& task)> on_retry;
  };

  AuxTasks(const Environment* env, Workers* workers, Scheduler* scheduler, Owner owner)
      : env_(*env), workers_(*workers), scheduler_(*scheduler), owner_(std::move(owner)) {}

  // Adds a task that waits; `task` says kind and owner. Returns its number.
  int64_t Add(Tx& tx, records::AuxTaskRecord task);
  // It is no longer wanted. The owner is not told.
  void Drop(Tx& tx, int64_t task_id);

  // Places what waits. On GPUs it takes the next free slot, before any queued training; after Scheduler::Sync.
  void Schedule(Tx& tx);

  // As in Gangs.
  bool OnEvent(Tx& tx, int64_t worker_id, const worker::v1::StampedEvent& event);
  // As in Gangs: what is ending, and not among what lives there for a while, is gone.
  void OnHeartbeat(Tx& tx, int64_t worker_id, const worker::v1::Heartbeat& heartbeat);
  void OnWorkerGone(Tx& tx, int64_t worker_id, const std::string& why);
  void AddOrders(const Tx& tx, int64_t worker_id, worker::v1::DesiredState* desired) const;

  // Whether a worker could ever run one.
  bool HasWorker(const Tx& tx) const { return !workers_.UsableWorkers(tx).empty(); }

  int64_t num_refused() const { return num_refused_; }

 private:
  std::optional<RankPlace> FindPlace(const Tx& tx, const records::AuxTaskRecord& task) const;
  void OnDeath(Tx& tx, records::AuxTaskRecord task, const std::string& why, bool counts);

  const Environment& env_;
  Workers& workers_;
  Scheduler& scheduler_;
  const Owner owner_;
  std::map<int64_t, absl::Time> missing_since_;  // of tasks that are ending
  int64_t num_refused_ = 0;
};

// "a4"; nothing for another text.
std::string AuxTaskName(int64_t task_id);
std::optional<int64_t> ParseAuxTaskName(const std::string& text);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_AUX_TASKS_H_
