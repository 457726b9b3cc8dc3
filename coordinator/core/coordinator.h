// The coordinator without gRPC: owns the parts, routes what workers say, lets time pass.
#ifndef URSA_COORDINATOR_CORE_COORDINATOR_H_
#define URSA_COORDINATOR_CORE_COORDINATOR_H_

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/access.h"
#include "coordinator/core/admission.h"
#include "coordinator/core/aux_tasks.h"
#include "coordinator/core/blob_janitor.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/evaluations.h"
#include "coordinator/core/experiments.h"
#include "coordinator/core/gangs.h"
#include "coordinator/core/hang_doctor.h"
#include "coordinator/core/imports.h"
#include "coordinator/core/log_janitor.h"
#include "coordinator/core/predictions.h"
#include "coordinator/core/registry.h"
#include "coordinator/core/rendezvous.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/core/trials.h"
#include "coordinator/core/watchers.h"
#include "coordinator/core/workers.h"
#include "ursa/v1/cluster.pb.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa {

// Everything that decides. Driven by calls (services), messages (worker streams) and time (Tick); it has no threads of
// its own, so a simulation drives it as the server does. Borrows all of `env`, whose Commit must not have run a
// transaction yet. Thread-safe; the parts are not, they are used with a transaction.
class Coordinator {
 public:
  explicit Coordinator(Environment env);
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // Takes up what was running when the last coordinator ended. Once, before anything else.
  void Restore();

  // A message of an agent's stream, in order; `processed` is called when the next one may come, from any thread. A
  // status that is not OK ends the stream.
  void OnMessage(const std::shared_ptr<WorkerSession>& session, worker::v1::ConnectRequest message,
                 std::function<void(absl::Status)> processed);
  void OnDisconnected(const WorkerSession* session);

  // Lets time pass: leases, timeouts, expiry. To be called several times a second.
  void Tick();

  // Ends calls that wait for something, so that a server can end.
  void Shutdown();

  absl::StatusOr<v1::Status> GetStatus(const Tx& tx) const;
  // Walks the audit log; on the executor.
  void VerifyAudit(Done<v1::VerifyAuditResponse> done);

  const Environment& env() const { return env_; }
  Access& access() { return access_; }
  Admission& admission() { return admission_; }
  Workers& workers() { return workers_; }
  const Scheduler& scheduler() const { return scheduler_; }
  Experiments& experiments() { return experiments_; }
  Watchers& watchers() { return watchers_; }
  Imports& imports() { return imports_; }
  Evaluations& evaluations() { return evaluations_; }
  Registry& registry() { return registry_; }
  Predictions& predictions() { return predictions_; }
  BlobJanitor& janitor() { return janitor_; }

 private:
  AuxTasks::Owner MakeAuxOwner();
  void Settle(Tx& tx, const Changes& changes);
  void OnEvents(const std::shared_ptr<WorkerSession>& session, const worker::v1::TaskEvents& events,
                const std::set<std::string>& missing_blobs);
  void OnRendezvous(Tx& tx, int64_t worker_id, const worker::v1::RendezvousRequest& request);
  absl::StatusOr<v1::VerifyAuditResponse> WalkAudit(const records::AuditHeadRecord& head) const;

  const Environment env_;
  Access access_;
  Admission admission_;
  Watchers watchers_;
  BlobJanitor janitor_;
  LogJanitor log_janitor_;
  Rendezvous rendezvous_;
  Workers workers_;
  Gangs gangs_;
  HangDoctor doctor_;
  Scheduler scheduler_;
  AuxTasks aux_tasks_;
  Trials trials_;
  Experiments experiments_;
  Imports imports_;
  Evaluations evaluations_;
  Registry registry_;
  Predictions predictions_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_COORDINATOR_H_
