#include "base/failure_cause.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"

namespace ursa {
namespace {

constexpr char kPayload[] = "ursa/failure_cause";

}  // namespace

absl::Status WithCause(absl::Status status, FailureCause cause) {
  if (!status.ok() && !status.GetPayload(kPayload)) {
    status.SetPayload(kPayload, absl::Cord(std::to_string(static_cast<int>(cause))));
  }
  return status;
}

FailureCause CauseOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  int number = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &number)) return FailureCause::kUnknown;
  return static_cast<FailureCause>(number);
}

}  // namespace ursa
