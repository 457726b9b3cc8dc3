// The agent of one machine: carries out what AgentState decides.
#ifndef URSA_WORKER_AGENT_AGENT_H_
#define URSA_WORKER_AGENT_AGENT_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/clock.h"
#include "base/rng.h"
#include "worker/agent/agent_state.h"
#include "worker/agent/blob_cache.h"
#include "worker/agent/blob_fetcher.h"
#include "worker/agent/blob_uploader.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/health/machine_reader.h"
#include "worker/agent/health/slot_health.h"
#include "worker/agent/launch/spare_keeper.h"
#include "worker/agent/launch/spare_task.h"
#include "worker/agent/launch/task_launcher.h"
#include "worker/agent/log_collector.h"
#include "worker/agent/process_supervisor.h"
#include "worker/agent/task_server.h"

namespace ursa {

// Ties AgentState to the link, the cache and the processes. Borrows link, cache and clock. Run() is the one thread that
// touches the state; everything else (callbacks of the link, the processes, the tasks' calls, the transfers) posts to
// its mailbox. Run() is called once; Shutdown() and KillAll() may be called from any thread, also before Run().
//
// Slots are offered when the machine's checks say so (SlotHealth), which are made before it connects: the first reading
// of the machine, and a start of ursa-task.
//
// A task gets the spare process, if there is one that fits (SpareKeeper); else it is started anew. The spare is no
// task: the coordinator does not hear of it, and it is on no slot.
//
// Shutdown order, when the state says ExitAgent: processes (gone by then, or killed), their servers, the stream,
// transfers.
class Agent final : public TaskHost {
 public:
  struct Options {
    AgentState::Options state;
    BlobFetcher::Options fetch;
    BlobUploader::Options upload;
    LogCollector::Options log;
    TaskServer::Options server;
    SlotHealth::Options health;
    SpareKeeper::Options spare;
    std::vector<v1::WorkerSlot> devices;  // of the slots, in order; none: they are CPU slots
    // Looks at the machine; called on a thread of its own, and may block.
    std::function<MachineReading()> read_machine = [] { return MachineReading{INT64_MAX, {}}; };
    std::string dir;             // the cluster's folder; on the tasks' command lines
    std::string worker_id_file;  // where the id that the coordinator gave is kept
    std::string task_binary;
    std::string fabric_address = "127.0.0.1";   // IP of the interface that carries collectives
    size_t output_bytes_max = size_t{4} << 20;  // printed by processes and not yet looked at; they wait beyond it
  };

  // `hello` says what this agent is.
  Agent(CoordinatorLink* link, BlobCache* cache, Clock* clock, worker::v1::Hello hello, const Options& options);
  ~Agent() override;

  // Works until it is told to end. OK after a shutdown; else why the coordinator refuses this agent.
  absl::Status Run();

  // Stops tasks (they checkpoint), hands over what they reported, ends.
  void Shutdown();
  // Kills tasks and ends.
  void KillAll();

  // TaskHost.
  void FetchBlobs(const ProcessKey& key, const std::vector<std::string>& hashes,
                  std::function<void(absl::StatusOr<std::vector<std::string>>)> done) override;
  absl::StatusOr<std::unique_ptr<BlobCache::Writer>> NewBlob(const ProcessKey& key) override;
  absl::StatusOr<std::string> CommitBlob(const ProcessKey& key, BlobCache::Writer* writer) override;
  void ReportEvents(const ProcessKey& key, std::vector<worker::v1::TaskEvent> events,
                    std::function<void(absl::Status)> done) override;
  void ReportPosition(const ProcessKey& key, worker::v1::RankPosition position) override;
  void Rendezvous(const ProcessKey& key, worker::v1::StoreRequest request,
                  std::function<void(absl::StatusOr<worker::v1::StoreResponse>)> done) override;

 private:
  struct Process {
    ProcessKey key;
    std::unique_ptr<TaskServer> server;
    LogCollector log;
    std::optional<int32_t> slot;
    // To be done if it ends before it has asked for its task: it was a spare that was not ready, and nobody told it
    // more.
    std::optional<TaskTable::Start> start_again = std::nullopt;
  };
  // A process that has been reaped, and whose slot is not free yet: its memory comes back.
  struct Ended {
    ProcessKey key;
    worker::v1::TaskExited exited;
  };

  void Post(std::function<void()> input);
  void Do(TaskTable::Start action);
  void Do(TaskTable::TellStop action);
  void Do(TaskTable::Reform action);
  void Do(TaskTable::Kill action);
  void Do(OpenStream action);
  void Do(CloseStream action);
  void Do(SendMessage action);
  void Do(KeepWorkerId action);
  void Do(UploadBlobs action);
  void Do(ReleaseBlobs action);
  void Do(AnswerReport action);
  void Do(AnswerRendezvous action);
  void Do(DeliverPredict action);
  void Do(ExitAgent action);

  absl::Status StartProcess(const TaskTable::Start& action);
  // Without the spare. `log`, which may hold something already, is the process's if it starts.
  absl::Status LaunchProcess(const TaskTable::Start& action, LogCollector* log);
  Process* AddProcess(const TaskTable::Start& action, LaunchedTask launched, LogCollector* log);
  void OnOutput(int64_t process_id, std::string_view printed);
  void TakeOutput(Process* process, std::string_view printed);
  void OnExit(int64_t process_id, const ProcessSupervisor::Exit& exit);
  // Null if there is none. From now on its end is the task's, however early.
  Process* ProcessToTell(const ProcessKey& key);
  void StepHealth();
  void StartSelfCheck();

  CoordinatorLink* const link_;
  BlobCache* const cache_;
  Clock* const clock_;
  const Options options_;

  // Touched by Run() alone.
  SeededRng rng_;
  AgentState state_;
  std::optional<absl::Status> exit_;
  std::unique_ptr<CoordinatorLink::Stream> stream_;
  int64_t stream_id_ = 0;
  std::string away_reason_;  // logged last; empty while connected
  std::map<int64_t, Process> processes_;
  SlotHealth health_;
  std::map<int32_t, Ended> ended_;  // by slot
  int64_t self_check_id_ = 0;       // its process; 0: there is none
  std::string self_check_printed_;
  bool is_killing_ = false;                                       // KillAll was called
  std::map<int64_t, std::function<void(absl::Status)>> reports_;  // to be answered
  std::map<int64_t, std::function<void(absl::StatusOr<worker::v1::StoreResponse>)>> calls_;

  std::atomic<int64_t> next_event_id_{1};

  absl::Mutex mu_;
  std::deque<std::function<void()>> mailbox_ ABSL_GUARDED_BY(mu_);
  size_t output_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of printed text in the mailbox
  bool closed_ ABSL_GUARDED_BY(mu_) = false;      // Run() has ended: nothing is taken any more

  std::optional<MachineReader> reader_;
  std::optional<BlobFetcher> fetcher_;
  std::optional<BlobUploader> uploader_;
  std::optional<ProcessSupervisor> supervisor_;
  std::optional<TaskLauncher> launcher_;
  std::optional<SpareTask> spare_;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_AGENT_H_
