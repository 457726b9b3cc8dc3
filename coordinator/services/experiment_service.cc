#include <google/protobuf/util/message_differencer.h>

#include <memory>
#include <string>
#include <utility>

#include "coordinator/core/coordinator.h"
#include "coordinator/core/log_reader.h"
#include "coordinator/services/grpc_call_support.h"
#include "coordinator/services/grpc_pull_stream.h"
#include "coordinator/services/services.h"
#include "ursa/v1/experiments.grpc.pb.h"

namespace ursa {
namespace {

using WatchStream = PullStream<v1::Experiment>;
using LogStream = PullStream<v1::ReadLogsResponse>;

bool HasEnded(const v1::Experiment& experiment) {
  return experiment.state() == v1::Experiment::STATE_COMPLETED ||
         experiment.state() == v1::Experiment::STATE_CANCELED || experiment.state() == v1::Experiment::STATE_ERROR;
}

class ExperimentService : public v1::ExperimentService::CallbackService {
 public:
  explicit ExperimentService(Coordinator* coordinator)
      : coordinator_(*coordinator), env_(coordinator->env()), experiments_(coordinator->experiments()) {}

  grpc::ServerUnaryReactor* CreateExperiment(grpc::CallbackServerContext* context,
                                             const v1::CreateExperimentRequest* request,
                                             v1::Experiment* response) override {
    return Starting(
        env_, context, "ExperimentService/CreateExperiment", request, response,
        [&](const RequestKey& key, Done<v1::Experiment> done) { experiments_.Create(key, *request, std::move(done)); });
  }
  grpc::ServerUnaryReactor* GetExperiment(grpc::CallbackServerContext* context, const v1::GetExperimentRequest* request,
                                          v1::Experiment* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) { return experiments_.Get(tx, request->name()); });
  }
  grpc::ServerUnaryReactor* ListExperiments(grpc::CallbackServerContext* context,
                                            const v1::ListExperimentsRequest* request,
                                            v1::ListExperimentsResponse* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) { return experiments_.List(tx, *request); });
  }
  grpc::ServerUnaryReactor* CancelExperiment(grpc::CallbackServerContext* context,
                                             const v1::CancelExperimentRequest* request,
                                             v1::Experiment* response) override {
    return Changing(env_, context, "ExperimentService/CancelExperiment", request, response,
                    [&](Tx& tx, const Caller& caller) { return experiments_.Cancel(tx, caller, request->name()); });
  }
  grpc::ServerUnaryReactor* PauseExperiment(grpc::CallbackServerContext* context,
                                            const v1::PauseExperimentRequest* request,
                                            v1::Experiment* response) override {
    return Changing(env_, context, "ExperimentService/PauseExperiment", request, response,
                    [&](Tx& tx, const Caller& caller) { return experiments_.Pause(tx, caller, request->name()); });
  }
  grpc::ServerUnaryReactor* ResumeExperiment(grpc::CallbackServerContext* context,
                                             const v1::ResumeExperimentRequest* request,
                                             v1::Experiment* response) override {
    return Changing(env_, context, "ExperimentService/ResumeExperiment", request, response,
                    [&](Tx& tx, const Caller& caller) { return experiments_.Resume(tx, caller, request->name()); });
  }

  grpc::ServerUnaryReactor* UpdateExperiment(grpc::CallbackServerContext* context,
                                             const v1::UpdateExperimentRequest* request,
                                             v1::Experiment* response) override {
    return Changing(env_, context, "ExperimentService/UpdateExperiment", request, response,
                    [&](Tx& tx, const Caller& caller) { return experiments_.Update(tx, caller, *request); });
  }
  grpc::ServerUnaryReactor* ExplainExperiment(grpc::CallbackServerContext* context,
                                              const v1::ExplainExperimentRequest* request,
                                              v1::ExplainExperimentResponse* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) { return experiments_.Explain(tx, request->name()); });
  }
  grpc::ServerUnaryReactor* ListQueue(grpc::CallbackServerContext* context, const v1::ListQueueRequest* request,
                                      v1::ListQueueResponse* response) override {
    return Reading(env_, context, response,
                   [&](const Tx& tx) { return coordinator_.scheduler().ListQueue(tx, *request); });
  }

  grpc::ServerUnaryReactor* ListMetricPoints(grpc::CallbackServerContext* context,
                                             const v1::ListMetricPointsRequest* request,
                                             v1::ListMetricPointsResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    ReadStateThen<TrialId>(
        env_, [&](const Tx& tx) { return Experiments::FindTrial(tx, request->parent(), request->trial_id()); },
        [this, request, done = Answer(reactor, response)](const absl::StatusOr<TrialId>& id) {
          done(id.ok() ? experiments_.ReadMetrics(*id, *request) : id.status());
        });
    return reactor;
  }

  grpc::ServerWriteReactor<v1::Experiment>* WatchExperiment(grpc::CallbackServerContext*,
                                                            const v1::WatchExperimentRequest* request) override {
    auto last =
        std::make_shared<v1::Experiment>();  // sent; compared by fields, as equal maps may serialize differently
    auto is_last = std::make_shared<bool>(false);
    const std::string name = request->name();
    const auto stream = WatchStream::Make(
        [this, name, last, is_last](std::function<void(WatchStream::Pulled)> pulled) {
          if (*is_last) return pulled({std::nullopt, absl::OkStatus()});
          ReadState<v1::Experiment>(
              env_,
              [last, is_last, pulled = std::move(pulled)](absl::StatusOr<v1::Experiment> experiment) {
                if (!experiment.ok()) return pulled({std::nullopt, experiment.status()});
                *is_last = HasEnded(*experiment);
                if (google::protobuf::util::MessageDifferencer::Equals(*experiment, *last)) return pulled({});
                *last = *experiment;
                pulled({*std::move(experiment), std::nullopt});
              },
              [this, &name](const Tx& tx) { return experiments_.Get(tx, name); });
        },
        nullptr);
    Follow(name, stream);
    return stream.get();
  }

  grpc::ServerWriteReactor<v1::ReadLogsResponse>* ReadLogs(grpc::CallbackServerContext*,
                                                           const v1::ReadLogsRequest* asked) override {
    const auto request = std::make_shared<const v1::ReadLogsRequest>(*asked);
    auto made = LogReader::Make(&env_, *request);
    const absl::Status status = made.status();
    const std::shared_ptr<LogReader> reader = made.ok() ? *std::move(made) : nullptr;
    const auto stream = LogStream::Make(
        [this, request, reader, status](std::function<void(LogStream::Pulled)> pulled) {
          if (!status.ok()) return pulled({std::nullopt, status});
          PullLog(request, reader, std::move(pulled));
        },
        nullptr);
    Follow(request->parent(), stream);
    return stream.get();
  }

 private:
  // Makes the stream hear of each change of the experiment, and begin. An unknown experiment is told by its first pull.
  template <typename Stream>
  void Follow(const std::string& name, const std::shared_ptr<Stream>& stream) {
    {
      Tx tx(env_.commit);
      const absl::StatusOr<int64_t> id = Experiments::Find(tx, name);
      if (id.ok()) {
        const int64_t watcher = coordinator_.watchers().Add(tx, *id, [stream] { stream->Signal(); });
        stream->SetOnDone([this, id = *id, watcher] {
          Tx done(env_.commit);
          coordinator_.watchers().Remove(done, id, watcher);
        });
      }
    }
    stream->Signal();
  }

  // One pull is a bounded piece of work: a search through much that does not match sends answers without lines.
  void PullLog(const std::shared_ptr<const v1::ReadLogsRequest>& request, const std::shared_ptr<LogReader>& reader,
               std::function<void(LogStream::Pulled)> pulled) {
    struct Found {
      int64_t id = 0;
      bool is_over = false;  // asked before the log is read: nothing can come after what is read then
    };
    ReadStateThen<Found>(
        env_,
        [&request](const Tx& tx) -> absl::StatusOr<Found> {
          const absl::StatusOr<TrialId> trial = Experiments::FindTrial(tx, request->parent(), request->trial_id());
          if (!trial.ok()) return trial.status();
          return Found{trial->first, Experiments::IsOver(tx, trial->first)};
        },
        [request, reader, pulled = std::move(pulled)](const absl::StatusOr<Found>& found) {
          if (!found.ok()) return pulled({std::nullopt, found.status()});
          absl::StatusOr<LogReader::Page> page = reader->Next(found->id);
          if (!page.ok()) return pulled({std::nullopt, page.status()});
          if (!page->response.lines().empty() || !page->is_end)
            return pulled({std::move(page->response), std::nullopt});
          if (!request->follow() || found->is_over || page->is_limit) return pulled({std::nullopt, absl::OkStatus()});
          pulled({});
        });
  }

  Coordinator& coordinator_;
  const Environment& env_;
  Experiments& experiments_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeExperimentService(Coordinator* coordinator) {
  return std::make_unique<ExperimentService>(coordinator);
}

}  // namespace ursa
