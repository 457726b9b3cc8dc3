// EvaluationService, ComparisonService and PredictionService.
#include "coordinator/core/coordinator.h"
#include "coordinator/services/grpc_call_support.h"
#include "coordinator/services/services.h"
#include "ursa/v1/comparisons.grpc.pb.h"
#include "ursa/v1/evaluations.grpc.pb.h"
#include "ursa/v1/predictions.grpc.pb.h"

namespace ursa {
namespace {

class EvaluationService : public v1::EvaluationService::CallbackService {
 public:
  explicit EvaluationService(Coordinator* coordinator) : coordinator_(*coordinator) {}

  grpc::ServerUnaryReactor* CreateEvaluation(grpc::CallbackServerContext* context,
                                             const v1::CreateEvaluationRequest* request,
                                             v1::Evaluation* response) override {
    return Starting(coordinator_.env(), context, "EvaluationService/CreateEvaluation", request, response,
                    [&](const RequestKey& key, Done<v1::Evaluation> done) {
                      coordinator_.evaluations().CreateEvaluation(key, *request, std::move(done));
                    });
  }
  grpc::ServerUnaryReactor* GetEvaluation(grpc::CallbackServerContext* context, const v1::GetEvaluationRequest* request,
                                          v1::Evaluation* response) override {
    return Reading(coordinator_.env(), context, response,
                   [&](const Tx& tx) { return coordinator_.evaluations().GetEvaluation(tx, request->name()); });
  }

 private:
  Coordinator& coordinator_;
};

class ComparisonService : public v1::ComparisonService::CallbackService {
 public:
  explicit ComparisonService(Coordinator* coordinator) : coordinator_(*coordinator) {}

  grpc::ServerUnaryReactor* CreateComparison(grpc::CallbackServerContext* context,
                                             const v1::CreateComparisonRequest* request,
                                             v1::Comparison* response) override {
    return Starting(coordinator_.env(), context, "ComparisonService/CreateComparison", request, response,
                    [&](const RequestKey& key, Done<v1::Comparison> done) {
                      coordinator_.evaluations().CreateComparison(key, *request, std::move(done));
                    });
  }
  grpc::ServerUnaryReactor* GetComparison(grpc::CallbackServerContext* context, const v1::GetComparisonRequest* request,
                                          v1::Comparison* response) override {
    return Reading(coordinator_.env(), context, response,
                   [&](const Tx& tx) { return coordinator_.evaluations().GetComparison(tx, request->name()); });
  }

 private:
  Coordinator& coordinator_;
};

class PredictionService : public v1::PredictionService::CallbackService {
 public:
  explicit PredictionService(Coordinator* coordinator) : coordinator_(*coordinator) {}

  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* context, const v1::PredictRequest* request,
                                    v1::PredictResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    coordinator_.predictions().Predict(*request, Answer(reactor, response));
    return reactor;
  }

 private:
  Coordinator& coordinator_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeEvaluationService(Coordinator* coordinator) {
  return std::make_unique<EvaluationService>(coordinator);
}
std::unique_ptr<grpc::Service> MakeComparisonService(Coordinator* coordinator) {
  return std::make_unique<ComparisonService>(coordinator);
}
std::unique_ptr<grpc::Service> MakePredictionService(Coordinator* coordinator) {
  return std::make_unique<PredictionService>(coordinator);
}

}  // namespace ursa
