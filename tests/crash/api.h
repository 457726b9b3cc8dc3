// The coordinator's services as one client calls them: without a second try, so that a call's outcome is known or is
// known to be unknown.
#ifndef URSA_TESTS_CRASH_API_H_
#define URSA_TESTS_CRASH_API_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/grpc_status.h"
#include "base/status_macros.h"
#include "ursa/v1/blobs.grpc.pb.h"
#include "ursa/v1/cluster.grpc.pb.h"
#include "ursa/v1/datasets.grpc.pb.h"
#include "ursa/v1/evaluations.grpc.pb.h"
#include "ursa/v1/experiments.grpc.pb.h"
#include "ursa/v1/registry.grpc.pb.h"

namespace ursa::crash {

// A call that has not been answered for so long hangs: a finding. Far beyond what any of these calls takes.
inline constexpr absl::Duration kHangLimit = absl::Seconds(60);

// Whether a call that ended so may have happened or not: the server died in it, its disk failed, or it stopped in good
// order as it could not start, and cancelled what was under way.
inline bool MayHaveHappened(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsUnknown(status) || absl::IsCancelled(status);
}

// One connection to one start of the coordinator. Thread-safe.
class Api {
 public:
  Api(const std::string& address, std::string token) : Api(Connect(address), std::move(token)) {}

  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request) const {
    Response response;
    const grpc::Status status = (stub.*method)(NewContext().get(), request, &response);
    if (!status.ok()) return FromGrpcStatus(status);
    return response;
  }

  // All pages of a list; `items` gives a response's repeated field.
  template <typename Item, typename Stub, typename Request, typename Response>
  absl::StatusOr<std::vector<Item>> Pages(Stub& stub,
                                          grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                          Request request,
                                          google::protobuf::RepeatedPtrField<Item>* (Response::*items)()) const {
    std::vector<Item> all;
    do {
      URSA_ASSIGN_OR_RETURN(Response response, Call(stub, method, request));
      for (Item& item : *(response.*items)()) all.push_back(std::move(item));
      request.set_page_token(response.next_page_token());
    } while (!request.page_token().empty());
    return all;
  }

  std::unique_ptr<grpc::ClientContext> NewContext() const {
    auto context = std::make_unique<grpc::ClientContext>();
    context->AddMetadata("authorization", "Bearer " + token_);
    context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(kHangLimit));
    return context;
  }

 private:
  static std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // no connection of an earlier start is taken over
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }
  Api(const std::shared_ptr<grpc::Channel>& channel, std::string token)
      : cluster(channel),
        blobs(channel),
        datasets(channel),
        experiments(channel),
        registry(channel),
        evaluations(channel),
        token_(std::move(token)) {}

 public:
  // Calls of a stub change nothing in it.
  mutable v1::ClusterService::Stub cluster;
  mutable v1::BlobService::Stub blobs;
  mutable v1::DatasetService::Stub datasets;
  mutable v1::ExperimentService::Stub experiments;
  mutable v1::RegistryService::Stub registry;
  mutable v1::EvaluationService::Stub evaluations;

 private:
  const std::string token_;
};

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_API_H_
