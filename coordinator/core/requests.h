// Retry-safe calls: the first answer to a request id is kept and given again.
#ifndef URSA_COORDINATOR_CORE_REQUESTS_H_
#define URSA_COORDINATOR_CORE_REQUESTS_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

// The bytes of the first answer to this request, or nothing. Errors: INVALID_ARGUMENT (the id is too long, or it was
// used for another call).
absl::StatusOr<std::optional<std::string>> FindAnswer(const Tx& tx, const RequestKey& key);
// Keeps an answer; drops the oldest beyond the limit.
void RememberAnswer(const Environment& env, Tx& tx, const RequestKey& key, std::string response);
// Drops answers that are too old.
void ExpireAnswers(const Environment& env, Tx& tx);

// One mutating call: a retry gets the first answer; otherwise `decide(tx)` validates, applies, and gives the answer. An
// error is not kept: what failed may be tried again.
template <typename Response, typename Decide>
void Mutate(const Environment& env, const RequestKey& key, Done<Response> done, Decide decide) {
  const absl::Status space = CheckDiskSpace(env.options);
  if (!space.ok()) return done(space);
  Tx tx(env.commit);
  absl::StatusOr<Response> response = [&]() -> absl::StatusOr<Response> {
    absl::StatusOr<std::optional<std::string>> first = FindAnswer(tx, key);
    if (!first.ok()) return first.status();
    if (first->has_value()) {
      Response kept;
      if (!kept.ParseFromString(**first)) return absl::DataLossError("request: its kept answer cannot be read");
      return kept;
    }
    absl::StatusOr<Response> decided = decide(tx);
    if (decided.ok()) RememberAnswer(env, tx, key, decided->SerializeAsString());
    return decided;
  }();
  tx.AfterDurable([done = std::move(done), response = std::move(response)] { done(response); });
}

template <typename Request>
RequestKey MakeRequestKey(const Caller& caller, std::string_view method, const Request& request) {
  Request bare = request;
  bare.clear_request_id();
  return RequestKey{caller, std::string(method), request.request_id(), RequestHash(bare.SerializeAsString())};
}

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_REQUESTS_H_
