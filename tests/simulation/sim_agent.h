// One worker machine: the production AgentState, and simulated processes, cache and transfers around it.
#ifndef URSA_TESTS_SIMULATION_SIM_AGENT_H_
#define URSA_TESTS_SIMULATION_SIM_AGENT_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/backoff.h"
#include "base/rng.h"
#include "tests/simulation/invariants.h"
#include "tests/simulation/network.h"
#include "tests/simulation/sim_coordinator.h"
#include "tests/simulation/sim_task.h"
#include "tests/simulation/world.h"
#include "worker/agent/agent_state.h"
#include "worker/agent/log_collector.h"

namespace ursa::sim {

class Fabric;

// What all machines share. Borrowed by them.
struct Cluster {
  World* world = nullptr;
  Network* network = nullptr;
  SimCoordinator* coordinator = nullptr;
  Invariants* invariants = nullptr;
  Fabric* fabric = nullptr;
};

// Carries out what AgentState asks for, as worker/agent/agent.cc does: inputs go into a mailbox, a turn takes them and
// does the actions that follow. Tasks die with their agent. The machine's disk (its id, its cache) outlives both.
class SimAgent : public AgentEnd {
 public:
  struct Options {
    AgentState::Options state;
    worker::v1::Hello hello;  // id and incarnation are filled in
    double start_failure_share = 0;
    absl::Duration turn_most = absl::Microseconds(200);  // until a turn looks into the mailbox
    Backoff::Options retry;                              // of transfers
  };

  SimAgent(const Cluster& cluster, int64_t host, const Options& options);
  ~SimAgent() override;

  // ---- what happens to the machine
  void Boot();
  // The agent dies, with its tasks; it starts again after `downtime`, with `replaced` on an empty disk.
  void Kill(absl::Duration downtime, bool replaced);
  // A signal asks the agent to end; it starts again `downtime` after it has.
  void Shutdown(absl::Duration downtime);
  void Pause(absl::Duration time);
  // From now on its clock runs at that rate; its next life begins `jump` later by it, or earlier.
  void Skew(double rate, absl::Duration jump);
  // Kills one of its processes; false if there is none.
  bool KillTask();
  // Drops what nobody needs from the cache.
  void EvictBlobs();
  void Heal() { start_failures_ = false; }

  bool is_up() const { return state_ != nullptr; }
  int64_t host() const { return host_; }
  // Ranks of trainings that have not been reaped.
  int64_t num_training() const;
  const AgentState* state() const { return state_.get(); }
  // Whether that process lives.
  bool Runs(const ProcessKey& key) const;

  // ---- what its tasks ask of it; each answer comes only if the process still lives
  void In(int64_t process_id, absl::Duration delay, std::function<void()> then);
  using Fetched = std::function<void(absl::StatusOr<std::vector<std::string>> contents)>;
  void Fetch(int64_t process_id, const std::vector<std::string>& hashes, Fetched done);
  std::string PutBlob(const std::string& content);
  void Report(int64_t process_id, std::vector<worker::v1::TaskEvent> events, std::function<void(absl::Status)> done);
  void Rendezvous(int64_t process_id, worker::v1::StoreRequest request,
                  std::function<void(absl::StatusOr<worker::v1::StoreResponse>)> done);
  void Print(int64_t process_id, const std::string& text);
  void Exit(int64_t process_id, int exit_code, int signal);
  const Cluster& cluster() const { return cluster_; }

  absl::Time PausedUntil() const override { return paused_until_; }
  void OnStreamMessage(int64_t stream_id, worker::v1::ConnectResponse message) override;
  void OnStreamClosed(int64_t stream_id, const absl::Status& status) override;

 private:
  struct Process {
    ProcessKey key;
    std::unique_ptr<SimTask> task;  // null: it has died and is not yet reaped
    LogCollector log;
  };
  struct Blob {
    std::string content;
    std::set<int64_t> pins;  // events that name it
  };
  struct Upload {
    int64_t event_id = 0;
    std::vector<std::string> hashes;
  };

  void Post(std::function<void()> input);
  void ScheduleTurn(absl::Time time);
  void Turn();
  void Die();
  void Do(TaskTable::Start action);
  void Do(TaskTable::TellStop action);
  void Do(TaskTable::Reform action);
  void Do(TaskTable::Kill action);
  void Do(TaskTable::Refuse) {}  // never given out by AgentState
  void Do(OpenStream action);
  void Do(CloseStream action);
  void Do(SendMessage action);
  void Do(KeepWorkerId action) { worker_id_ = action.worker_id; }
  void Do(UploadBlobs action);
  void Do(ReleaseBlobs action);
  void Do(AnswerReport action);
  void Do(AnswerRendezvous action);
  void Do(DeliverPredict) {}  // the workload asks for no predictions
  void Do(ExitAgent action);

  void Reap(int64_t process_id, const worker::v1::TaskExited& exited);
  void FetchNext(int64_t process_id, std::vector<std::string> hashes, std::vector<std::string> contents,
                 Backoff backoff, Fetched done);
  void StartUpload();
  void UploadNext(std::vector<std::string> hashes);
  void UploadLater(const absl::Status& status);
  void FinishUpload();
  // An event of this life of the agent; not run while it is paused.
  void InLife(absl::Duration delay, std::function<void()> then);

  const Cluster cluster_;
  World& world_;
  const int64_t host_;
  const Options options_;
  MachineClock clock_;
  absl::Duration clock_jump_;  // at the next start
  bool start_failures_ = true;

  // The disk.
  std::string worker_id_;
  std::map<std::string, Blob> cache_;

  // The agent's process.
  int64_t incarnation_ = 0;  // its number; it is up while state_ is there
  std::unique_ptr<SeededRng> rng_;
  std::unique_ptr<AgentState> state_;
  std::shared_ptr<Connection> connection_;
  int64_t stream_id_ = 0;
  std::vector<std::function<void()>> mailbox_;
  absl::Time turn_at_ = absl::InfiniteFuture();  // of the next turn that is scheduled
  int64_t turn_number_ = 0;
  std::map<int64_t, Process> processes_;
  int64_t next_id_ = 1;  // of processes, events, reports and calls
  std::map<int64_t, std::pair<int64_t, std::function<void(absl::Status)>>> reports_;
  std::map<int64_t, std::pair<int64_t, std::function<void(absl::StatusOr<worker::v1::StoreResponse>)>>> calls_;
  std::deque<Upload> uploads_;  // the first one runs
  std::optional<Backoff> upload_backoff_;
  std::set<int64_t> wanted_uploads_;

  absl::Time paused_until_ = absl::InfinitePast();
  absl::Duration downtime_;  // after the end that is under way
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_SIM_AGENT_H_
