// A typed client of the coordinator: each call of proto/ursa/v1 that users need, with what makes it safe and pleasant:
// request ids made here, calls tried again while the server is away, pages put together, uploads that go on where they
// were cut off, and waiting for what takes long.
#ifndef URSA_CLIENT_LIB_CLIENT_H_
#define URSA_CLIENT_LIB_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/lib/options.h"
#include "ursa/v1/cluster.pb.h"
#include "ursa/v1/comparisons.pb.h"
#include "ursa/v1/datasets.pb.h"
#include "ursa/v1/evaluations.pb.h"
#include "ursa/v1/experiments.pb.h"
#include "ursa/v1/predictions.pb.h"
#include "ursa/v1/registry.pb.h"

namespace ursa {

// Bytes to upload: those of a file, or held here.
struct BlobSource {
  std::string hash;  // 64 lower-case hex digits
  int64_t size = 0;  // bytes
  std::string path;  // read when it is its turn; empty: `bytes` are sent
  std::string bytes;
};

// What an upload has done. Called from the thread that uploads.
struct UploadProgress {
  int64_t bytes_done = 0;  // of bytes_total, those that the server had from an earlier try included
  int64_t bytes_total = 0;
};

// The coordinator as seen by one user. Thread-safe; calls block.
//
// Errors of every call: those that the RPC documents in proto/ursa/v1; UNAVAILABLE for which IsUnreachable() holds when
// the server stayed away for the patience of the options; UNAUTHENTICATED and PERMISSION_DENIED for the token.
// A mutating call that is tried again carries the request id of its first try, so it happens once.
class Client {
 public:
  // Connects lazily. Errors: as ClientOptions::Validate; those of reading the TLS roots.
  static absl::StatusOr<std::unique_ptr<Client>> Create(const ClientOptions& options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Cluster. `name` is "workers/w1".
  absl::StatusOr<v1::Status> GetStatus();
  absl::StatusOr<std::vector<v1::Worker>> ListWorkers();
  absl::StatusOr<v1::Worker> DrainWorker(const std::string& name);
  absl::StatusOr<v1::Worker> ResumeWorker(const std::string& name);
  absl::StatusOr<v1::WorkerInvite> InviteWorker(v1::InviteWorkerRequest request);
  absl::StatusOr<std::vector<v1::WorkerInvite>> ListWorkerInvites();
  absl::StatusOr<v1::WorkerInvite> RevokeWorkerInvite(const std::string& id);
  absl::StatusOr<v1::Worker> RemoveWorker(const std::string& name);
  absl::StatusOr<v1::VerifyAuditResponse> VerifyAudit();

  // Blobs. Returns those of `hashes` that the server lacks, in order; any number of hashes.
  absl::StatusOr<std::vector<std::string>> FindMissingBlobs(const std::vector<std::string>& hashes);
  // Sends all blobs over one stream; when it is cut off, goes on where the server stands. A blob that is already there
  // costs no more than its name. Errors: DATA_LOSS when a file's bytes are not (any more) those of its hash.
  absl::Status UploadBlobs(const std::vector<BlobSource>& blobs,
                           const std::function<void(const UploadProgress&)>& on_progress);

  // Datasets. `request` without request_id: one is made. `name` is a resource name.
  absl::StatusOr<v1::Import> ImportDataset(v1::ImportDatasetRequest request);
  // Asks until the import has ended, at growing intervals; `on_change` sees each answer, the last included.
  absl::StatusOr<v1::Import> WaitForImport(const std::string& name,
                                           const std::function<void(const v1::Import&)>& on_change);
  absl::StatusOr<v1::DatasetVersion> GetDatasetVersion(const std::string& name);
  absl::StatusOr<std::vector<v1::DatasetVersion>> ListDatasetVersions();
  // At most `limit` examples; `split` and `label` narrow when not empty.
  absl::StatusOr<std::vector<v1::Example>> ListExamples(const std::string& parent, const std::string& split,
                                                        const std::string& label, int64_t limit);

  // Experiments. `name` is "experiments/e17".
  // `paused`: it waits for a resume before it is queued.
  absl::StatusOr<v1::Experiment> CreateExperiment(const v1::ExperimentSpec& spec, bool paused);
  absl::StatusOr<v1::Experiment> GetExperiment(const std::string& name);
  absl::StatusOr<std::vector<v1::Experiment>> ListExperiments();
  absl::StatusOr<v1::Experiment> CancelExperiment(const std::string& name);
  absl::StatusOr<v1::Experiment> PauseExperiment(const std::string& name);
  absl::StatusOr<v1::Experiment> ResumeExperiment(const std::string& name);
  absl::StatusOr<v1::Experiment> UpdateExperiment(v1::UpdateExperimentRequest request);
  absl::StatusOr<v1::ExplainExperimentResponse> ExplainExperiment(const std::string& name);
  absl::StatusOr<v1::ListQueueResponse> ListQueue(const v1::ListQueueRequest& request);
  // All pages of what is asked for.
  absl::StatusOr<std::vector<v1::MetricPoint>> ListMetricPoints(const v1::ListMetricPointsRequest& request);
  // Calls `on_lines` with what the ranks printed, all of them or those asked for; with `follow` until the experiment
  // ends. A server that restarts meanwhile does not end it, and no line comes twice nor more of them than `max_lines`.
  absl::Status ReadLogs(v1::ReadLogsRequest request, const std::function<void(const v1::ReadLogsResponse&)>& on_lines);
  // Calls `on_change` with the present state and each change until the experiment has ended; returns the last. A server
  // that restarts meanwhile does not end it, unless it stays away for longer than watch_patience.
  absl::StatusOr<v1::Experiment> WatchExperiment(const std::string& name,
                                                 const std::function<void(const v1::Experiment&)>& on_change);

  // Models.
  absl::StatusOr<v1::ModelVersion> RegisterModelVersion(v1::RegisterModelVersionRequest request);
  absl::StatusOr<v1::ModelVersion> GetModelVersion(const std::string& name);
  absl::StatusOr<v1::Model> GetModel(const std::string& name);
  absl::StatusOr<std::vector<v1::Model>> ListModels();
  absl::StatusOr<std::vector<v1::ModelEvent>> ListModelEvents(const std::string& parent);
  absl::StatusOr<v1::PromoteModelVersionResponse> PromoteModelVersion(v1::PromoteModelVersionRequest request);
  absl::StatusOr<v1::PromoteModelVersionResponse> RollbackModel(v1::RollbackModelRequest request);
  absl::StatusOr<v1::ModelGates> SetModelGates(v1::SetModelGatesRequest request);
  absl::StatusOr<v1::ModelGates> GetModelGates(const std::string& name);

  // Evaluations and comparisons, started and waited for like imports.
  absl::StatusOr<v1::Evaluation> CreateEvaluation(v1::CreateEvaluationRequest request);
  absl::StatusOr<v1::Evaluation> WaitForEvaluation(const std::string& name,
                                                   const std::function<void(const v1::Evaluation&)>& on_change);
  absl::StatusOr<v1::Comparison> CreateComparison(v1::CreateComparisonRequest request);
  absl::StatusOr<v1::Comparison> GetComparison(const std::string& name);
  absl::StatusOr<v1::Comparison> WaitForComparison(const std::string& name,
                                                   const std::function<void(const v1::Comparison&)>& on_change);

  // Predictions: one request, see PredictionService for its limits.
  absl::StatusOr<v1::PredictResponse> Predict(const v1::PredictRequest& request);

 private:
  class Rpc;
  explicit Client(std::unique_ptr<Rpc> rpc);

  // Where the upload of a blob goes on: its size if it is complete.
  absl::StatusOr<int64_t> UploadOffset(const std::string& hash, int64_t size);

  std::unique_ptr<Rpc> rpc_;
};

// Whether an experiment in this state will not change any more.
bool HasEnded(v1::Experiment::State state);

}  // namespace ursa

#endif  // URSA_CLIENT_LIB_CLIENT_H_
