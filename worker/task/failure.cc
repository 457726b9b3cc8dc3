#include "worker/task/failure.h"

#include <string>

#include "base/failure_cause.h"

namespace ursa {
namespace {

using worker::v1::TaskFinished;

TaskFinished::Cause ToProto(FailureCause cause) {
  switch (cause) {
    case FailureCause::kOutOfMemory:
      return TaskFinished::CAUSE_OUT_OF_MEMORY;
    case FailureCause::kNotFinite:
      return TaskFinished::CAUSE_NOT_FINITE;
    case FailureCause::kBadData:
      return TaskFinished::CAUSE_BAD_DATA;
    case FailureCause::kHardware:
      return TaskFinished::CAUSE_HARDWARE;
    case FailureCause::kPeerLost:
      return TaskFinished::CAUSE_PEER_LOST;
    case FailureCause::kUnknown:
      break;
  }
  return TaskFinished::CAUSE_UNSPECIFIED;
}

}  // namespace

TaskFinished FinishedWith(TaskFinished::Outcome outcome, const absl::Status& status) {
  TaskFinished finished;
  finished.set_outcome(outcome);
  finished.set_reason(std::string(status.message()));
  finished.set_cause(ToProto(CauseOf(status)));
  return finished;
}

}  // namespace ursa
