#include "coordinator/core/coordinator.h"
#include "coordinator/services/grpc_call_support.h"
#include "coordinator/services/services.h"
#include "ursa/v1/registry.grpc.pb.h"

namespace ursa {
namespace {

class RegistryService : public v1::RegistryService::CallbackService {
 public:
  explicit RegistryService(Coordinator* coordinator) : env_(coordinator->env()), registry_(coordinator->registry()) {}

  grpc::ServerUnaryReactor* RegisterModelVersion(grpc::CallbackServerContext* context,
                                                 const v1::RegisterModelVersionRequest* request,
                                                 v1::ModelVersion* response) override {
    return Changing(env_, context, "RegistryService/RegisterModelVersion", request, response,
                    [&](Tx& tx, const Caller& caller) { return registry_.Register(tx, caller, *request); });
  }
  grpc::ServerUnaryReactor* GetModelVersion(grpc::CallbackServerContext* context,
                                            const v1::GetModelVersionRequest* request,
                                            v1::ModelVersion* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) -> absl::StatusOr<v1::ModelVersion> {
      const auto record = Registry::FindVersion(tx, request->name());
      if (!record.ok()) return record.status();
      return (*record)->version();
    });
  }
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context, const v1::GetModelRequest* request,
                                     v1::Model* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) { return registry_.Get(tx, request->name()); });
  }
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context, const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) { return registry_.List(tx, *request); });
  }
  grpc::ServerUnaryReactor* ListModelEvents(grpc::CallbackServerContext* context,
                                            const v1::ListModelEventsRequest* request,
                                            v1::ListModelEventsResponse* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) { return registry_.ListEvents(tx, *request); });
  }
  grpc::ServerUnaryReactor* PromoteModelVersion(grpc::CallbackServerContext* context,
                                                const v1::PromoteModelVersionRequest* request,
                                                v1::PromoteModelVersionResponse* response) override {
    return Changing(env_, context, "RegistryService/PromoteModelVersion", request, response,
                    [&](Tx& tx, const Caller& caller) { return registry_.Promote(tx, caller, *request); });
  }
  grpc::ServerUnaryReactor* RollbackModel(grpc::CallbackServerContext* context, const v1::RollbackModelRequest* request,
                                          v1::PromoteModelVersionResponse* response) override {
    return Changing(env_, context, "RegistryService/RollbackModel", request, response,
                    [&](Tx& tx, const Caller& caller) { return registry_.Rollback(tx, caller, *request); });
  }
  grpc::ServerUnaryReactor* SetModelGates(grpc::CallbackServerContext* context, const v1::SetModelGatesRequest* request,
                                          v1::ModelGates* response) override {
    return Changing(env_, context, "RegistryService/SetModelGates", request, response,
                    [&](Tx& tx, const Caller& caller) { return registry_.SetGates(tx, caller, *request); });
  }
  grpc::ServerUnaryReactor* GetModelGates(grpc::CallbackServerContext* context, const v1::GetModelGatesRequest* request,
                                          v1::ModelGates* response) override {
    return Reading(env_, context, response, [&](const Tx& tx) { return registry_.GetGates(tx, request->name()); });
  }

 private:
  const Environment& env_;
  Registry& registry_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeRegistryService(Coordinator* coordinator) {
  return std::make_unique<RegistryService>(coordinator);
}

}  // namespace ursa
