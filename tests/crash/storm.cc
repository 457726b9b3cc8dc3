#include "tests/crash/storm.h"

#include <signal.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "tests/crash/store_check.h"

namespace ursa::crash {
namespace {

constexpr int kTriesMax = 2;
constexpr absl::Duration kPoll = absl::Milliseconds(20);
constexpr absl::Duration kFailureSettles = absl::Milliseconds(300);  // for a failure to end the process, if it does

absl::Time Now() { return Clock::Real()->Now(); }

}  // namespace

std::string Kill::Line(const std::string& program) const {
  return absl::StrCat(program, " ", point, " ", action, " ", pass);
}

Storm::Storm(const Options& options, Cluster* cluster, Workload* workload, ExpectedAudit expected_audit, Rng* rng,
             Totals* totals)
    : options_(options),
      cluster_(*cluster),
      workload_(*workload),
      expected_audit_(std::move(expected_audit)),
      rng_(*rng),
      totals_(*totals) {}

Process& Storm::ProcessOf(const std::string& program) const {
  return program == kCoordinator ? cluster_.coordinator() : cluster_.worker();
}

bool Storm::HasFired(const std::string& program, const Target& target) const {
  return target.current.has_value() && !target.current->point.empty() &&
         cluster_.HasFired(target.current->Line(program));
}

absl::Status Storm::WriteArmed() const {
  std::vector<std::string> lines;
  for (const auto& [program, target] : targets_) {
    if (target.current.has_value() && !target.current->point.empty()) lines.push_back(target.current->Line(program));
  }
  return cluster_.Arm(lines);
}

absl::Status Storm::TakeNext(const std::string& program) {
  Target& target = targets_[program];
  target.current.reset();
  target.was_killed = false;
  if (!target.kills.empty()) {
    target.current = std::move(target.kills.front());
    target.kills.pop_front();
    target.due =
        Now() + (target.current->point.empty() ? rng_.Uniform() * options_.random_delay_max : options_.reach_limit);
  }
  return WriteArmed();
}

void Storm::PutBack(Target* target) {
  Kill kill = *std::move(target->current);
  target->current.reset();
  if (kill.point.empty()) return;
  if (++kill.num_tries == kTriesMax) return;
  kill.pass = 1;
  target->kills.push_back(std::move(kill));
}

absl::Status Storm::CountDeath(const std::string& program) {
  Target& target = targets_[program];
  const Death death = *ProcessOf(program).death();
  const bool has_fired = HasFired(program, target);
  if (has_fired && target.current->action == "die" && death.signal == SIGKILL) {
    ++totals_.kills[target.current->point];
  } else if (has_fired && target.current->action == "fail" && death.signal == 0 && death.exit_code != 0) {
    ++totals_.kills[target.current->point];
    ++totals_.fatal[target.current->point];
  } else if (target.was_killed && death.signal == SIGKILL) {
    ++totals_.random[program];
    if (target.current.has_value() && !has_fired) PutBack(&target);
  } else {
    return absl::InternalError(absl::StrCat(program, " ended by itself: ", death.ToString()));
  }
  return TakeNext(program);
}

absl::Status Storm::BringUp(Kills kills) {
  for (auto& [program, list] : kills) {
    targets_[program].kills = std::move(list);
    URSA_RETURN_IF_ERROR(TakeNext(program));
  }
  URSA_RETURN_IF_ERROR(Revive(/*store_check=*/false));
  Process& worker = cluster_.worker();
  URSA_RETURN_IF_ERROR(cluster_.StartWorker());
  for (Target& target = targets_[kWorker]; target.current.has_value();) {
    if (!WaitUntil([&worker] { return !worker.IsRunning(); }, options_.reach_limit)) {
      target.was_killed = true;
      worker.Kill();
    }
    URSA_RETURN_IF_ERROR(CountDeath(kWorker));
    URSA_RETURN_IF_ERROR(cluster_.StartWorker());
  }
  if (targets_[kCoordinator].current.has_value()) return absl::InternalError("the first start passed its points by");
  return cluster_.WaitForWorker();
}

absl::Status Storm::Run(Kills kills) {
  targets_.clear();
  const absl::Time deadline = Now() + options_.time_limit;
  for (auto& [program, list] : kills) {
    Target& target = targets_[program];
    target.kills = std::move(list);
    // The process that runs was started with nothing armed: its death at a random moment makes way for the others.
    if (!target.kills.empty() && program != kTask) target.kills.push_front(Kill());
    URSA_RETURN_IF_ERROR(TakeNext(program));
  }
  const auto is_done = [this] {
    for (const auto& [program, target] : targets_) {
      if (target.current.has_value()) return false;
    }
    return true;
  };
  while (!is_done()) {
    if (Now() >= deadline && totals_.kills.size() >= options_.points_min) {
      for (auto& [program, target] : targets_) {
        target.kills.clear();
        target.due = Now();
      }
    }
    URSA_RETURN_IF_ERROR(LookAtDaemon(kCoordinator));
    URSA_RETURN_IF_ERROR(LookAtDaemon(kWorker));
    if (targets_.count(kTask)) URSA_RETURN_IF_ERROR(LookAtTasks());
    URSA_RETURN_IF_ERROR(workload_.finding());
    LetPass(kPoll);
  }
  return absl::OkStatus();
}

absl::Status Storm::LookAtDaemon(const std::string& program) {
  Process& process = ProcessOf(program);
  Target& target = targets_[program];
  if (!process.IsRunning()) {
    URSA_RETURN_IF_ERROR(CountDeath(program));
    if (program == kWorker) return cluster_.StartWorker();
    return Revive(++num_coordinator_deaths_ % options_.store_check_every == 0);
  }
  if (!target.current.has_value()) return absl::OkStatus();
  if (target.current->action == "fail" && !target.was_killed && HasFired(program, target)) {
    if (WaitUntil([&process] { return !process.IsRunning(); }, kFailureSettles)) return absl::OkStatus();
    ++totals_.failures[target.current->point];  // it was told to somebody, and the process goes on
    target.due = Now();
  }
  if (Now() >= target.due && !target.was_killed) {
    target.was_killed = true;
    process.Kill();
  }
  return absl::OkStatus();
}

// Tasks read what is armed when they start, and are started again by their agent.
absl::Status Storm::LookAtTasks() {
  Target& target = targets_[kTask];
  if (!target.current.has_value()) return absl::OkStatus();
  if (HasFired(kTask, target)) {
    ++totals_.kills[target.current->point];
    return TakeNext(kTask);
  }
  if (Now() < target.due) return absl::OkStatus();
  const std::vector<pid_t> pids = cluster_.TaskPids();
  if (pids.empty() && target.current->point.empty()) {
    target.due = Now() + rng_.Uniform() * options_.random_delay_max;  // nobody is there
    return absl::OkStatus();
  }
  if (!pids.empty() && ::kill(pids[rng_.Below(pids.size())], SIGKILL) == 0) {
    ++totals_.random[kTask];
  }
  PutBack(&target);
  return TakeNext(kTask);
}

absl::Status Storm::CheckStoreOfDead() {
  URSA_ASSIGN_OR_RETURN(const StoreReport report, CheckStore(cluster_.data_folder(), cluster_.folder() + "/store_check",
                                                             expected_audit_(), &read_before_));
  ++totals_.num_store_checks;
  totals_.num_audit_events = report.num_audit_events;
  totals_.num_blobs = report.num_blobs;
  return absl::OkStatus();
}

absl::Status Storm::Revive(bool store_check) {
  workload_.Pause();
  URSA_RETURN_IF_ERROR(workload_.finding());
  if (store_check) URSA_RETURN_IF_ERROR(CheckStoreOfDead());
  while (true) {
    const absl::StatusOr<absl::Duration> took = cluster_.StartCoordinator();
    absl::Status status = took.status();
    if (took.ok()) {
      totals_.restarts.push_back(*took);
      const std::shared_ptr<Api> api = cluster_.api();
      status = workload_.Check(api.get(), options_.check_share, &rng_);
      if (status.ok()) {
        workload_.Run(api);
        return absl::OkStatus();
      }
      if (!absl::IsUnavailable(status)) return status;
      // It may have come to its point meanwhile.
      if (!WaitUntil([this] { return !cluster_.coordinator().IsRunning(); }, kHangLimit)) {
        return absl::InternalError(absl::StrCat("the coordinator runs, but: ", status.ToString()));
      }
    } else if (!absl::IsFailedPrecondition(status)) {
      return status;
    }
    URSA_RETURN_IF_ERROR(CountDeath(kCoordinator));
  }
}

}  // namespace ursa::crash
