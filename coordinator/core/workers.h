// The workers: who they are, whether they live, and telling them what should run.
#ifndef URSA_COORDINATOR_CORE_WORKERS_H_
#define URSA_COORDINATOR_CORE_WORKERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/requests.h"
#include "ursa/v1/cluster.pb.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa {

// Whether an agent says only that it lives and what runs there. From one on which nothing runs it is an empty message,
// which costs gRPC less: proto/ursa/worker/v1/worker.proto.
bool IsHeartbeat(const worker::v1::ConnectRequest& message);

// One stream of an agent, as the coordinator sees it: the gRPC one, or a fake. Thread-safe; never blocks.
class WorkerSession {
 public:
  explicit WorkerSession(Caller caller) : caller_(std::move(caller)) {}
  virtual ~WorkerSession() = default;
  // Whose token the stream was opened with.
  const Caller& caller() const { return caller_; }
  // Queues a message; dropped if the stream has ended.
  virtual void Send(worker::v1::ConnectResponse message) = 0;
  // Ends the stream.
  virtual void Close(absl::Status status) = 0;

 private:
  const Caller caller_;
};

// Owns sessions and leases, all in memory; what must outlive a restart is in WorkerRecord. Guarded by the coordinator's
// lock: every method takes a transaction.
//
//   unknown --1--> alive --2--> lost --3--> alive
//                   |  ^---- 3 (a new incarnation)
//   1 Hello without an id: gets one       2 nothing heard for a lease: what ran there is gone
//   3 Hello with its id; a new incarnation says that what the earlier one ran is gone, the same one goes on
//
// A broken stream alone is no loss: the agent has a lease to come back. After a restart every lease has a full term,
// and likewise when the coordinator stood still.
class Workers {
 public:
  // Told when all that ran on a worker is gone.
  using OnGone = std::function<void(Tx& tx, int64_t worker_id, const std::string& why)>;
  // Adds the orders for a worker.
  using AddOrders = std::function<void(const Tx& tx, int64_t worker_id, worker::v1::DesiredState* desired)>;

  Workers(const Environment* env, OnGone on_gone, AddOrders add_orders)
      : env_(*env), on_gone_(std::move(on_gone)), add_orders_(std::move(add_orders)) {}

  // Gives each worker of the state a full lease. Once, at the start.
  void Restore(Tx& tx);

  // A stream has opened, said hello, and ended. A bad or refused Hello gives a status, with which to close the stream.
  absl::Status Hello(Tx& tx, const std::shared_ptr<WorkerSession>& session, worker::v1::Hello hello);
  void Disconnected(Tx& tx, const WorkerSession* session);

  // The worker of a session; 0 before its Hello, or when another stream has taken its place.
  int64_t WorkerOf(const WorkerSession* session) const;
  // What it says of its slots. INVALID_ARGUMENT: it has no such slots.
  absl::Status OnSlots(Tx& tx, int64_t worker_id, const worker::v1::SlotReport& report);
  // Anything heard of it renews its lease.
  void Heard(Tx& tx, int64_t worker_id);
  // Whether an events message is new; false: it was seen in this incarnation, and only has to be acknowledged.
  bool IsNewSequence(int64_t worker_id, int64_t sequence);
  // A trial failed there of itself. A worker that fails several trials, or whose hardware fails, is set aside; but
  // never the last usable one of its pool and kind.
  void Strike(Tx& tx, int64_t worker_id, const TrialId& trial, worker::v1::TaskFinished::Cause cause,
              const std::string& reason);
  // One of these is about to end: it has stopped its tasks by itself, and so the ranks of a gang on all of them. They
  // get no new tasks for a while; when one of them is gone, it was that one, and the others are usable again.
  void SetLeaving(const std::set<int64_t>& worker_ids);

  // Sends when all that this transaction did is durable; dropped if the worker has no stream.
  void Send(Tx& tx, int64_t worker_id, worker::v1::ConnectResponse message);
  // Sends the desired state to those of `worker_ids` for whom it changed.
  void SyncOrders(Tx& tx, const std::set<int64_t>& worker_ids);

  // Whether it has a stream now.
  bool IsConnected(int64_t worker_id) const {
    const auto it = leases_.find(worker_id);
    return it != leases_.end() && it->second.session != nullptr;
  }
  // Since when it has the stream that it has now; InfiniteFuture while it has none.
  absl::Time ConnectedSince(int64_t worker_id) const;
  // May be given new tasks: alive, connected, neither drained, leaving nor set aside.
  bool IsUsable(const Tx& tx, int64_t worker_id) const;
  std::vector<const records::WorkerRecord*> UsableWorkers(const Tx& tx) const;
  // Workers that may have become usable, or not usable, since the last call, for other reasons than their records.
  std::set<int64_t> TakeUsabilityChanges();

  // Loses workers whose lease has ended; forgets those lost for long, unless they have joined: these wait for `remove`.
  void Tick(Tx& tx);

  // The RPCs of ClusterService about workers.
  absl::StatusOr<v1::ListWorkersResponse> List(const Tx& tx, const v1::ListWorkersRequest& request) const;
  absl::StatusOr<v1::Worker> Drain(Tx& tx, const Caller& caller, const v1::DrainWorkerRequest& request);
  absl::StatusOr<v1::Worker> Resume(Tx& tx, const Caller& caller, const v1::ResumeWorkerRequest& request);
  absl::StatusOr<v1::Worker> Remove(Tx& tx, const Caller& caller, const v1::RemoveWorkerRequest& request);
  v1::Worker ToProto(const Tx& tx, const records::WorkerRecord& record) const;

  int64_t num_connected() const { return static_cast<int64_t>(sessions_.size()); }

 private:
  struct Lease {
    absl::Time last_heard;
    std::shared_ptr<WorkerSession> session;  // null while there is no stream
    absl::Time connected_since;              // of `session`
    int64_t last_sequence = 0;               // of events in this incarnation
    std::string sent_orders;                 // the last desired state sent on this stream, serialized
    absl::Time leaving_until = absl::InfinitePast();
    bool is_leaving = false;         // leaving_until has not been seen to pass
    std::set<int64_t> leaving_with;  // the others, of which one may be the one that ends
  };

  // A worker that may have been about to end is gone.
  void OnLeft(Tx& tx, int64_t worker_id);
  absl::Status CheckHello(const Tx& tx, const worker::v1::Hello& hello) const;
  // The record of whoever says hello, as it was; a new one has an id alone. Errors: as Hello's.
  absl::StatusOr<records::WorkerRecord> Identify(Tx& tx, const Caller& caller, worker::v1::Hello* hello);
  // What the earlier incarnation ran is gone.
  void ReplaceIncarnation(Tx& tx, int64_t worker_id);
  void Welcome(Tx& tx, int64_t worker_id);
  worker::v1::DesiredState Desired(const Tx& tx, int64_t worker_id) const;
  absl::StatusOr<records::WorkerRecord> FindByName(const Tx& tx, const std::string& name) const;

  const Environment& env_;
  const OnGone on_gone_;
  const AddOrders add_orders_;
  std::map<int64_t, Lease> leases_;
  absl::Time last_tick_;
  absl::Time next_look_ = absl::InfinitePast();  // before it no lease ends: most ticks need not look at all workers
  std::set<int64_t> usability_changes_;
  absl::flat_hash_map<const WorkerSession*, int64_t> sessions_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_WORKERS_H_
