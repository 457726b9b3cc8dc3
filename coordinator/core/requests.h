// Retry-safe calls: the first answer to a request id is kept and given again, be it a refusal.
#ifndef URSA_COORDINATOR_CORE_REQUESTS_H_
#define URSA_COORDINATOR_CORE_REQUESTS_H_

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status_macros.h"
#include "coordinator/core/environment.h"

namespace ursa {

inline constexpr size_t kRequestIdBytesMax = 128;

// One mutating call: who, what, with which request id. An empty id stands for a call that will not be retried.
struct RequestKey {
  Caller caller;
  std::string method;  // "ursa.v1.ExperimentService/CreateExperiment"
  std::string request_id;
  std::string request_hash;  // of the request's bytes
};

// `request` has a `request_id`.
template <typename Request>
RequestKey MakeRequestKey(const Caller& caller, std::string_view method, const Request& request);
std::string RequestHash(std::string_view bytes);

// The record of the first answer to this request, or null. Errors: INVALID_ARGUMENT (the id is too long, or it was used
// for another call).
absl::StatusOr<const records::RequestRecord*> FindAnswer(const Tx& tx, const RequestKey& key);
// Keeps an answer, the bytes of a response or why there is none; drops the oldest beyond the limit. UNAVAILABLE is no
// answer: the same request is to be sent again.
void RememberAnswer(const Environment& env, Tx& tx, const RequestKey& key, absl::StatusOr<std::string> answer);
// Drops answers that are too old.
void ExpireAnswers(const Environment& env, Tx& tx);

// One mutating call: a retry gets the first answer; otherwise `decide(tx)` validates, applies, and gives the answer.
template <typename Response, typename Decide>
void Mutate(const Environment& env, const RequestKey& key, Done<Response> done, Decide decide) {
  const absl::Status space = CheckDiskSpace(env.options);
  Tx tx(env.commit);
  absl::StatusOr<Response> response = [&]() -> absl::StatusOr<Response> {
    URSA_ASSIGN_OR_RETURN(const records::RequestRecord* const first, FindAnswer(tx, key));
    if (first != nullptr && first->code() != 0) {
      return absl::Status(static_cast<absl::StatusCode>(first->code()), first->reason());
    }
    if (first != nullptr) {
      Response kept;
      if (!kept.ParseFromString(first->response())) return absl::DataLossError("request: its answer cannot be read");
      return kept;
    }
    absl::StatusOr<Response> decided = space.ok() ? absl::StatusOr<Response>(decide(tx)) : space;
    if (decided.ok()) {
      RememberAnswer(env, tx, key, decided->SerializeAsString());
    } else {
      RememberAnswer(env, tx, key, decided.status());
    }
    return decided;
  }();
  tx.AfterDurable([done = std::move(done), response = std::move(response)]() mutable { done(std::move(response)); });
}

template <typename Request>
RequestKey MakeRequestKey(const Caller& caller, std::string_view method, const Request& request) {
  return RequestKey{caller, std::string(method), request.request_id(), RequestHash(request.SerializeAsString())};
}

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_REQUESTS_H_
