// What follows from a failure: for the trial, and for the worker on which it happened. Pure.
#ifndef URSA_COORDINATOR_CORE_FAILURE_POLICY_H_
#define URSA_COORDINATOR_CORE_FAILURE_POLICY_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "coordinator/state/entities.h"

namespace ursa {

enum class Remedy {
  kEnd,      // it would fail in the same way again
  kRestart,  // from its checkpoint; counts against max_restarts
  kMove,     // from its checkpoint; the place failed, not the job: counts against moves_max
  kAgain,    // from its checkpoint; counts against nothing
};

//   user's mistake, loss not finite, unreadable example   kEnd: training is bit-reproducible, it would come again
//   out of memory, hardware error, worker lost            kMove
//   a failure before any rank was heard of, or that the
//   coordinator caused                                    kAgain
//   all else: a crash, a kill, a lost peer                kRestart
Remedy RemedyFor(const records::Gang& gang);

// Whose failure it was: of the ranks that said why they failed, the first that did not blame a peer; else the rank
// whose failure was seen first. Index of a rank.
int32_t FailedRank(const records::Gang& gang);

struct StrikeOptions {
  int num_strikes = 3;                        // set a worker aside ...
  int num_trials = 2;                         // ... of so many trials at least ...
  absl::Duration window = absl::Minutes(10);  // ... in so long
};

// Adds a strike against the worker, and forgets those that no longer count. Returns why it should be set aside: it
// failed several trials, or its hardware reports an error; empty: it should not.
std::string AddStrike(const StrikeOptions& options, const TrialId& trial, worker::v1::TaskFinished::Cause cause,
                      const std::string& reason, absl::Time now, records::WorkerRecord* worker);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_FAILURE_POLICY_H_
