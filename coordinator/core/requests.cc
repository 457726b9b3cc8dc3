#include "coordinator/core/requests.h"

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/planted_bug.h"

namespace ursa {

std::string RequestHash(std::string_view bytes) { return Sha256Hex(bytes); }

absl::StatusOr<const records::RequestRecord*> FindAnswer(const Tx& tx, const RequestKey& key) {
  if (key.request_id.empty()) return nullptr;
  if (key.request_id.size() > kRequestIdBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("request_id: at most ", kRequestIdBytesMax, " bytes are allowed, it has ", key.request_id.size()));
  }
  const auto* record = tx.state().Find<records::RequestRecord>(NamePairKey(key.caller.actor, key.request_id));
  if (record == nullptr) return nullptr;
  if (record->method() != key.method || record->request_hash() != key.request_hash) {
    return absl::InvalidArgumentError(absl::StrCat("request_id \"", key.request_id,
                                                   "\": was used before for another request (", record->method(),
                                                   "; hint: make a new id for each request)"));
  }
  return record;
}

void RememberAnswer(const Environment& env, Tx& tx, const RequestKey& key, absl::StatusOr<std::string> answer) {
  if (key.request_id.empty() || URSA_PLANTED_BUG(forget_answers) || absl::IsUnavailable(answer.status())) return;
  if (!answer.ok() && URSA_PLANTED_BUG(forget_refusals)) return;
  records::RequestRecord record;
  record.set_actor(key.caller.actor);
  record.set_request_id(key.request_id);
  record.set_method(key.method);
  record.set_request_hash(key.request_hash);
  if (answer.ok()) {
    record.set_response(*std::move(answer));
  } else {
    record.set_code(static_cast<int32_t>(answer.status().code()));
    record.set_reason(std::string(answer.status().message()));
  }
  *record.mutable_time() = ToTimestamp(env.clock->Now());
  Mutation mutation;
  mutation.Put(std::move(record));
  const auto& by_time = tx.state().requests_by_time();
  if (static_cast<int64_t>(by_time.size()) >= env.options.num_requests_max) {
    mutation.Delete<records::RequestRecord>(by_time.begin()->second);
  }
  tx.Apply(std::move(mutation));
}

void ExpireAnswers(const Environment& env, Tx& tx) {
  const int64_t oldest = absl::ToUnixMicros(env.clock->Now() - env.options.request_age_max);
  Mutation mutation;
  for (const auto& [time, id] : tx.state().requests_by_time()) {
    if (time >= oldest) break;
    mutation.Delete<records::RequestRecord>(id);
  }
  tx.Apply(std::move(mutation));
}

}  // namespace ursa
