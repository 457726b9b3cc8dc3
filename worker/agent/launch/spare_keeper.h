// When a machine keeps a spare process for the next task, and which task gets it.
#ifndef URSA_WORKER_AGENT_LAUNCH_SPARE_KEEPER_H_
#define URSA_WORKER_AGENT_LAUNCH_SPARE_KEEPER_H_

#include <optional>

#include "absl/time/time.h"
#include "base/backoff.h"
#include "base/rng.h"

namespace ursa {

// A spare is a process of ursa-task that has loaded its libraries and knows of no task. It is taken by the next task
// that starts, which so saves the time to load them: what matters most when a gang waits for a rank to be replaced.
// Pure: no I/O, no clock, no threads; time comes in.
//
//   none --1--> warming --2--> ready          warming or ready --3--> none: the process is a task's
//                  |             |
//                  `------4------+--> ending --5--> none
//   1 spares are wanted, no task has started for `settle`, and the last failure is long enough ago  2 OnReady
//   3 TakeFor  4 it is no longer wanted, has the wrong number of threads, or was not ready in time
//   5 OnEnded; a spare that ends by itself, from warming or ready, is tried again after a wait that grows
//
// Its number of threads is what the OpenMP library reads as it is loaded, so a spare fits tasks of the same number
// alone; every other task is started in the ordinary way. One that still warms up is taken too: it is ahead of a
// process that is started now, and would only be in its way.
class SpareKeeper {
 public:
  struct Options {
    int threads = 1;  // of the first spare; later ones are as the newest training
    // A task that has just started, or a gang that meets with it, needs the cores more.
    absl::Duration settle = absl::Seconds(1);
    absl::Duration ready_limit = absl::Seconds(60);  // from the start of a spare until it is ready
    absl::Duration trust_limit = absl::Seconds(10);  // one that is not ready after that is taken by no task
    Backoff::Options retry{absl::Seconds(1), absl::Seconds(60), 2};
  };

  // `rng` is borrowed.
  SpareKeeper(const Options& options, Rng* rng);

  // To be done, each once: a spare with so many threads is to be started, answered by OnReady and OnEnded; the spare is
  // to be ended, answered by OnEnded.
  struct Todo {
    std::optional<int> start_threads;
    bool end = false;
  };
  // To be called after every change, and at NextWakeup().
  Todo TakeTodo(absl::Time now);
  absl::Time NextWakeup() const;

  // Whether tasks may come; at first they may not.
  void SetWanted(bool is_wanted) { is_wanted_ = is_wanted; }

  // A process of a task is about to start: what it gets.
  enum class Spare { kNone, kWarming, kReady };
  Spare TakeFor(int threads, bool is_training, absl::Time now);

  void OnReady(absl::Time now);
  // The spare has been reaped, or could not be started.
  void OnEnded(absl::Time now);

 private:
  enum class Phase { kNone, kWarming, kReady, kEnding };

  bool is_unfit() const { return threads_ != wanted_threads_; }

  const Options options_;
  Backoff backoff_;
  bool is_wanted_ = false;
  int wanted_threads_;
  absl::Time settled_at_ = absl::InfinitePast();
  absl::Time retry_at_ = absl::InfinitePast();

  Phase phase_ = Phase::kNone;
  int threads_ = 0;          // of the present spare
  absl::Time started_at_;    // likewise
  absl::Time ready_at_;      // phase kReady: since when
  bool is_failure_ = false;  // phase kEnding: it was too slow
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_LAUNCH_SPARE_KEEPER_H_
