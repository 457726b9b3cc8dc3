// Deletes logs that the retention policy does not keep.
#ifndef URSA_COORDINATOR_CORE_LOG_JANITOR_H_
#define URSA_COORDINATOR_CORE_LOG_JANITOR_H_

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/core/environment.h"
#include "storage/keys.h"

namespace ursa {

// "720h,1GiB", "72h", "inf,inf": how long what a trial prints is kept, and how many bytes of it; what is not given
// stays as it is in `defaults`. INVALID_ARGUMENT: anything else.
absl::StatusOr<LogRetentionOptions> ParseLogRetention(std::string_view text, LogRetentionOptions defaults);

// Goes through all trials' logs now and then, some at each tick, on the executor. Guarded by the coordinator's lock.
class LogJanitor {
 public:
  explicit LogJanitor(const Environment* env) : env_(*env) {}

  void Tick(Tx& tx);

 private:
  void RunTurn(TrialKey begin);

  const Environment& env_;
  bool is_running_ = false;
  std::optional<TrialKey> next_;                    // where the present round goes on
  absl::Time round_begins_ = absl::InfinitePast();  // the next one, when none is under way
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_LOG_JANITOR_H_
