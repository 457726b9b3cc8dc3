// Why a task failed, where it is known for certain; travels with a status from the place that knows.
#ifndef URSA_BASE_FAILURE_CAUSE_H_
#define URSA_BASE_FAILURE_CAUSE_H_

#include "absl/status/status.h"

namespace ursa {

enum class FailureCause {
  kUnknown = 0,
  kOutOfMemory,  // of the machine or the device
  kNotFinite,    // the loss is NaN or infinite
  kBadData,      // an example that cannot be read
  kHardware,     // the device reports an error of its own
  kPeerLost,     // a fellow rank is gone: the cause is over there
};

// `status`, which is an error, with its cause. A cause that it has already is kept: the inner place knows better.
absl::Status WithCause(absl::Status status, FailureCause cause);
FailureCause CauseOf(const absl::Status& status);

}  // namespace ursa

#endif  // URSA_BASE_FAILURE_CAUSE_H_
