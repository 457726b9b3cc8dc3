// What an operator may set about scheduling.
#ifndef URSA_COORDINATOR_SCHEDULING_OPTIONS_H_
#define URSA_COORDINATOR_SCHEDULING_OPTIONS_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace ursa {

struct SchedulingOptions {
  // Fair share: what was used so long ago counts half.
  absl::Duration use_half_life = absl::Hours(7 * 24);
  // Waiting so long raises a gang by one priority in the queue (not in its right to preempt), until it has passed 99
  // and stands before all others: priority p is at the front after at most (100 - p) steps. Infinite: no aging.
  absl::Duration aging_step = absl::Minutes(10);
  // A gang that aging has raised keeps its level for so long when it runs: only higher ones may preempt it. What is
  // preempted before that goes on waiting as if it had not run (WaitsSince), until it is at the front. So what is
  // preempted over and over gets on all the same.
  absl::Duration aged_run_min = absl::Minutes(10);
  // Waiting times and shares are as of the last full period, so that an order holds for a while and costs nothing.
  absl::Duration order_period = absl::Seconds(1);
  // Slots that one user, or all users of one workspace, may hold in one pool. Absent: all.
  std::optional<int64_t> user_slots_max;
  std::optional<int64_t> workspace_slots_max;
  // Missing slots of a head up to which backfill is computed; a head that misses more is not overtaken at all.
  int64_t backfill_missing_max = 4096;
  // Missing slots up to which the cheapest victims are found exactly; beyond, the cheapest for each slot are taken.
  int64_t exact_victims_missing_max = 1024;

  // INVALID_ARGUMENT names the option, its limits and its value.
  absl::Status Validate() const;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_OPTIONS_H_
