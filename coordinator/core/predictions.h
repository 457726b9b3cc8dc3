// Predictions for pictures that are in no dataset: calls to warm processes.
#ifndef URSA_COORDINATOR_CORE_PREDICTIONS_H_
#define URSA_COORDINATOR_CORE_PREDICTIONS_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "coordinator/core/aux_tasks.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/workers.h"
#include "ursa/v1/predictions.pb.h"

namespace ursa {

// One prediction process for each version that is asked for, started by the first call and stopped when it has had
// nothing to do for a while; when no place is free, the one that has been idle longest makes room. Calls live in
// memory: they end with this process. Guarded by the coordinator's lock: every method takes a transaction, but for
// Predict.
class Predictions {
 public:
  Predictions(const Environment* env, Workers* workers, AuxTasks* aux_tasks)
      : env_(*env), workers_(*workers), aux_tasks_(*aux_tasks) {}

  void Predict(const v1::PredictRequest& request, Done<v1::PredictResponse> done);

  // Sends calls to processes that live.
  void Settle(Tx& tx);
  // An agent says that this process lives: it can be given calls.
  void OnAlive(Tx& tx, const worker::v1::TaskStatus& status);
  // A new stream: what was sent on the old one may be lost, and is sent again.
  void OnReconnected(Tx& tx, int64_t worker_id);
  void OnReport(Tx& tx, const worker::v1::PredictOutput& output);
  void OnTaskEnd(Tx& tx, const records::AuxTaskRecord& task, const absl::Status& status);
  // Ends all calls, and refuses new ones: the server is about to end.
  void Shutdown(Tx& tx);
  // Timeouts, and processes that have been idle for too long.
  void Tick(Tx& tx);
  // Drops the processes of an earlier coordinator: nobody knows their calls.
  void Restore(Tx& tx);

 private:
  struct Call {
    std::string model_version;  // "bears/2"
    v1::PredictRequest request;
    absl::Time deadline;
    int64_t sent_epoch = 0;  // of the task it was sent to; 0: not yet sent
    Done<v1::PredictResponse> done;
  };
  struct Process {
    int64_t task_id = 0;
    absl::Time last_used;
    int64_t num_calls = 0;
    int64_t alive_epoch = 0;  // in which it is known to live; 0: not yet
  };

  void Finish(Tx& tx, int64_t call_id, absl::StatusOr<v1::PredictResponse> response);
  void MakeRoom(Tx& tx);

  const Environment& env_;
  Workers& workers_;
  AuxTasks& aux_tasks_;
  std::map<int64_t, Call> calls_;
  std::map<std::string, Process> processes_;  // by model version
  int64_t last_call_id_ = 0;
  bool is_shut_down_ = false;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_PREDICTIONS_H_
