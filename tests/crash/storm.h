// Kills, one after the other, while a workload goes on.
#ifndef URSA_TESTS_CRASH_STORM_H_
#define URSA_TESTS_CRASH_STORM_H_

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/rng.h"
#include "tests/crash/cluster.h"
#include "tests/crash/process.h"
#include "tests/crash/totals.h"
#include "tests/crash/workload.h"

namespace ursa::crash {

// One death to bring about: at a pass of a point, or at a random moment.
struct Kill {
  std::string point;   // empty: at a random moment
  std::string action;  // "die" or "fail"; a failure may end the process or not
  int pass = 1;
  int num_tries = 0;  // that did not come to the point in time

  // The line that arms it.
  std::string Line(const std::string& program) const;
};

// Drives the kills of a cluster. Not thread-safe.
//
//   for each program under fire: arm the next kill --(re)start--> the workload goes on --dead--> look, restart, check
//
// When the coordinator is dead: now and then its folder is checked; then it is started, until it answers; then the
// workload's subjects are checked, and go on.
class Storm {
 public:
  struct Options {
    absl::Duration reach_limit = absl::Seconds(4);       // for a process to come to its point
    absl::Duration random_delay_max = absl::Seconds(1);  // before a kill at a random moment
    absl::Duration time_limit = absl::Minutes(3);        // after which the kills that are left are not made ...
    size_t points_min = 0;                               // ... once there was a kill at so many points
    double check_share = 0.1;   // of the subjects that have nothing unknown, checked after each restart
    int store_check_every = 8;  // deaths of the coordinator
  };

  // Gives the audit events that must be there now; for the checks of the store.
  using ExpectedAudit = std::function<std::map<std::string, int>()>;
  // The kills of each program: kCoordinator, kWorker, kTask.
  using Kills = std::map<std::string, std::deque<Kill>>;

  Storm(const Options& options, Cluster* cluster, Workload* workload, ExpectedAudit expected_audit, Rng* rng,
        Totals* totals);

  // Starts coordinator and worker, none of which runs; the kills are of their first starts. Then both run.
  absl::Status BringUp(Kills kills);

  // Makes the kills of each program in their order, side by side. Then all run, with nothing armed, and the workload
  // goes on. Programs without kills are left alone. Errors: INTERNAL (a finding); of starting programs.
  absl::Status Run(Kills kills);

  // The coordinator is dead: looks at its folder now if `store_check` says so, starts it, and lets the workload go on.
  absl::Status Revive(bool store_check);

 private:
  // One program under fire.
  struct Target {
    std::deque<Kill> kills;
    std::optional<Kill> current;
    absl::Time due;           // of a random kill, or when a point counts as not reached
    bool was_killed = false;  // by us, at a random moment
  };

  Process& ProcessOf(const std::string& program) const;
  bool HasFired(const std::string& program, const Target& target) const;
  absl::Status WriteArmed() const;
  absl::Status TakeNext(const std::string& program);
  void PutBack(Target* target);
  // Counts the death of a daemon by what it died of, and arms its next kill.
  absl::Status CountDeath(const std::string& program);
  absl::Status LookAtDaemon(const std::string& program);
  absl::Status LookAtTasks();
  absl::Status CheckStoreOfDead();

  const Options options_;
  Cluster& cluster_;
  Workload& workload_;
  const ExpectedAudit expected_audit_;
  Rng& rng_;
  Totals& totals_;
  std::map<std::string, Target> targets_;
  std::set<std::string> read_before_;  // blobs
  int num_coordinator_deaths_ = 0;
};

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_STORM_H_
