// What an agent knows and decides: the whole of it, without doing any of it.
#ifndef URSA_WORKER_AGENT_AGENT_STATE_H_
#define URSA_WORKER_AGENT_AGENT_STATE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/backoff.h"
#include "base/rng.h"
#include "ursa/worker/v1/worker.pb.h"
#include "worker/agent/event_outbox.h"
#include "worker/agent/task_table.h"

namespace ursa {

// What AgentState asks to be done, in order. `stream_id`, `event_id`, `report_id` and `call_id` come back with the
// answer, so an answer that is late is recognised.
struct OpenStream {  // to the coordinator; answered by OnStreamClosed at the latest
  int64_t stream_id = 0;
};
struct CloseStream {
  int64_t stream_id = 0;
};
struct SendMessage {
  int64_t stream_id = 0;
  worker::v1::ConnectRequest message;
};
struct KeepWorkerId {  // durably, before the next start
  std::string worker_id;
};
struct UploadBlobs {  // answered by OnUploaded or OnUploadFailed
  int64_t event_id = 0;
  std::vector<std::string> hashes;
};
struct ReleaseBlobs {  // the event's blobs may leave the cache; an upload that runs may end
  int64_t event_id = 0;
};
struct AnswerReport {
  int64_t report_id = 0;
  absl::Status status;
};
struct AnswerRendezvous {
  int64_t call_id = 0;
  absl::StatusOr<worker::v1::StoreResponse> response;
};
struct DeliverPredict {
  ProcessKey key;
  worker::v1::PredictInput input;
};
struct ExitAgent {  // all is said; nothing runs any more
  absl::Status status;
};
using AgentAction = std::variant<TaskTable::Start, TaskTable::TellStop, TaskTable::Reform, TaskTable::Kill, OpenStream,
                                 CloseStream, SendMessage, KeepWorkerId, UploadBlobs, ReleaseBlobs, AnswerReport,
                                 AnswerRendezvous, DeliverPredict, ExitAgent>;

// The agent as a pure state machine: tell it what happened, and take the actions that follow. No I/O, no clock (time
// comes in), no threads; randomness from the given Rng only. Used by Agent, which carries the actions out, and by
// simulations.
//
//   waiting --1--> opening --2--> connected --3--> waiting
//   1. the backoff is over: OpenStream, Hello.  2. Welcome came: heartbeats; what was not acknowledged is sent (again),
//   open rendezvous calls are asked again, under the ids that they had: the coordinator answers one that it has carried
//   out already as it did then, so that an ADD counts once.  3. the stream broke, at any time: back off. Tasks go on.
//
// A coordinator that is away ends no task, however long: fencing epochs keep a stale one harmless, and the first
// desired state after Welcome says which may go on.
class AgentState {
 public:
  struct Options {
    TaskTable::Options tasks;
    EventOutbox::Options events;
    // So that it is back within two seconds when a link heals.
    Backoff::Options reconnect{absl::Milliseconds(50), absl::Seconds(1), 2};
    absl::Duration welcome_limit = absl::Seconds(15);     // from Hello to Welcome
    absl::Duration report_limit = absl::Minutes(5);       // a report waits so long for room
    absl::Duration rendezvous_limit = absl::Seconds(60);  // beyond the call's own timeout, for the coordinator's answer
    absl::Duration flush_limit = absl::Seconds(60);       // at the end, for events to be acknowledged
    absl::Duration flush_limit_away = absl::Seconds(5);   // the same while the coordinator is away
    size_t event_bytes_max = size_t{3} << 20;             // of one event
  };

  // `hello` says what this agent is; its tasks are filled in. `rng` is borrowed.
  AgentState(const Options& options, worker::v1::Hello hello, Rng* rng);

  // The coordinator.
  void OnStreamClosed(int64_t stream_id, const absl::Status& status, absl::Time now);
  void OnMessage(int64_t stream_id, const worker::v1::ConnectResponse& message, absl::Time now);
  void OnUploaded(int64_t event_id) { outbox_.OnUploaded(event_id); }
  void OnUploadFailed(int64_t event_id, const absl::Status& status);

  // Processes.
  void OnStarted(const ProcessKey& key) { tasks_.OnStarted(key); }
  // The process has been reaped (or could not be started: `exited` says so); all it printed has been handed over.
  void OnEnded(const ProcessKey& key, const worker::v1::TaskExited& exited);
  void OnPrinted(const ProcessKey& key, std::vector<worker::v1::LogChunk> chunks);
  size_t LogRoom(const ProcessKey& key) const { return outbox_.LogRoom(key); }

  // Tasks' calls. `event_ids[i]` is the id of event i if it names blobs, else 0. Each is answered once.
  void OnReport(const ProcessKey& key, int64_t report_id, std::vector<worker::v1::TaskEvent> events,
                std::vector<int64_t> event_ids, absl::Time now);
  void OnPosition(const ProcessKey& key, worker::v1::RankPosition position, absl::Time now) {
    tasks_.OnPosition(key, std::move(position), now);
  }
  void OnRendezvous(const ProcessKey& key, int64_t call_id, worker::v1::StoreRequest request, absl::Time now);

  // Slots as they were checked: told in Hello, and whenever they change. An agent that awaits them connects after the
  // first ones. Returns whether they have changed.
  void AwaitSlots() { awaits_slots_ = true; }
  bool SetSlots(const std::vector<v1::WorkerSlot>& slots);

  // Stop tasks, flush, exit.
  void BeginShutdown() { shutting_down_ = true, tasks_.BeginShutdown(); }
  // Kill tasks and exit, without waiting for the coordinator.
  void KillAll() { BeginShutdown(), in_haste_ = true, tasks_.KillAll(); }

  // What follows from all that was said and from the time. To be called after each change, and at NextWakeup().
  std::vector<AgentAction> TakeActions(absl::Time now);
  absl::Time NextWakeup() const;

  bool connected() const { return phase_ == Phase::kConnected; }
  // Whether the coordinator may give it more tasks, as far as is known.
  bool awaits_tasks() const { return is_offered_ && !shutting_down_; }
  const std::string& worker_id() const { return hello_.worker_id(); }
  const TaskTable& tasks() const { return tasks_; }
  const EventOutbox& outbox() const { return outbox_; }

 private:
  enum class Phase { kWaiting, kOpening, kConnected, kExited };
  struct Report {
    ProcessKey key;
    int64_t report_id = 0;
    std::vector<worker::v1::TaskEvent> events;
    std::vector<int64_t> event_ids;
    absl::Time deadline;
  };
  struct Call {
    ProcessKey key;
    worker::v1::StoreRequest request;
    absl::Time deadline;
    bool sent = false;  // on the present stream
  };

  void OnWelcome(const worker::v1::Welcome& welcome, absl::Time now);
  void OnPredict(const worker::v1::PredictCall& call);
  void OnRendezvousAnswer(const worker::v1::RendezvousResponse& answer);
  void StepConnection(absl::Time now);
  void StepTasks(absl::Time now);
  void StepReports(absl::Time now);
  void StepRendezvous(absl::Time now);
  void StepSending(absl::Time now);
  void StepExit(absl::Time now);
  void Accept(Report report);
  void Send(worker::v1::ConnectRequest message);

  const Options options_;
  worker::v1::Hello hello_;
  TaskTable tasks_;
  EventOutbox outbox_;
  Backoff backoff_;

  Phase phase_ = Phase::kWaiting;
  int64_t stream_id_ = 0;                           // of the newest stream
  absl::Time connect_at_ = absl::InfinitePast();    // phase kWaiting
  absl::Time welcome_by_ = absl::InfiniteFuture();  // phase kOpening
  bool close_asked_ = false;                        // of the present stream
  bool awaits_slots_ = false;
  bool are_slots_told_ = false;  // on the present stream
  bool was_welcome_ = false;     // ever
  bool is_offered_ = false;      // the coordinator said last that it may give tasks
  absl::Duration heartbeat_ = absl::Seconds(1);
  absl::Time heartbeat_at_ = absl::InfiniteFuture();

  std::deque<Report> reports_;     // that wait for room, oldest first
  std::map<int64_t, Call> calls_;  // by call id

  bool shutting_down_ = false;
  bool in_haste_ = false;
  std::optional<absl::Time> flush_began_;  // when the last process was gone
  std::vector<AgentAction> actions_;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_AGENT_STATE_H_
