#include "coordinator/core/coordinator.h"
#include "coordinator/services/grpc_call_support.h"
#include "coordinator/services/services.h"
#include "ursa/v1/datasets.grpc.pb.h"

namespace ursa {
namespace {

class DatasetService : public v1::DatasetService::CallbackService {
 public:
  explicit DatasetService(Coordinator* coordinator) : env_(coordinator->env()), imports_(coordinator->imports()) {}

  grpc::ServerUnaryReactor* ImportDataset(grpc::CallbackServerContext* context, const v1::ImportDatasetRequest* request,
                                          v1::Import* response) override {
    return Starting(
        env_, context, "DatasetService/ImportDataset", request, response,
        [&](const RequestKey& key, Done<v1::Import> done) {
          // The list is read and its blobs are looked for: not on gRPC's threads.
          env_.executor->Run([this, key, request, done = std::move(done)] { imports_.Start(key, *request, done); });
        });
  }
  grpc::ServerUnaryReactor* GetImport(grpc::CallbackServerContext* context, const v1::GetImportRequest* request,
                                      v1::Import* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) { return imports_.Get(tx, request->name()); });
  }
  grpc::ServerUnaryReactor* GetDatasetVersion(grpc::CallbackServerContext* context,
                                              const v1::GetDatasetVersionRequest* request,
                                              v1::DatasetVersion* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) -> absl::StatusOr<v1::DatasetVersion> {
      const auto record = Imports::FindVersion(tx, request->name());
      if (!record.ok()) return record.status();
      return (*record)->version();
    });
  }
  grpc::ServerUnaryReactor* ListDatasetVersions(grpc::CallbackServerContext* context,
                                                const v1::ListDatasetVersionsRequest* request,
                                                v1::ListDatasetVersionsResponse* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) { return imports_.List(tx, *request); });
  }
  grpc::ServerUnaryReactor* ListExamples(grpc::CallbackServerContext* context, const v1::ListExamplesRequest* request,
                                         v1::ListExamplesResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    imports_.ListExamples(*request, Answer(reactor, response));
    return reactor;
  }

 private:
  const Environment& env_;
  Imports& imports_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeDatasetService(Coordinator* coordinator) {
  return std::make_unique<DatasetService>(coordinator);
}

}  // namespace ursa
