#include "worker/task/agent_rendezvous_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

using worker::v1::StoreRequest;
using worker::v1::StoreResponse;

// Of operations that do not wait for a key, for the case that the coordinator is away.
constexpr absl::Duration kCallTimeout = absl::Minutes(2);

StoreRequest MakeRequest(StoreRequest::Operation operation, const std::vector<std::string>& keys,
                         absl::Duration timeout) {
  StoreRequest request;
  request.set_operation(operation);
  for (const std::string& key : keys) request.add_keys(key);
  request.set_timeout_millis(std::max<int64_t>(1, absl::ToInt64Milliseconds(timeout)));
  return request;
}

}  // namespace

absl::StatusOr<StoreResponse> AgentRendezvousStore::Call(StoreRequest request) const {
  request.set_epoch(epoch_);
  URSA_ASSIGN_OR_RETURN(StoreResponse response, agent_->Rendezvous(request));
  if (response.timed_out()) {
    return absl::DeadlineExceededError(absl::StrCat("rendezvous: key ", absl::StrJoin(request.keys(), ", "),
                                                    " was not set within ", request.timeout_millis(), " ms"));
  }
  return response;
}

absl::Status AgentRendezvousStore::Set(const std::string& key, const std::string& value) {
  StoreRequest request = MakeRequest(StoreRequest::OPERATION_SET, {key}, kCallTimeout);
  request.set_value(value);
  return Call(std::move(request)).status();
}

absl::StatusOr<std::string> AgentRendezvousStore::Get(const std::string& key, absl::Duration timeout) {
  URSA_ASSIGN_OR_RETURN(StoreResponse response, Call(MakeRequest(StoreRequest::OPERATION_GET, {key}, timeout)));
  return std::move(*response.mutable_value());
}

absl::StatusOr<int64_t> AgentRendezvousStore::Add(const std::string& key, int64_t delta) {
  StoreRequest request = MakeRequest(StoreRequest::OPERATION_ADD, {key}, kCallTimeout);
  request.set_amount(delta);
  URSA_ASSIGN_OR_RETURN(const StoreResponse response, Call(std::move(request)));
  return response.number();
}

absl::StatusOr<bool> AgentRendezvousStore::Check(const std::vector<std::string>& keys) {
  URSA_ASSIGN_OR_RETURN(const StoreResponse response,
                        Call(MakeRequest(StoreRequest::OPERATION_CHECK, keys, kCallTimeout)));
  return response.found();
}

absl::Status AgentRendezvousStore::Wait(const std::vector<std::string>& keys, absl::Duration timeout) {
  return Call(MakeRequest(StoreRequest::OPERATION_WAIT, keys, timeout)).status();
}

absl::StatusOr<bool> AgentRendezvousStore::Delete(const std::string& key) {
  URSA_ASSIGN_OR_RETURN(const StoreResponse response,
                        Call(MakeRequest(StoreRequest::OPERATION_DELETE, {key}, kCallTimeout)));
  return response.found();
}

}  // namespace ursa
