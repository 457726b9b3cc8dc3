// What lies between the machines: streams of agents and unary calls, late, broken and cut off.
#ifndef URSA_TESTS_SIMULATION_NETWORK_H_
#define URSA_TESTS_SIMULATION_NETWORK_H_

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/workers.h"
#include "tests/simulation/promises.h"
#include "tests/simulation/world.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa::sim {

class Connection;
class Network;

// An agent, as its streams see it. Called while its machine is alive and not paused.
class AgentEnd {
 public:
  virtual ~AgentEnd() = default;
  virtual void OnStreamMessage(int64_t stream_id, worker::v1::ConnectResponse message) = 0;
  virtual void OnStreamClosed(int64_t stream_id, const absl::Status& status) = 0;
  // Until when its process stands still.
  virtual absl::Time PausedUntil() const = 0;
};

// The coordinator's machine, as the network sees it.
class CoordinatorEnd {
 public:
  virtual ~CoordinatorEnd() = default;
  // Of the process that runs now; 0 while none does.
  virtual int64_t Incarnation() const = 0;
  virtual absl::Time PausedUntil() const = 0;
  virtual void OnStreamMessage(const std::shared_ptr<Connection>& session, worker::v1::ConnectRequest message,
                               std::function<void(absl::Status)> processed) = 0;
  virtual void OnStreamClosed(const WorkerSession* session) = 0;
  // Runs a call's handler in the process.
  virtual void OnCall(const std::function<void()>& serve) = 0;
  // Whether something that the process sends now leaves it: not if it is dying.
  virtual bool MayLeave() = 0;
  // Looks at what leaves on a stream.
  virtual void OnLeaving(const StreamName& stream, const worker::v1::ConnectResponse& message) = 0;
};

// One stream, both ends of it. In each direction messages arrive in the order sent, or from some point on not at all.
// The ends see its end at different times: meanwhile an agent may have opened a newer one, and what is still under way
// on this one arrives after messages of that.
class Connection final : public WorkerSession, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Network* network, const StreamName& name, AgentEnd* agent);

  // The coordinator's end.
  void Send(worker::v1::ConnectResponse message) override;
  void Close(absl::Status status) override;

  // The agent's end.
  void SendUp(worker::v1::ConnectRequest message);
  void CloseByAgent();
  // The agent's process has died: nobody listens there any more, the coordinator is told.
  void OnAgentDied();

  // Some of what is under way is lost, at a random point in each direction; then each end is told, some time later.
  void Break();
  void OnCoordinatorDied();

  const StreamName& name() const { return name_; }
  bool is_over() const { return agent_ == nullptr && is_server_done_; }

 private:
  template <typename Message>
  struct Item {
    absl::Time due;
    absl::Time sent;
    Message message;
    std::optional<absl::Status> end;  // the last one: no message
    bool is_local = false;            // an end that this machine finds out by itself: no partition holds it up
  };
  template <typename Message>
  struct Direction {
    std::list<Item<Message>> items;  // mostly empty, when a deque would have memory all the same
    bool is_closed = false;          // takes nothing more
    bool has_pump = false;           // an event will look at `items`
    absl::Time last_due;
  };

  template <typename Message>
  void Enqueue(Direction<Message>* direction, Item<Message> item, absl::Duration delay);
  template <typename Message>
  void Cut(Direction<Message>* direction, bool is_blocked, absl::Duration notice);
  void SchedulePump(Direction<worker::v1::ConnectRequest>* direction);
  void SchedulePump(Direction<worker::v1::ConnectResponse>* direction);
  void PumpUp();
  void PumpDown();
  void DeliverUp(Item<worker::v1::ConnectRequest> item);
  void OnProcessed(const absl::Status& status);
  void FinishServer();

  Network& network_;
  World& world_;
  const StreamName name_;
  AgentEnd* agent_;                 // null: it has been told the end, or is dead
  int64_t server_incarnation_ = 0;  // of the coordinator that has it; 0: none yet
  bool is_processing_ = false;      // the coordinator has not yet asked for the next message
  bool is_server_done_ = false;     // the coordinator's end is over
  Direction<worker::v1::ConnectRequest> up_;
  Direction<worker::v1::ConnectResponse> down_;
};

// Owns the connections. Borrows world and coordinator.
class Network {
 public:
  struct Options {
    absl::Duration delay_least = absl::Microseconds(200);
    absl::Duration delay_most = absl::Milliseconds(2);
    double late_share = 0;  // of messages and calls that take up to `late_most`
    absl::Duration late_most = absl::Seconds(6);
    double call_loss = 0;                               // of unary calls, in each direction
    absl::Duration notice_most = absl::Seconds(2);      // until an end sees that a stream is broken
    absl::Duration keepalive_most = absl::Seconds(30);  // the same when nothing tells it
  };

  Network(World* world, const Options& options) : world_(*world), options_(options) {}
  // Before the first connection.
  void SetCoordinator(CoordinatorEnd* coordinator) { coordinator_ = coordinator; }

  std::shared_ptr<Connection> Connect(const StreamName& name, AgentEnd* agent);

  // A unary call from a host (0: a client, whom no partition cuts off). `serve` runs at the coordinator, if the call
  // gets there, perhaps after the caller has given up; `done` is called once, with the answer or UNAVAILABLE.
  template <typename Response>
  void Call(int64_t host, absl::Duration deadline, std::function<void(Done<Response>)> serve, Done<Response> done);

  // Breaks a host's open streams; true if there was one.
  bool BreakStreams(int64_t host);
  // For so long nothing passes between host and coordinator, up or down. What is under way waits.
  void Partition(int64_t host, absl::Duration time, bool up, bool down);
  // Everything runs smoothly again, from now on.
  void Heal();

  // To be called when the coordinator's process has died.
  void OnCoordinatorDied();

  World& world() { return world_; }

 private:
  friend class Connection;
  // A call that has not been answered.
  struct CallState {
    int64_t number = 0;
    int64_t server_incarnation = 0;  // of the coordinator that serves it
    bool is_over = false;            // for the caller
    std::function<void(absl::Status)> fail;
  };
  struct Host {
    absl::Time up_blocked_until;
    absl::Time down_blocked_until;
    // What has arrived from its present agent, to tell what comes again or late.
    int64_t agent_incarnation = 0;
    int64_t newest_stream = 0;
    int64_t newest_sequence = 0;
    std::set<int64_t> call_ids;
  };

  absl::Duration Delay();
  Host& HostOf(int64_t host) { return hosts_[host]; }
  void CountArrival(const StreamName& stream, const worker::v1::ConnectRequest& message);
  void StartCall(int64_t host, absl::Duration deadline, std::shared_ptr<CallState> call, std::function<void()> serve);
  // Whether the answer of `call` leaves the coordinator; then `deliver` is called at its caller, if it gets there.
  void AnswerCall(int64_t host, const std::shared_ptr<CallState>& call, std::function<void()> deliver);
  void FailLater(const std::shared_ptr<CallState>& call, absl::Duration delay, const char* why);
  // Of one host, or of all.
  void ForgetOld(int64_t host);
  void ForgetOld();

  World& world_;
  Options options_;
  CoordinatorEnd* coordinator_ = nullptr;
  std::map<int64_t, Host> hosts_;
  std::map<int64_t, std::vector<std::shared_ptr<Connection>>> connections_;  // that are not over, by host and age
  std::map<int64_t, std::shared_ptr<CallState>> calls_;                      // by age
  int64_t num_calls_ = 0;
};

template <typename Response>
void Network::Call(int64_t host, absl::Duration deadline, std::function<void(Done<Response>)> serve,
                   Done<Response> done) {
  auto call = std::make_shared<CallState>();
  call->fail = [done](absl::Status status) { done(std::move(status)); };
  StartCall(host, deadline, call, [this, host, call, serve = std::move(serve), done = std::move(done)] {
    serve([this, host, call, done](absl::StatusOr<Response> response) {
      AnswerCall(host, call, [done, response = std::move(response)] { done(response); });
    });
  });
}

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_NETWORK_H_
