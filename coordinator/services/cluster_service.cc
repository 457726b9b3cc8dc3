#include "coordinator/core/coordinator.h"
#include "coordinator/services/grpc_call_support.h"
#include "coordinator/services/services.h"
#include "ursa/v1/cluster.grpc.pb.h"

namespace ursa {
namespace {

class ClusterService : public v1::ClusterService::CallbackService {
 public:
  explicit ClusterService(Coordinator* coordinator) : coordinator_(*coordinator) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context, const v1::GetStatusRequest*,
                                      v1::Status* response) override {
    return Reading(coordinator_.env(), context, response, [&](const Tx& tx) { return coordinator_.GetStatus(tx); });
  }
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context, const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override {
    return Reading(coordinator_.env(), context, response,
                   [&](const Tx& tx) { return coordinator_.workers().List(tx, *request); });
  }
  grpc::ServerUnaryReactor* DrainWorker(grpc::CallbackServerContext* context, const v1::DrainWorkerRequest* request,
                                        v1::Worker* response) override {
    return Changing(coordinator_.env(), context, "ClusterService/DrainWorker", request, response,
                    [&](Tx& tx, const Caller& caller) { return coordinator_.workers().Drain(tx, caller, *request); });
  }
  grpc::ServerUnaryReactor* ResumeWorker(grpc::CallbackServerContext* context, const v1::ResumeWorkerRequest* request,
                                         v1::Worker* response) override {
    return Changing(coordinator_.env(), context, "ClusterService/ResumeWorker", request, response,
                    [&](Tx& tx, const Caller& caller) { return coordinator_.workers().Resume(tx, caller, *request); });
  }
  grpc::ServerUnaryReactor* InviteWorker(grpc::CallbackServerContext* context, const v1::InviteWorkerRequest* request,
                                         v1::WorkerInvite* response) override {
    return Changing(
        coordinator_.env(), context, "ClusterService/InviteWorker", request, response,
        [&](Tx& tx, const Caller& caller) { return coordinator_.admission().Invite(tx, caller, *request); });
  }
  grpc::ServerUnaryReactor* ListWorkerInvites(grpc::CallbackServerContext* context,
                                              const v1::ListWorkerInvitesRequest* request,
                                              v1::ListWorkerInvitesResponse* response) override {
    return Reading(coordinator_.env(), context, response,
                   [&](const Tx& tx) { return coordinator_.admission().List(tx, *request); });
  }
  grpc::ServerUnaryReactor* RevokeWorkerInvite(grpc::CallbackServerContext* context,
                                               const v1::RevokeWorkerInviteRequest* request,
                                               v1::WorkerInvite* response) override {
    return Changing(
        coordinator_.env(), context, "ClusterService/RevokeWorkerInvite", request, response,
        [&](Tx& tx, const Caller& caller) { return coordinator_.admission().Revoke(tx, caller, *request); });
  }
  grpc::ServerUnaryReactor* RemoveWorker(grpc::CallbackServerContext* context, const v1::RemoveWorkerRequest* request,
                                         v1::Worker* response) override {
    return Changing(coordinator_.env(), context, "ClusterService/RemoveWorker", request, response,
                    [&](Tx& tx, const Caller& caller) { return coordinator_.workers().Remove(tx, caller, *request); });
  }
  grpc::ServerUnaryReactor* VerifyAudit(grpc::CallbackServerContext* context, const v1::VerifyAuditRequest*,
                                        v1::VerifyAuditResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    coordinator_.VerifyAudit(Answer(reactor, response));
    return reactor;
  }

 private:
  Coordinator& coordinator_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeClusterService(Coordinator* coordinator) {
  return std::make_unique<ClusterService>(coordinator);
}

}  // namespace ursa
