// The services of ursa.v1 and ursa.worker.v1: thin, each a conversion between gRPC and the Coordinator.
#ifndef URSA_COORDINATOR_SERVICES_SERVICES_H_
#define URSA_COORDINATOR_SERVICES_SERVICES_H_

#include <memory>

namespace grpc {
class Service;
}

namespace ursa {

class Coordinator;
class Executor;
class PollerRest;

// Each borrows what it is given, which outlives it; thread-safe. `blob_executor` does the reading and writing of blobs.
std::unique_ptr<grpc::Service> MakeBlobService(Coordinator* coordinator, Executor* blob_executor);
std::unique_ptr<grpc::Service> MakeClusterService(Coordinator* coordinator);
std::unique_ptr<grpc::Service> MakeComparisonService(Coordinator* coordinator);
std::unique_ptr<grpc::Service> MakeDatasetService(Coordinator* coordinator);
std::unique_ptr<grpc::Service> MakeEvaluationService(Coordinator* coordinator);
std::unique_ptr<grpc::Service> MakeExperimentService(Coordinator* coordinator);
std::unique_ptr<grpc::Service> MakePredictionService(Coordinator* coordinator);
std::unique_ptr<grpc::Service> MakeRegistryService(Coordinator* coordinator);
std::unique_ptr<grpc::Service> MakeWorkerService(Coordinator* coordinator, PollerRest* rest);

}  // namespace ursa

#endif  // URSA_COORDINATOR_SERVICES_SERVICES_H_
