// What the users of the cluster do: import a dataset, submit jobs and change their minds, register, compare, promote.
#ifndef URSA_TESTS_SIMULATION_WORKLOAD_H_
#define URSA_TESTS_SIMULATION_WORKLOAD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/core/requests.h"
#include "tests/simulation/promises.h"
#include "tests/simulation/sim_agent.h"
#include "ursa/v1/datasets.pb.h"
#include "ursa/v1/experiments.pb.h"

namespace ursa::sim {

// Clients that try each call, with one request id, until it is answered. Everything ends by itself when the cluster is
// healthy: jobs are bounded, what is paused is resumed, what is drained comes back.
class Workload {
 public:
  struct Options {
    int num_jobs = 8;
    absl::Duration submit_within = absl::Minutes(2);
    int32_t slots_most = 4;   // of one job
    int32_t epochs_most = 3;  // of one job
    int num_pictures = 64;
    int32_t max_restarts = 5;
    double doomed_share = 0.1;                   // of jobs that fail at some step, each time
    double wrong_share = 0.05;                   // of jobs that are their user's mistake
    double change_share = 0.5;                   // of jobs that are canceled, or paused and resumed
    double search_share = 0.2;                   // of jobs that are searches
    double registry_share = 0.3;                 // of complete jobs whose model is registered, judged and promoted
    absl::Duration patience = absl::Seconds(5);  // of a client for one answer
  };

  Workload(const Cluster& cluster, Promises* promises, const Options& options)
      : cluster_(cluster), world_(*cluster.world), promises_(*promises), options_(options) {}

  void Start();
  // Drains a worker, and resumes it after some time.
  void Drain(int64_t worker_id, absl::Duration time);
  // Resumes a worker that was set aside, after some time.
  void ReopenLater(int64_t worker_id);
  // Asks once for what has no end of its own: the audit log is whole.
  void VerifyAudit();

  // Whether all has been submitted and has ended, as far as clients know.
  // As its user, an experiment.
  void Cancel(const std::string& name);

  bool is_done() const { return num_submitted_ == options_.num_jobs && num_open_ == 0; }
  int num_ended() const { return num_ended_; }

 private:
  // A call's answer, when it has come at last.
  template <typename Response>
  using Then = std::function<void(absl::StatusOr<Response> answer)>;

  // Makes the call until it is answered; `serve` is the service's handler, run at the coordinator.
  template <typename Request, typename Response>
  void Ask(const std::string& method, Request request,
           std::function<void(Coordinator&, const RequestKey&, const Request&, Done<Response>)> serve,
           Then<Response> then);
  // The same for the two usual kinds of handlers.
  template <typename Request, typename Response>
  void Change(const std::string& method, Request request,
              std::function<absl::StatusOr<Response>(Coordinator&, Tx&, const Caller&, const Request&)> decide,
              Then<Response> then);
  template <typename Response>
  void Read(std::function<absl::StatusOr<Response>(Coordinator&, const Tx&)> read, Then<Response> then);

  void Upload(std::vector<std::string> contents, std::function<void()> then);
  void Import();
  void WaitForImport(const std::string& name);
  void SubmitAll();
  void Submit(const std::string& name);
  v1::ExperimentSpec MakeSpec(const std::string& name);
  void ChangeMind(const std::string& name);
  void Resume(const std::string& name);
  void Watch(const std::string& name);
  void OnEnd(const v1::Experiment& experiment);
  void Reopen(const std::string& worker, absl::Duration wait);
  void Close() { --num_open_; }

  // In workload_registry.cc: a complete job's model is registered, evaluated, compared with the champion, promoted.
  void Register(const std::string& experiment);
  void Evaluate(const std::string& version);
  void WaitForEvaluation(const std::string& name, const std::string& version);
  void Promote(const std::string& version, bool may_compare);
  void Compare(const std::string& version);
  void WaitForComparison(const std::string& name, const std::string& version);
  // Such work may fail if its task died too often; anything else is a bug.
  void CheckFailedWork(const std::string& name, const std::string& reason);

  const Cluster cluster_;
  World& world_;
  Promises& promises_;
  const Options options_;
  const Caller caller_{"user"};
  int64_t num_requests_ = 0;
  int num_submitted_ = 0;
  int num_open_ = 0;  // stories that go on
  int num_ended_ = 0;
  int num_imports_ = 0;
};

template <typename Request, typename Response>
void Workload::Ask(const std::string& method, Request request,
                   std::function<void(Coordinator&, const RequestKey&, const Request&, Done<Response>)> serve,
                   Then<Response> then) {
  if (request.request_id().empty()) request.set_request_id(absl::StrCat("q", ++num_requests_));
  cluster_.network->Call<Response>(
      0, options_.patience,
      [this, method, request, serve](Done<Response> done) {
        serve(cluster_.coordinator->coordinator(), MakeRequestKey(caller_, method, request), request,
              [this, id = request.request_id(), done](absl::StatusOr<Response> answer) {
                if (cluster_.coordinator->is_up()) promises_.OnAnswer(caller_.actor, id, answer);
                done(std::move(answer));
              });
      },
      [this, method, request, serve, then](absl::StatusOr<Response> answer) mutable {
        if (!absl::IsUnavailable(answer.status()) && !absl::IsResourceExhausted(answer.status())) {
          return then(std::move(answer));
        }
        // The disk is full: who tries again later does so with a new request, as that one is refused for good.
        if (absl::IsResourceExhausted(answer.status())) request.clear_request_id();
        world_.In(world_.Between(absl::Milliseconds(50), absl::Seconds(2)),
                  [this, method, request, serve, then] { Ask<Request, Response>(method, request, serve, then); });
      });
}

template <typename Request, typename Response>
void Workload::Change(const std::string& method, Request request,
                      std::function<absl::StatusOr<Response>(Coordinator&, Tx&, const Caller&, const Request&)> decide,
                      Then<Response> then) {
  Ask<Request, Response>(
      method, std::move(request),
      [decide = std::move(decide)](Coordinator& coordinator, const RequestKey& key, const Request& asked,
                                   Done<Response> done) {
        Mutate<Response>(coordinator.env(), key, std::move(done),
                         [&](Tx& tx) { return decide(coordinator, tx, key.caller, asked); });
      },
      std::move(then));
}

template <typename Response>
void Workload::Read(std::function<absl::StatusOr<Response>(Coordinator&, const Tx&)> read, Then<Response> then) {
  cluster_.network->Call<Response>(
      0, options_.patience,
      [this, read](Done<Response> done) {
        Coordinator& coordinator = cluster_.coordinator->coordinator();
        ReadState<Response>(
            coordinator.env(),
            [this, done](absl::StatusOr<Response> answer) {
              if (cluster_.coordinator->is_up()) promises_.OnAnswer("", "", answer);
              done(std::move(answer));
            },
            [&](const Tx& tx) { return read(coordinator, tx); });
      },
      [this, read, then](absl::StatusOr<Response> answer) {
        if (!absl::IsUnavailable(answer.status())) return then(std::move(answer));
        world_.In(world_.Between(absl::Milliseconds(50), absl::Seconds(2)),
                  [this, read, then] { Read<Response>(read, then); });
      });
}

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_WORKLOAD_H_
