// What every service does alike: who calls, how an answer leaves.
#ifndef URSA_COORDINATOR_SERVICES_GRPC_CALL_SUPPORT_H_
#define URSA_COORDINATOR_SERVICES_GRPC_CALL_SUPPORT_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "base/grpc_status.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/requests.h"

namespace ursa {

// Property of the call's authentication context under which the authenticator leaves the token's name.
inline constexpr char kActorProperty[] = "ursa-actor";

Caller CallerOf(const grpc::CallbackServerContext& context);

// Answers a unary call: fills `response` and finishes the reactor.
template <typename Response>
Done<Response> Answer(grpc::ServerUnaryReactor* reactor, Response* response) {
  return [reactor, response](absl::StatusOr<Response> result) {
    if (result.ok()) *response = *std::move(result);
    reactor->Finish(ToGrpcStatus(result.status()));
  };
}

// A call that reads: `read(tx)` gives a StatusOr<Response>.
template <typename Response, typename Read>
grpc::ServerUnaryReactor* Reading(const Environment& env, grpc::CallbackServerContext* context, Response* response,
                                  Read read) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  ReadState<Response>(env, Answer(reactor, response), read);
  return reactor;
}

// A call that changes: `decide(tx, caller)` gives a StatusOr<Response>; retries get the first answer.
template <typename Request, typename Response, typename Decide>
grpc::ServerUnaryReactor* Changing(const Environment& env, grpc::CallbackServerContext* context,
                                   std::string_view method, const Request* request, Response* response, Decide decide) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Caller caller = CallerOf(*context);
  Mutate<Response>(env, MakeRequestKey(caller, method, *request), Answer(reactor, response),
                   [&](Tx& tx) { return decide(tx, caller); });
  return reactor;
}

}  // namespace ursa

#endif  // URSA_COORDINATOR_SERVICES_GRPC_CALL_SUPPORT_H_
