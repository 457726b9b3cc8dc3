#include "client/lib/client.h"

#include <algorithm>

#include "base/net_address.h"
#include "client/lib/rpc.h"

namespace ursa {
namespace {

constexpr int kAnswerBytesMax = 64 << 20;
constexpr int kHashesPerCall = 10'000;  // BlobService's limit

}  // namespace

Client::Client(std::unique_ptr<Rpc> rpc) : rpc_(std::move(rpc)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Create(const ClientOptions& options) {
  URSA_RETURN_IF_ERROR(options.Validate());
  URSA_ASSIGN_OR_RETURN(const ServerAddress address, ParseServerAddress(options.server));
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  grpc::ChannelArguments arguments;
  if (address.tls) {
    grpc::SslCredentialsOptions tls;
    if (!options.tls_roots_file.empty()) {
      URSA_ASSIGN_OR_RETURN(tls.pem_root_certs, ReadTrustedCertificates(options.tls_roots_file));
    }
    credentials = grpc::SslCredentials(tls);
  } else {
    credentials = grpc::InsecureChannelCredentials();
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // loopback: a proxy would be asked to call itself
  }
  // A connection that is refused or lost is tried again within a second, not within gRPC's default of two minutes, and
  // one attempt takes no longer than what the user waits in all.
  const int attempt_ms =
      static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(options.patience), 200, 20'000));
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, attempt_ms);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  // A watch may be silent for hours: ping so that a machine that vanished is noticed. Servers allow one in 5 minutes.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 330'000);
  arguments.SetMaxReceiveMessageSize(kAnswerBytesMax);
  auto channel = grpc::CreateCustomChannel(address.target, credentials, arguments);
  return std::unique_ptr<Client>(new Client(std::make_unique<Rpc>(options, channel)));
}

bool HasEnded(v1::Experiment::State state) {
  return state == v1::Experiment::STATE_COMPLETED || state == v1::Experiment::STATE_CANCELED ||
         state == v1::Experiment::STATE_ERROR;
}

// ---- cluster

absl::StatusOr<v1::Status> Client::GetStatus() {
  return rpc_->Call(rpc_->cluster, &v1::ClusterService::Stub::GetStatus, v1::GetStatusRequest());
}

absl::StatusOr<std::vector<v1::Worker>> Client::ListWorkers() {
  return rpc_->Pages<v1::Worker>(rpc_->cluster, &v1::ClusterService::Stub::ListWorkers, v1::ListWorkersRequest(),
                                 &v1::ListWorkersResponse::mutable_workers);
}

absl::StatusOr<v1::Worker> Client::DrainWorker(const std::string& name) {
  v1::DrainWorkerRequest request;
  request.set_name(name);
  return rpc_->Mutate(rpc_->cluster, &v1::ClusterService::Stub::DrainWorker, request);
}

absl::StatusOr<v1::Worker> Client::ResumeWorker(const std::string& name) {
  v1::ResumeWorkerRequest request;
  request.set_name(name);
  return rpc_->Mutate(rpc_->cluster, &v1::ClusterService::Stub::ResumeWorker, request);
}

absl::StatusOr<v1::WorkerInvite> Client::InviteWorker(v1::InviteWorkerRequest request) {
  return rpc_->Mutate(rpc_->cluster, &v1::ClusterService::Stub::InviteWorker, std::move(request));
}

absl::StatusOr<std::vector<v1::WorkerInvite>> Client::ListWorkerInvites() {
  return rpc_->Pages<v1::WorkerInvite>(rpc_->cluster, &v1::ClusterService::Stub::ListWorkerInvites,
                                       v1::ListWorkerInvitesRequest(), &v1::ListWorkerInvitesResponse::mutable_invites);
}

absl::StatusOr<v1::WorkerInvite> Client::RevokeWorkerInvite(const std::string& id) {
  v1::RevokeWorkerInviteRequest request;
  request.set_id(id);
  return rpc_->Mutate(rpc_->cluster, &v1::ClusterService::Stub::RevokeWorkerInvite, request);
}

absl::StatusOr<v1::Worker> Client::RemoveWorker(const std::string& name) {
  v1::RemoveWorkerRequest request;
  request.set_name(name);
  return rpc_->Mutate(rpc_->cluster, &v1::ClusterService::Stub::RemoveWorker, request);
}

absl::StatusOr<v1::VerifyAuditResponse> Client::VerifyAudit() {
  return rpc_->Call(rpc_->cluster, &v1::ClusterService::Stub::VerifyAudit, v1::VerifyAuditRequest());
}

// ---- blobs and datasets

absl::StatusOr<std::vector<std::string>> Client::FindMissingBlobs(const std::vector<std::string>& hashes) {
  std::vector<std::string> missing;
  for (size_t begin = 0; begin < hashes.size(); begin += kHashesPerCall) {
    v1::FindMissingBlobsRequest request;
    const size_t end = std::min(begin + kHashesPerCall, hashes.size());
    for (size_t i = begin; i < end; ++i) request.add_hashes(hashes[i]);
    URSA_ASSIGN_OR_RETURN(v1::FindMissingBlobsResponse response,
                          rpc_->Call(rpc_->blobs, &v1::BlobService::Stub::FindMissingBlobs, request));
    for (std::string& hash : *response.mutable_missing()) missing.push_back(std::move(hash));
  }
  return missing;
}

absl::StatusOr<v1::Import> Client::ImportDataset(v1::ImportDatasetRequest request) {
  return rpc_->Mutate(rpc_->datasets, &v1::DatasetService::Stub::ImportDataset, std::move(request));
}

absl::StatusOr<v1::Import> Client::WaitForImport(const std::string& name,
                                                 const std::function<void(const v1::Import&)>& on_change) {
  v1::GetImportRequest request;
  request.set_name(name);
  const auto get = [&] {
    return rpc_->Call(rpc_->datasets, &v1::DatasetService::Stub::GetImport, request, rpc_->options.watch_patience);
  };
  return rpc_->Wait<v1::Import>(get, on_change);
}

absl::StatusOr<v1::DatasetVersion> Client::GetDatasetVersion(const std::string& name) {
  v1::GetDatasetVersionRequest request;
  request.set_name(name);
  return rpc_->Call(rpc_->datasets, &v1::DatasetService::Stub::GetDatasetVersion, request);
}

absl::StatusOr<std::vector<v1::DatasetVersion>> Client::ListDatasetVersions() {
  return rpc_->Pages<v1::DatasetVersion>(rpc_->datasets, &v1::DatasetService::Stub::ListDatasetVersions,
                                         v1::ListDatasetVersionsRequest(),
                                         &v1::ListDatasetVersionsResponse::mutable_versions);
}

absl::StatusOr<std::vector<v1::Example>> Client::ListExamples(const std::string& parent, const std::string& split,
                                                              const std::string& label, int64_t limit) {
  v1::ListExamplesRequest request;
  request.set_parent(parent);
  request.set_split(split);
  request.set_label(label);
  request.set_page_size(static_cast<int32_t>(std::clamp<int64_t>(limit, 1, 1000)));
  return rpc_->Pages<v1::Example>(rpc_->datasets, &v1::DatasetService::Stub::ListExamples, request,
                                  &v1::ListExamplesResponse::mutable_examples, static_cast<size_t>(limit));
}

// ---- experiments; WatchExperiment and ReadLogs are in streams.cc

absl::StatusOr<v1::Experiment> Client::CreateExperiment(const v1::ExperimentSpec& spec, bool paused) {
  v1::CreateExperimentRequest request;
  *request.mutable_spec() = spec;
  request.set_paused(paused);
  return rpc_->Mutate(rpc_->experiments, &v1::ExperimentService::Stub::CreateExperiment, std::move(request));
}

absl::StatusOr<v1::Experiment> Client::GetExperiment(const std::string& name) {
  v1::GetExperimentRequest request;
  request.set_name(name);
  return rpc_->Call(rpc_->experiments, &v1::ExperimentService::Stub::GetExperiment, request);
}

absl::StatusOr<std::vector<v1::Experiment>> Client::ListExperiments() {
  return rpc_->Pages<v1::Experiment>(rpc_->experiments, &v1::ExperimentService::Stub::ListExperiments,
                                     v1::ListExperimentsRequest(), &v1::ListExperimentsResponse::mutable_experiments);
}

absl::StatusOr<v1::Experiment> Client::CancelExperiment(const std::string& name) {
  v1::CancelExperimentRequest request;
  request.set_name(name);
  return rpc_->Mutate(rpc_->experiments, &v1::ExperimentService::Stub::CancelExperiment, request);
}

absl::StatusOr<v1::Experiment> Client::PauseExperiment(const std::string& name) {
  v1::PauseExperimentRequest request;
  request.set_name(name);
  return rpc_->Mutate(rpc_->experiments, &v1::ExperimentService::Stub::PauseExperiment, request);
}

absl::StatusOr<v1::Experiment> Client::ResumeExperiment(const std::string& name) {
  v1::ResumeExperimentRequest request;
  request.set_name(name);
  return rpc_->Mutate(rpc_->experiments, &v1::ExperimentService::Stub::ResumeExperiment, request);
}

absl::StatusOr<v1::Experiment> Client::UpdateExperiment(v1::UpdateExperimentRequest request) {
  return rpc_->Mutate(rpc_->experiments, &v1::ExperimentService::Stub::UpdateExperiment, std::move(request));
}

absl::StatusOr<v1::ExplainExperimentResponse> Client::ExplainExperiment(const std::string& name) {
  v1::ExplainExperimentRequest request;
  request.set_name(name);
  return rpc_->Call(rpc_->experiments, &v1::ExperimentService::Stub::ExplainExperiment, request);
}

absl::StatusOr<v1::ListQueueResponse> Client::ListQueue(const v1::ListQueueRequest& request) {
  return rpc_->Call(rpc_->experiments, &v1::ExperimentService::Stub::ListQueue, request);
}

absl::StatusOr<std::vector<v1::MetricPoint>> Client::ListMetricPoints(const v1::ListMetricPointsRequest& request) {
  return rpc_->Pages<v1::MetricPoint>(rpc_->experiments, &v1::ExperimentService::Stub::ListMetricPoints, request,
                                      &v1::ListMetricPointsResponse::mutable_points);
}

// ---- models

absl::StatusOr<v1::ModelVersion> Client::RegisterModelVersion(v1::RegisterModelVersionRequest request) {
  return rpc_->Mutate(rpc_->registry, &v1::RegistryService::Stub::RegisterModelVersion, std::move(request));
}

absl::StatusOr<v1::ModelVersion> Client::GetModelVersion(const std::string& name) {
  v1::GetModelVersionRequest request;
  request.set_name(name);
  return rpc_->Call(rpc_->registry, &v1::RegistryService::Stub::GetModelVersion, request);
}

absl::StatusOr<v1::Model> Client::GetModel(const std::string& name) {
  v1::GetModelRequest request;
  request.set_name(name);
  return rpc_->Call(rpc_->registry, &v1::RegistryService::Stub::GetModel, request);
}

absl::StatusOr<std::vector<v1::Model>> Client::ListModels() {
  return rpc_->Pages<v1::Model>(rpc_->registry, &v1::RegistryService::Stub::ListModels, v1::ListModelsRequest(),
                                &v1::ListModelsResponse::mutable_models);
}

absl::StatusOr<std::vector<v1::ModelEvent>> Client::ListModelEvents(const std::string& parent) {
  v1::ListModelEventsRequest request;
  request.set_parent(parent);
  return rpc_->Pages<v1::ModelEvent>(rpc_->registry, &v1::RegistryService::Stub::ListModelEvents, request,
                                     &v1::ListModelEventsResponse::mutable_events);
}

absl::StatusOr<v1::PromoteModelVersionResponse> Client::PromoteModelVersion(v1::PromoteModelVersionRequest request) {
  return rpc_->Mutate(rpc_->registry, &v1::RegistryService::Stub::PromoteModelVersion, std::move(request));
}

absl::StatusOr<v1::PromoteModelVersionResponse> Client::RollbackModel(v1::RollbackModelRequest request) {
  return rpc_->Mutate(rpc_->registry, &v1::RegistryService::Stub::RollbackModel, std::move(request));
}

absl::StatusOr<v1::ModelGates> Client::SetModelGates(v1::SetModelGatesRequest request) {
  return rpc_->Mutate(rpc_->registry, &v1::RegistryService::Stub::SetModelGates, std::move(request));
}

absl::StatusOr<v1::ModelGates> Client::GetModelGates(const std::string& name) {
  v1::GetModelGatesRequest request;
  request.set_name(name);
  return rpc_->Call(rpc_->registry, &v1::RegistryService::Stub::GetModelGates, request);
}

// ---- evaluations, comparisons, predictions

absl::StatusOr<v1::Evaluation> Client::CreateEvaluation(v1::CreateEvaluationRequest request) {
  return rpc_->Mutate(rpc_->evaluations, &v1::EvaluationService::Stub::CreateEvaluation, std::move(request));
}

absl::StatusOr<v1::Evaluation> Client::WaitForEvaluation(const std::string& name,
                                                         const std::function<void(const v1::Evaluation&)>& on_change) {
  v1::GetEvaluationRequest request;
  request.set_name(name);
  const auto get = [&] {
    return rpc_->Call(rpc_->evaluations, &v1::EvaluationService::Stub::GetEvaluation, request,
                      rpc_->options.watch_patience);
  };
  return rpc_->Wait<v1::Evaluation>(get, on_change);
}

absl::StatusOr<v1::Comparison> Client::CreateComparison(v1::CreateComparisonRequest request) {
  return rpc_->Mutate(rpc_->comparisons, &v1::ComparisonService::Stub::CreateComparison, std::move(request));
}

absl::StatusOr<v1::Comparison> Client::GetComparison(const std::string& name) {
  v1::GetComparisonRequest request;
  request.set_name(name);
  return rpc_->Call(rpc_->comparisons, &v1::ComparisonService::Stub::GetComparison, request);
}

absl::StatusOr<v1::Comparison> Client::WaitForComparison(const std::string& name,
                                                         const std::function<void(const v1::Comparison&)>& on_change) {
  v1::GetComparisonRequest request;
  request.set_name(name);
  const auto get = [&] {
    return rpc_->Call(rpc_->comparisons, &v1::ComparisonService::Stub::GetComparison, request,
                      rpc_->options.watch_patience);
  };
  return rpc_->Wait<v1::Comparison>(get, on_change);
}

absl::StatusOr<v1::PredictResponse> Client::Predict(const v1::PredictRequest& request) {
  return rpc_->Call(rpc_->predictions, &v1::PredictionService::Stub::Predict, request);
}

}  // namespace ursa
