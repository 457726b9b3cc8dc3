// The channel, the stubs, and how a call is made on them. Internal to client/lib.
#ifndef URSA_CLIENT_LIB_RPC_H_
#define URSA_CLIENT_LIB_RPC_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/grpc_status.h"
#include "base/status_macros.h"
#include "client/lib/client.h"
#include "client/lib/retry.h"
#include "ursa/v1/blobs.grpc.pb.h"
#include "ursa/v1/cluster.grpc.pb.h"
#include "ursa/v1/comparisons.grpc.pb.h"
#include "ursa/v1/datasets.grpc.pb.h"
#include "ursa/v1/evaluations.grpc.pb.h"
#include "ursa/v1/experiments.grpc.pb.h"
#include "ursa/v1/predictions.grpc.pb.h"
#include "ursa/v1/registry.grpc.pb.h"

namespace ursa {

// Thread-safe.
class Client::Rpc {
 public:
  Rpc(ClientOptions options, const std::shared_ptr<grpc::Channel>& channel);

  // A call's context: token, and the deadline of a unary call unless it is a stream.
  std::unique_ptr<grpc::ClientContext> NewContext(bool is_stream);

  // What a failed call is to the caller: UNAVAILABLE without a connection is "unreachable".
  absl::Status ToStatus(const grpc::Status& status);

  Patience NewPatience(absl::Duration patience);
  // After a failure: waits and returns true, or returns false when patience is over. Connects while it waits, and waits
  // no longer than that takes.
  bool WaitForNextTry(Patience* tries);
  GrowingWait NewWait();

  // A unary call, tried again while the server is away.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request, absl::Duration patience) {
    Patience tries = NewPatience(patience);
    for (;;) {
      Response response;
      const grpc::Status status = (stub.*method)(NewContext(/*is_stream=*/false).get(), request, &response);
      if (status.ok()) return response;
      if (!IsServerGone(status) || !WaitForNextTry(&tries)) return ToStatus(status);
    }
  }

  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request) {
    return Call(stub, method, request, options.patience);
  }

  // The same for a mutating call: gives `request` an id if it has none.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Mutate(Stub& stub,
                                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                  Request request) {
    if (request.request_id().empty()) request.set_request_id(NewRequestId());
    return Call(stub, method, request, options.patience);
  }

  // All pages of a list; `items` gives a response's repeated field. Stops at `limit` items.
  template <typename Item, typename Stub, typename Request, typename Response>
  absl::StatusOr<std::vector<Item>> Pages(Stub& stub,
                                          grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                          Request request,
                                          google::protobuf::RepeatedPtrField<Item>* (Response::*items)(),
                                          size_t limit = SIZE_MAX) {
    std::vector<Item> all;
    for (;;) {
      URSA_ASSIGN_OR_RETURN(Response response, Call(stub, method, request));
      for (Item& item : *(response.*items)()) {
        if (all.size() == limit) return all;
        all.push_back(std::move(item));
      }
      if (response.next_page_token().empty() || all.size() == limit) return all;
      if (response.next_page_token() == request.page_token())
        return absl::InternalError("server: its list does not advance from one page to the next");
      request.set_page_token(response.next_page_token());
    }
  }

  // Asks by `get` until the answer's state is not RUNNING.
  template <typename T, typename Get>
  absl::StatusOr<T> Wait(Get get, const std::function<void(const T&)>& on_change) {
    GrowingWait wait = NewWait();
    for (;;) {
      absl::StatusOr<T> now = get();
      if (!now.ok()) return now;
      if (on_change) on_change(*now);
      if (now->state() != T::STATE_RUNNING && now->state() != T::STATE_UNSPECIFIED) return now;
      clock->SleepUntil(clock->Now() + wait.Next());
    }
  }

  static std::string NewRequestId();

  const ClientOptions options;
  Clock* const clock = Clock::Real();
  const std::shared_ptr<grpc::Channel> channel;
  v1::ClusterService::Stub cluster;
  v1::BlobService::Stub blobs;
  v1::DatasetService::Stub datasets;
  v1::ExperimentService::Stub experiments;
  v1::RegistryService::Stub registry;
  v1::EvaluationService::Stub evaluations;
  v1::ComparisonService::Stub comparisons;
  v1::PredictionService::Stub predictions;

 private:
  std::atomic<uint64_t> next_seed_;
};

}  // namespace ursa

#endif  // URSA_CLIENT_LIB_RPC_H_
