// For tests: a Coordinator, over a store in memory unless given another, driven by hand, and workers that speak the
// stream's messages.
#ifndef URSA_COORDINATOR_CORE_COORDINATOR_TESTING_H_
#define URSA_COORDINATOR_CORE_COORDINATOR_TESTING_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/commit/commit.h"
#include "coordinator/commit/executor.h"
#include "coordinator/core/coordinator.h"
#include "storage/blob_store.h"
#include "storage/log_store.h"
#include "storage/memory_kv_store.h"
#include "storage/metric_log.h"
#include "storage/prediction_ledger.h"
#include "storage/record_store.h"

namespace ursa {

// One machine: its agent and the stream it has now. What it is told is kept; what it does, the test says.
class FakeWorker {
 public:
  explicit FakeWorker(std::string incarnation = "i1", int32_t slots = 2) {
    hello_.set_incarnation(std::move(incarnation));
    hello_.set_slots(slots);
    hello_.set_kind("cpu");
    hello_.set_cores(slots);
    hello_.set_simd("avx2");
    hello_.set_host("test");
  }

  worker::v1::Hello& hello() { return hello_; }
  // The token with which its next stream is opened.
  void set_token(std::string name) { caller_.actor = std::move(name); }
  const std::string& id() const { return hello_.worker_id(); }
  // The orders told last.
  const worker::v1::DesiredState& desired() const { return session_->desired; }
  const worker::v1::TaskOrder* FindOrder(const std::string& task_id) const;
  const absl::Status& closed() const { return session_->closed; }
  int64_t acked() const { return session_->acked; }
  int num_desired() const { return session_->num_desired; }
  const std::vector<worker::v1::RendezvousResponse>& rendezvous() const { return session_->rendezvous; }
  const std::vector<worker::v1::PredictCall>& predicts() const { return session_->predicts; }

 private:
  friend class Harness;
  struct Session : WorkerSession {
    explicit Session(Caller caller) : WorkerSession(std::move(caller)) {}
    void Send(worker::v1::ConnectResponse message) override;
    void Close(absl::Status status) override { closed = std::move(status); }

    std::string worker_id;
    worker::v1::DesiredState desired;
    int num_desired = 0;
    int64_t acked = 0;
    std::vector<worker::v1::RendezvousResponse> rendezvous;
    std::vector<worker::v1::PredictCall> predicts;
    absl::Status closed;
  };

  worker::v1::Hello hello_;
  Caller caller_{"worker"};
  std::shared_ptr<Session> session_ = std::make_shared<Session>(caller_);
  int64_t sequence_ = 0;
};

// Everything runs on the test's thread, when the test lets it.
class Harness {
 public:
  Harness() { Start(); }
  // Over that store, which outlives it and stays open through Restart().
  explicit Harness(KvStore* store) : store_(store) { Start(); }

  Coordinator& coordinator() { return *coordinator_; }
  BlobStore& blobs() { return *blobs_; }
  MemoryKvStore& store() { return memory_; }
  PredictionLedger& ledger() { return ledger_; }
  FakeClock& clock() { return clock_; }
  Executor& executor() { return executor_; }
  CoordinatorOptions& options() { return options_; }

  // Lets all run that can.
  void Pump();
  // Lets time pass in steps of a heartbeat; `alive` are heard of at each.
  void Advance(absl::Duration time, const std::vector<FakeWorker*>& alive = {});
  // The coordinator dies; what it had not synced is lost; a new one starts. Workers have lost their streams.
  void Restart(absl::Duration downtime = absl::ZeroDuration());

  void Connect(FakeWorker* worker);
  void Disconnect(FakeWorker* worker);
  // A heartbeat that says that this process lives.
  void Beat(FakeWorker* worker, const std::string& task, int64_t epoch, int32_t rank = 0);
  absl::Status Send(FakeWorker* worker, worker::v1::ConnectRequest message);
  // An event of a rank, in a message of its own.
  void Report(FakeWorker* worker, const std::string& task, int64_t epoch, int32_t rank, worker::v1::TaskEvent event);
  // All that is usual: a blob is stored and named by a checkpoint; a process ends.
  void Checkpoint(FakeWorker* worker, const std::string& task, int64_t epoch, int64_t step, double valid_loss,
                  bool last = false, int32_t rank = 0);
  void Finish(FakeWorker* worker, const std::string& task, int64_t epoch, int32_t rank,
              worker::v1::TaskFinished::Outcome outcome, const std::string& reason = "",
              worker::v1::TaskFinished::Cause cause = worker::v1::TaskFinished::CAUSE_UNSPECIFIED);
  void Exit(FakeWorker* worker, const std::string& task, int64_t epoch, int32_t rank, int signal = 0,
            const std::string& last_words = "");

  // Makes the call and gives its answer.
  template <typename Response>
  absl::StatusOr<Response> Call(const std::function<void(Done<Response>)>& call) {
    std::optional<absl::StatusOr<Response>> answer;
    call([&answer](absl::StatusOr<Response> response) { answer = std::move(response); });
    Pump();
    if (!answer) return absl::InternalError("the call was not answered");
    return *std::move(answer);
  }
  // A call that changes, or one that reads: with the caller "admin".
  template <typename Response>
  absl::StatusOr<Response> Change(const std::function<absl::StatusOr<Response>(Tx&, const Caller&)>& decide,
                                  const std::string& request_id = "") {
    return Call<Response>([&](Done<Response> done) {
      Mutate<Response>(coordinator_->env(), RequestKey{admin_, "test", request_id, ""}, std::move(done),
                       [&](Tx& tx) { return decide(tx, admin_); });
    });
  }
  template <typename Response>
  absl::StatusOr<Response> Read(const std::function<absl::StatusOr<Response>(const Tx&)>& read) {
    return Call<Response>(
        [&](Done<Response> done) { ReadState<Response>(coordinator_->env(), std::move(done), read); });
  }

  // A dataset of `per_class` pictures of each of "black" and "grizzly", half of them for validation, imported by
  // `worker`.
  v1::DatasetVersion MakeDataset(FakeWorker* worker, const std::string& name, int per_class = 20);
  // Starts an import of candidates with these labels, their bytes stored; refused where `refused` says so.
  absl::StatusOr<v1::Import> StartImport(const std::string& name, const std::vector<std::string>& labels);
  void ReportIngest(FakeWorker* worker, const std::string& task, int64_t epoch, int64_t num_candidates);
  v1::Import GetImport(const std::string& name);

  absl::StatusOr<v1::Experiment> Create(const v1::CreateExperimentRequest& request, const std::string& request_id = "",
                                        const std::string& user = "admin");
  absl::StatusOr<v1::Experiment> Submit(const std::string& dataset, int32_t slots = 2, const std::string& extra = "",
                                        const std::string& request_id = "");
  // A small recipe; `resources` and `extra` are textproto: "slots_per_trial: 2", "max_restarts: 1".
  static v1::CreateExperimentRequest Recipe(const std::string& dataset, const std::string& resources,
                                            const std::string& extra = "");
  v1::Experiment Get(const std::string& id);
  // Trains it to the end on `worker`, which has a rank of it; the weights are `weights`.
  void Train(FakeWorker* worker, const std::string& id, const std::string& weights);

  const Caller& admin() const { return admin_; }

 private:
  void Start();

  const Caller admin_{"admin"};
  FakeClock clock_;
  MemoryKvStore memory_;
  KvStore* const store_ = &memory_;
  RecordStore records_{store_};
  MetricLog metrics_{store_, MetricLog::Options()};
  LogStore logs_{store_, LogStore::Options()};
  PredictionLedger ledger_{store_, PredictionLedger::Options()};
  ManualExecutor executor_;
  CoordinatorOptions options_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<Commit> commit_;
  std::unique_ptr<Coordinator> coordinator_;
};

// A number in a test's name of an experiment: "e3" -> "t3.1".
std::string TaskOf(const std::string& experiment_id);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_COORDINATOR_TESTING_H_
