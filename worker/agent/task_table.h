// Which processes should run here, which do, and what follows from the difference.
#ifndef URSA_WORKER_AGENT_TASK_TABLE_H_
#define URSA_WORKER_AGENT_TASK_TABLE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa {

// Names one process: a rank of one start (fencing epoch) of a task.
struct ProcessKey {
  std::string task_id;
  int64_t epoch = 0;
  int32_t rank = 0;

  std::string ToString() const { return task_id + "/" + std::to_string(epoch) + "/" + std::to_string(rank); }
  friend bool operator<(const ProcessKey& a, const ProcessKey& b) {
    return std::tie(a.task_id, a.epoch, a.rank) < std::tie(b.task_id, b.epoch, b.rank);
  }
  friend bool operator==(const ProcessKey& a, const ProcessKey& b) { return !(a < b) && !(b < a); }
};

// Desired and actual processes of one machine. Pure: no I/O, no clock, no threads; time comes in.
//
//   desired (coordinator) --1--> starting --2--> running --3--> stopping --4--> killed
//                                    |              |               |              |
//                                    +--------------+-------5-------+--------------+--> ended
//   1. Reconcile(): the order is new, its slots are free, no older epoch of the task is left here.
//   2. OnStarted().  3. The order says stop, or the agent shuts down: TellStop, with a limit.
//   4. The limit is over, or the order is gone: Kill.  5. OnEnded(): the process has been reaped.
// A process that has ended is never started again for the same epoch; a task's epoch never goes back. An order of a
// newer epoch may go on with processes of older ones (TaskAssignment.rank_epochs): they are told to form the group
// anew.
class TaskTable {
 public:
  struct Options {
    absl::Duration stop_limit = absl::Seconds(120);          // between TellStop and Kill of a task on slots
    absl::Duration auxiliary_stop_limit = absl::Seconds(5);  // the same of an auxiliary task
    absl::Duration finished_limit = absl::Seconds(5);        // for a task that said it is finished to end by itself
  };

  struct Start {
    ProcessKey key;
    worker::v1::TaskAssignment assignment;       // of this process: rank and device_index are set
    std::optional<int32_t> slot = std::nullopt;  // that it takes; none: auxiliary
  };
  struct TellStop {
    ProcessKey key;
    std::string reason;
    bool keeps_state = false;  // as StopDirective has it
  };
  struct Reform {
    ProcessKey key;
    int64_t epoch = 0;  // of the new group
    int32_t world_size = 0;
  };
  struct Kill {
    ProcessKey key;
    std::string reason;
    bool unwanted = false;  // the coordinator no longer wants what it would report
  };
  // The order cannot be carried out; to be reported as if the process had ended.
  struct Refuse {
    ProcessKey key;
    std::string reason;
  };
  using Action = std::variant<Start, TellStop, Reform, Kill, Refuse>;

  TaskTable(int num_slots, const Options& options) : num_slots_(num_slots), options_(options) {}

  // All that should run. Replaces what was said before.
  void SetDesired(const worker::v1::DesiredState& desired);

  // The process runs; ignored for a key that was not started.
  void OnStarted(const ProcessKey& key);
  // The process has been reaped, or could not be started. Frees its slot at once.
  void OnEnded(const ProcessKey& key);
  // The task said that its work is done: it is given a moment to end by itself.
  void OnFinished(const ProcessKey& key, absl::Time now);

  // Where the process is in its work; the latest one is kept.
  void OnPosition(const ProcessKey& key, worker::v1::RankPosition position, absl::Time now);

  // From now on nothing is started, and what runs is told to stop. Idempotent.
  void BeginShutdown();
  // From now on what runs is killed. Idempotent.
  void KillAll();

  // What is to be done now; each action is given once. To be called after every change, and at NextWakeup().
  std::vector<Action> Reconcile(absl::Time now);

  // When a limit runs out; InfiniteFuture if none does.
  absl::Time NextWakeup() const;

  // Processes that have not ended, in the order of their keys.
  std::vector<worker::v1::TaskStatus> Running(absl::Time now) const;
  bool IsRunning(const ProcessKey& key) const { return processes_.count(key) > 0; }
  // The process of this task and epoch with the lowest rank, if one has not ended.
  std::optional<ProcessKey> FindProcess(const std::string& task_id, int64_t epoch) const;
  bool empty() const { return processes_.empty(); }

 private:
  enum class Phase { kStarting, kRunning, kStopping, kKilled };
  struct Process {
    Phase phase = Phase::kStarting;
    std::optional<int32_t> slot;  // none: auxiliary
    int64_t group_epoch = 0;      // that it was told last
    bool finished = false;
    absl::Time kill_at = absl::InfiniteFuture();
    std::optional<worker::v1::RankPosition> position;
    absl::Time positioned;
  };
  // What became of a task's newest epoch here.
  struct History {
    int64_t epoch = 0;
    std::set<std::pair<int64_t, int32_t>> started;  // epoch and rank of processes that the order names
  };

  const worker::v1::TaskOrder* FindOrder(const ProcessKey& key) const;
  // Why the order can never be carried out; empty if it can.
  std::string Fault(const worker::v1::TaskOrder& order) const;
  void ReconcileProcess(const ProcessKey& key, Process* process, absl::Time now, std::vector<Action>* actions);
  void StartMissing(const worker::v1::TaskOrder& order, std::vector<Action>* actions);
  // Whether a process of the task is here that the present order does not name.
  bool UnwantedRuns(const std::string& task_id) const;
  bool SlotTaken(int32_t slot) const;

  const int num_slots_;
  const Options options_;
  bool shutting_down_ = false;
  bool killing_all_ = false;
  std::map<std::string, worker::v1::TaskOrder> desired_;  // by task id
  std::map<ProcessKey, Process> processes_;               // that have not ended
  std::map<std::string, History> history_;                // of tasks that are desired or run
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_TASK_TABLE_H_
