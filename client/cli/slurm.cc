// ursa cluster slurm.
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/local_cluster.h"
#include "client/cli/text.h"
#include "client/slurm/controller.h"
#include "experiments/resource_names.h"

namespace ursa::cli {
namespace {

constexpr absl::Duration kPassInterval = absl::Seconds(3);

// The absolute path of a file that must be there: Slurm's nodes read it under this name.
absl::StatusOr<std::string> PathForNodes(const std::string& flag, const std::string& path) {
  URSA_ASSIGN_OR_RETURN(std::string absolute, AbsoluteFolder(path));
  if (::access(absolute.c_str(), R_OK) == 0) return absolute;
  return absl::InvalidArgumentError(absl::StrCat("--", flag, ": \"", absolute, "\" cannot be read"));
}

absl::StatusOr<absl::Duration> ParseIdle(const ParsedArgs& args) {
  const std::string text = args.GetOr("idle", "5m");
  absl::Duration idle;
  if (absl::ParseDuration(text, &idle) && idle >= absl::Seconds(1)) return idle;
  return absl::InvalidArgumentError(absl::StrCat("--idle: \"", text, "\" is not a duration of at least 1s (hint: 5m)"));
}

absl::StatusOr<slurm::BatchJobOptions> JobOptions(Context& context) {
  const ParsedArgs& args = context.args();
  slurm::BatchJobOptions job;
  job.pool = args.GetOr("pool", "default");
  URSA_RETURN_IF_ERROR(CheckName("pool", job.pool));
  job.kind = args.GetOr("kind", "cpu");
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> slots, args.GetInt("slots-per-job", 1, slurm::kSlotsPerJobMax));
  job.slots = static_cast<int>(slots.value_or(1));
  job.server = args.GetOr("server", context.Env("URSA_SERVER"));
  URSA_ASSIGN_OR_RETURN(job.token_file, PathForNodes("worker-token-file", *args.Get("worker-token-file")));
  if (args.Has("ca-file")) {
    URSA_ASSIGN_OR_RETURN(job.ca_file, PathForNodes("ca-file", *args.Get("ca-file")));
  }
  URSA_ASSIGN_OR_RETURN(job.log_dir, AbsoluteFolder(args.GetOr("log-dir", ".")));
  URSA_ASSIGN_OR_RETURN(job.worker_program, FindProgram(kWorkerProgram, context.Env("URSA_BIN")));
  job.fabric = args.GetOr("fabric", "lo");
  job.partition = args.GetOr("partition", "");
  job.account = args.GetOr("account", "");
  job.sbatch = args.All("sbatch");
  return job;
}

Json EventJson(const slurm::Event& event) {
  return Json::Object()
      .Set("event", event.what)
      .Set("job", event.job)
      .Set("worker", event.worker)
      .Set("failed", event.failed)
      .Set("why", event.why);
}

std::string EventLine(const slurm::Event& event) {
  return absl::StrCat(LocalTimeText(Clock::Real()->Now()), "  ", event.what,
                      event.job == 0 ? "" : absl::StrCat(" job ", event.job),
                      event.worker.empty() ? "" : " " + event.worker, ": ", Printable(event.why), "\n");
}

std::string Summary(const slurm::Decision& decision, const std::string& pool, int jobs_max) {
  return absl::StrCat("pool ", pool, ": ", Plural(decision.slots_wanted, "slot", "slots"), " wanted, ",
                      decision.slots_free, " free, ", decision.slots_coming, " coming; ", decision.num_live_jobs,
                      " of ", Plural(jobs_max, "job", "jobs"));
}

// Until the next pass. Returns whether a signal asks to end. Slurm's programs are children too, of whose end it hears.
bool WaitForSignal(SignalWaiter* signals) {
  Clock* const clock = Clock::Real();
  const absl::Time next_pass = clock->Now() + kPassInterval;
  for (absl::Time now = clock->Now(); now < next_pass; now = clock->Now()) {
    if (signals->Wait(next_pass - now) != 0) return true;
  }
  return false;
}

absl::StatusOr<int> RunSlurm(Context& context) {
  SignalWaiter signals;  // before gRPC starts its threads
  const ParsedArgs& args = context.args();
  Output& out = context.out();
  slurm::Controller::Options options;
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> jobs_max, args.GetInt("jobs-max", 0, slurm::kJobsMax));
  options.plan.jobs_max = static_cast<int>(*jobs_max);
  URSA_ASSIGN_OR_RETURN(options.plan.idle, ParseIdle(args));
  URSA_ASSIGN_OR_RETURN(const slurm::BatchJobOptions job, JobOptions(context));
  options.plan.slots_per_job = job.slots;
  options.dry_run = args.Has("dry-run");
  const bool once = args.Has("once");
  // One look cannot see for how long something is so.
  if (once) options.plan.submit_after = absl::ZeroDuration();
  URSA_RETURN_IF_ERROR(options.plan.Validate());
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());

  slurm::Slurm slurm(job);
  bool has_failed = false;
  slurm::Controller controller(client, &slurm, Clock::Real(), options, [&](const slurm::Event& event) {
    has_failed |= event.failed;
    out.PrintJson(EventJson(event));
    out.Print(EventLine(event));
  });
  bool has_passed = false;
  std::string told_error;
  do {
    const absl::StatusOr<slurm::Decision> decision = controller.Pass();
    if (decision.ok()) {
      const std::string summary = Summary(*decision, job.pool, options.plan.jobs_max);
      if (!has_passed || once) out.Print(summary + "\n");
      out.SetStatusLine(summary);
      has_passed = true;
      told_error.clear();
    } else if (once || !has_passed) {
      return decision.status();  // a mistake in a flag, rather than a fault that passes
    } else if (told_error != decision.status().message()) {
      told_error = std::string(decision.status().message());
      out.Warn(absl::StrCat("waits: ", Printable(told_error)));
    }
  } while (!once && !WaitForSignal(&signals));
  if (once) return has_failed ? kExitFailed : kExitDone;
  out.Print("ends; its jobs go on, and the next `ursa cluster slurm` for this pool takes them over\n");
  return kExitDone;
}

}  // namespace

std::vector<Command> SlurmCommands() {
  Flag token{"worker-token-file", "FILE",           "the token that workers show", false, {},
             /*is_path=*/true,    /*required=*/true};
  return {
      {"cluster",
       "slurm",
       {},
       {{"jobs-max", "M", "that pend or run at a time", false, {}, false, /*required=*/true},
        token,
        {"pool", "POOL", "whose queue is served (default: the pool \"default\")"},
        {"slots-per-job", "N", "of the worker that a job runs (default 1)"},
        {"kind", "KIND", "of the slots (default cpu); a cuda slot asks Slurm for a GPU", false, {"cpu", "cuda"}},
        {"idle", "TIME", "without a task, before a worker is given back (default 5m)"},
        {"partition", "NAME", "Slurm's (default: its own)"},
        {"account", "NAME", "Slurm's (default: the user's)"},
        {"sbatch", "ARGUMENT", "one more for sbatch, as in --sbatch --time=8:00:00", /*repeated=*/true},
        {"fabric", "IFACE", "network interface of collectives on the nodes (default lo: gangs within one job)"},
        {"ca-file", "FILE", "certificates that workers trust with TLS (default: the system's)", false, {}, true},
        {"log-dir", "DIR", "where jobs write ursa-worker-JOB.log (default: here)", false, {}, true},
        {"once", "", "one look and what it leads to, instead of staying until Ctrl-C"},
        {"dry-run", "", "say what would be done, and do nothing"}},
       "start workers as Slurm jobs when something waits, and give them back when they are idle",
       "Runs where sbatch, squeue and scancel do, and stays. Files and programs must have the same paths on Slurm's\n"
       "nodes. The coordinator takes experiments for a pool without workers when its --elastic_pools names it.\n"
       "Imports and evaluations need a worker that is always there: run one beside the coordinator.",
       "ursa cluster slurm --pool gpu --kind cuda --slots-per-job 4 --jobs-max 8 --worker-token-file worker.token",
       true,
       &RunSlurm},
  };
}

}  // namespace ursa::cli
