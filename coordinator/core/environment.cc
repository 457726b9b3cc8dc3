#include "coordinator/core/environment.h"

#include "absl/strings/str_cat.h"

namespace ursa {

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t seconds = absl::ToUnixSeconds(time);
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

int64_t TakeNumber(Tx& tx, const std::string& counter, int64_t count) {
  const int64_t first = tx.state().NextNumber(counter);
  records::CounterRecord record;
  record.set_name(counter);
  record.set_value(first + count - 1);
  tx.Put(std::move(record));
  return first;
}

records::AuditPayload AuditEvent(const Environment& env, const Caller& caller, std::string action, std::string resource,
                                 std::string details) {
  records::AuditPayload payload;
  *payload.mutable_time() = ToTimestamp(env.clock->Now());
  payload.set_actor(caller.actor);
  payload.set_action(std::move(action));
  payload.set_resource(std::move(resource));
  payload.set_details(std::move(details));
  return payload;
}

absl::Status CheckDiskSpace(const CoordinatorOptions& options) {
  if (!options.free_disk_bytes) return absl::OkStatus();
  const int64_t num_free = options.free_disk_bytes();
  if (num_free >= options.min_free_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("disk of the coordinator: ", num_free >> 20,
                                                   " MiB are free, new data needs more than ",
                                                   options.min_free_bytes >> 20, " MiB (hint: free some space)"));
}

}  // namespace ursa
