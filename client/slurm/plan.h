// What to do about a pool's Slurm jobs: a pure function of what waits, which workers there are, and what Slurm says.
#ifndef URSA_CLIENT_SLURM_PLAN_H_
#define URSA_CLIENT_SLURM_PLAN_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace ursa::slurm {

inline constexpr int kSlotsPerJobMax = 1024;
inline constexpr int kJobsMax = 10000;

struct PlanOptions {
  int slots_per_job = 1;                               // of the worker that a job runs, 1..kSlotsPerJobMax
  int jobs_max = 1;                                    // that pend or run at a time, 0..kJobsMax
  absl::Duration idle = absl::Minutes(5);              // without a task, before a worker is given back
  absl::Duration submit_after = absl::Seconds(2);      // slots must be missing for so long
  absl::Duration cancel_after = absl::Seconds(30);     // a pending job must be unneeded for so long
  absl::Duration start_timeout = absl::Minutes(5);     // from the job's start to its worker in the cluster
  absl::Duration lost_timeout = absl::Minutes(5);      // of a worker that is lost while its job runs
  absl::Duration end_grace = absl::Minutes(3);         // from asking a worker to end to killing its job
  absl::Duration steady_after = absl::Minutes(1);      // a worker that lived for so long has started well
  int failures_free = 3;                               // failed starts in a row; from the last of them on it backs off
  absl::Duration backoff_initial = absl::Seconds(30);  // doubled with each further failed start
  absl::Duration backoff_max = absl::Minutes(10);
  absl::Duration unmet_retry = absl::Minutes(30);  // see Plan(); doubled each time
  absl::Duration unmet_retry_max = absl::Hours(24);

  // Errors: INVALID_ARGUMENT with limits and value.
  absl::Status Validate() const;
};

// A gang that waits in the pool, of the kind of slots that the jobs have.
struct WaitingGang {
  std::string trial;  // "t17.1"
  int slots = 0;
  std::string reason;
};

// A worker of the pool, started by Slurm or otherwise.
struct PoolWorker {
  enum class State { kAlive, kDrained, kSetAside, kLost };
  std::string id;  // "w3"
  State state = State::kAlive;
  int slots = 0;
  int free = 0;
  absl::Time last_seen;
};

// One of our jobs, as squeue tells.
struct Job {
  enum class State { kPending, kRunning, kEnding, kEnded };
  int64_t id = 0;
  State state = State::kPending;
  bool failed = false;  // kEnded, and neither well nor because somebody wanted it
  int slots = 0;        // as written into its comment when it was submitted
  std::string worker;   // that it runs, "w3"; empty until the worker has its id
  std::string detail;   // why it pends, or how it ended
};

struct View {
  std::vector<WaitingGang> waiting;  // in the order of the queue
  std::vector<PoolWorker> workers;
  std::vector<Job> jobs;
};

struct Action {
  enum class Kind {
    kSubmit,    // one more job
    kCancel,    // a pending job
    kDrain,     // the worker gets no new task
    kAskToEnd,  // SIGTERM to the job's script, which ends the worker in order
    kKill,      // the job did not end, or has no worker that could
  };
  Kind kind = Kind::kSubmit;
  int64_t job = 0;     // all but kSubmit
  std::string worker;  // kDrain
  std::string why;
};

// What the next decision has to know of the earlier ones. Lost with the process: clocks then start anew, nothing else.
struct Memory {
  struct JobPast {
    std::optional<absl::Time> running_since;
    std::optional<absl::Time> alive_since;  // its worker
    std::optional<absl::Time> idle_since;   // its worker, alive and without a task
    std::optional<absl::Time> asked;        // to end
    bool steady = false;                    // its worker lived for steady_after
    std::optional<absl::Time> killed;
  };
  struct GangPast {
    std::optional<absl::Time> fits_since;  // it waits though the free slots would do
    std::optional<absl::Time> set_aside;   // since when it is not counted
    absl::Duration retry;                  // from set_aside until it is counted again
    int used_then = 0;                     // slots of the pool in use when it was set aside
  };
  bool has_seen_jobs = false;
  std::map<int64_t, JobPast> jobs;
  std::set<int64_t> ended;  // jobs whose end has been taken into account
  std::map<std::string, GangPast> gangs;
  std::optional<absl::Time> missing_since;  // slots
  std::optional<absl::Time> surplus_since;
  int failures = 0;  // starts that failed since the last that went well
  absl::Time submit_not_before = absl::InfinitePast();
  std::string last_failure;
};

struct Decision {
  std::vector<Action> actions;     // in this order
  std::vector<std::string> notes;  // what a reader should know; the same text as long as nothing changes
  Memory memory;
  int slots_wanted = 0;   // by gangs that wait and can be helped
  int slots_free = 0;     // on live workers
  int slots_coming = 0;   // on jobs that pend or start
  int num_live_jobs = 0;  // that pend, run or end
};

// Demand is what waits less what is free or coming; jobs are submitted for it, never more than jobs_max at a time. A
// worker without a task for `idle` that the demand can do without is drained; drained and empty, it is asked to end. A
// worker with a task is never ended; that of a job whose worker is lost has none. `view` is of time `now`.
//
// A gang that the pool could not hold even with jobs_max jobs is not counted. Nor is one that kept waiting for `idle`
// while enough slots were free for it and those before it (a limit of its user, say): more workers do not help it. It
// is counted again after unmet_retry, or once something in the pool has ended.
Decision Plan(const PlanOptions& options, const View& view, const Memory& memory, absl::Time now);

// A job failed to start for a reason that squeue does not show: sbatch refused it.
void NoteFailedStart(const PlanOptions& options, const std::string& why, absl::Time now, Memory* memory);

}  // namespace ursa::slurm

#endif  // URSA_CLIENT_SLURM_PLAN_H_
