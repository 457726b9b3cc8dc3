// The coordinator's machine: the production coordinator over a simulated disk, killed and started again.
#ifndef URSA_TESTS_SIMULATION_SIM_COORDINATOR_H_
#define URSA_TESTS_SIMULATION_SIM_COORDINATOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "coordinator/commit/commit.h"
#include "coordinator/commit/executor.h"
#include "coordinator/core/coordinator.h"
#include "storage/blob_store.h"
#include "storage/log_store.h"
#include "storage/metric_log.h"
#include "storage/prediction_ledger.h"
#include "storage/record_store.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/network.h"
#include "tests/simulation/promises.h"
#include "tests/simulation/world.h"

namespace ursa::sim {

//   down --Start--> up --Crash, or armed to die--> dying --end of the event--> down
//
// What runs while it dies sees no error, but nothing leaves the process and nothing reaches the disk. Borrows all that
// it is given. What main.cc does around the coordinator (stores, ticks, restarts) is done here with virtual time.
class SimCoordinator : public CoordinatorEnd {
 public:
  struct Options {
    CoordinatorOptions coordinator;
    absl::Duration sync_least = absl::Microseconds(100);
    absl::Duration sync_most = absl::Milliseconds(5);
    absl::Duration work_most = absl::Milliseconds(5);  // until the executor gets to a function
    bool readable_states = false;                      // where the records give another state than lived
  };

  SimCoordinator(World* world, Network* network, Disk* disk, Promises* promises, const Options& options);
  ~SimCoordinator() override;

  void Start();
  // Ends the process now, as kill -9 does; it starts again after `downtime`.
  void Crash(absl::Duration downtime);
  // It will die in its `n`-th sending or reply from now on, in the middle of a commit's effects.
  void DieAtSending(int64_t n, absl::Duration downtime);
  void Pause(absl::Duration time);
  // Until then its disk needs up to `sync_most` for a sync.
  void SlowDisk(absl::Duration time, absl::Duration sync_most);
  // What was planned for it and has not happened is called off; a pause or a downtime under way ends by itself.
  void Heal() { dies_at_sending_ = 0; }
  // The clock of its machine jumps when the process starts the next time.
  void JumpClockAtStart(absl::Duration jump) { clock_jump_ = jump; }

  bool is_up() const { return process_ != nullptr && !is_dying_; }
  // Requires is_up(). Whoever calls it says Ran() afterwards.
  Coordinator& coordinator() { return *process_->coordinator; }
  BlobStore& blobs() { return *process_->blobs; }
  Promises& promises() { return promises_; }
  void Ran();

  // Whether all that was decided is durable and all that follows from it has been done.
  bool is_quiet() const;
  // The records on the disk give the very state that lives. Requires is_quiet(). After each death it is done by itself,
  // where all that lived was durable.
  void CheckRecords();
  // How often it was done.
  int64_t num_compared() const { return num_compared_; }

  int64_t Incarnation() const override { return is_up() ? incarnation_ : 0; }
  absl::Time PausedUntil() const override { return paused_until_; }
  void OnStreamMessage(const std::shared_ptr<Connection>& session, worker::v1::ConnectRequest message,
                       std::function<void(absl::Status)> processed) override;
  void OnStreamClosed(const WorkerSession* session) override;
  void OnCall(const std::function<void()>& serve) override;
  bool MayLeave() override;
  void OnLeaving(const StreamName& stream, const worker::v1::ConnectResponse& message) override;

 private:
  // Runs each function as an event of its own, in any order, as threads would.
  class EventExecutor : public Executor {
   public:
    explicit EventExecutor(SimCoordinator* owner) : owner_(*owner), incarnation_(owner->incarnation_) {}
    void Run(std::function<void()> function) override;
    int64_t num_waiting() const { return num_waiting_; }

   private:
    void RunWhenAwake(std::function<void()> function);
    SimCoordinator& owner_;
    const int64_t incarnation_;
    int64_t num_waiting_ = 0;
  };

  // What a process has in memory. Members end in reverse order.
  struct Process {
    explicit Process(SimCoordinator* owner);
    RecordStore records;
    MetricLog metrics;
    LogStore logs;
    PredictionLedger ledger;
    EventExecutor executor;
    std::unique_ptr<BlobStore> blobs;
    std::unique_ptr<Commit> commit;
    std::unique_ptr<Coordinator> coordinator;
  };

  void Die();
  void Bury();
  void Tick();
  void ScheduleCommit();
  void RunCommit();
  std::string ExportState();
  void CompareStates(const std::string& live, const std::string& stored);

  World& world_;
  Network& network_;
  Disk& disk_;
  Promises& promises_;
  const Options options_;
  MachineClock clock_;
  std::unique_ptr<Process> process_;
  int64_t incarnation_ = 0;
  bool is_dying_ = false;
  bool has_unwritten_ = false;           // a commit has failed, and has not reached the disk
  std::optional<std::string> expected_;  // state that the next start must read
  int64_t num_compared_ = 0;
  bool has_commit_event_ = false;
  absl::Duration downtime_;
  absl::Duration clock_jump_;
  int64_t dies_at_sending_ = 0;  // 0: not armed
  absl::Time paused_until_ = absl::InfinitePast();
  absl::Time ticked_at_;
  absl::Time slow_until_ = absl::InfinitePast();
  absl::Duration slow_sync_most_;
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_SIM_COORDINATOR_H_
