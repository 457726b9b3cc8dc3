// What every service does alike: who calls, how an answer leaves.
#ifndef URSA_COORDINATOR_SERVICES_GRPC_CALL_SUPPORT_H_
#define URSA_COORDINATOR_SERVICES_GRPC_CALL_SUPPORT_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <map>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "base/grpc_status.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/requests.h"

namespace ursa {

// The token that a call shows. UNAUTHENTICATED: none.
absl::StatusOr<std::string_view> TokenOf(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata);

// Who calls: whose token it shows. It is asked of the token once more, as the authenticator has no place to leave it:
// gRPC's authentication context is one for all calls of a connection. UNAUTHENTICATED: it is nobody's any more.
absl::StatusOr<Caller> CallerOf(const Environment& env, const grpc::CallbackServerContext& context);

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

// A call that changes and is answered later: `start(key, done)`.
template <typename Request, typename Response, typename Start>
grpc::ServerUnaryReactor* Starting(const Environment& env, grpc::CallbackServerContext* context,
                                   std::string_view method, const Request* request, Response* response, Start start) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Done<Response> done = Answer(reactor, response);
  const absl::StatusOr<Caller> caller = CallerOf(env, *context);
  if (caller.ok()) {
    start(MakeRequestKey(*caller, method, *request), std::move(done));
  } else {
    done(caller.status());
  }
  return reactor;
}

// A call that changes: `decide(tx, caller)` gives a StatusOr<Response>; retries get the first answer.
template <typename Request, typename Response, typename Decide>
grpc::ServerUnaryReactor* Changing(const Environment& env, grpc::CallbackServerContext* context,
                                   std::string_view method, const Request* request, Response* response, Decide decide) {
  return Starting(env, context, method, request, response, [&](const RequestKey& key, Done<Response> done) {
    Mutate<Response>(env, key, std::move(done), [&](Tx& tx) { return decide(tx, key.caller); });
  });
}

}  // namespace ursa

#endif  // URSA_COORDINATOR_SERVICES_GRPC_CALL_SUPPORT_H_
