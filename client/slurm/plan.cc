#include "client/slurm/plan.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ursa::slurm {
namespace {

std::string Slots(int num) { return absl::StrCat(num, num == 1 ? " slot" : " slots"); }

// One decision. The steps of Plan() are its methods, in their order.
class Planner {
 public:
  Planner(const PlanOptions& options, const View& view, const Memory& memory, absl::Time now)
      : options_(options), view_(view), now_(now) {
    for (const PoolWorker& worker : view_.workers) workers_[worker.id] = &worker;
    decision_.memory = memory;
  }

  Decision Decide() {
    ForgetWhatIsGone();
    for (const Job& job : view_.jobs) LookAt(job);
    memory().has_seen_jobs = true;
    CountSlots();
    CountDemand();
    for (const Job& job : view_.jobs) {
      if (job.state == Job::State::kRunning) EndIfDone(job);
    }
    CancelPending();
    DrainIdle();
    Submit();
    return std::move(decision_);
  }

 private:
  Memory& memory() { return decision_.memory; }
  Memory::JobPast& PastOf(const Job& job) { return memory().jobs[job.id]; }

  // Null: it has none yet, or the coordinator does not know it (any more).
  const PoolWorker* WorkerOf(const Job& job) const {
    const auto it = workers_.find(job.worker);
    return it == workers_.end() ? nullptr : it->second;
  }

  void Act(Action::Kind kind, const Job& job, std::string why) {
    decision_.actions.push_back({kind, job.id, kind == Action::Kind::kDrain ? job.worker : "", std::move(why)});
  }

  void ForgetWhatIsGone() {
    std::set<int64_t> known;
    for (const Job& job : view_.jobs) known.insert(job.id);
    std::set<std::string> waiting;
    for (const WaitingGang& gang : view_.waiting) waiting.insert(gang.trial);
    for (auto it = memory().jobs.begin(); it != memory().jobs.end();) {
      it = known.count(it->first) > 0 ? std::next(it) : memory().jobs.erase(it);
    }
    for (auto it = memory().ended.begin(); it != memory().ended.end();) {
      it = known.count(*it) > 0 ? std::next(it) : memory().ended.erase(it);
    }
    for (auto it = memory().gangs.begin(); it != memory().gangs.end();) {
      it = waiting.count(it->first) > 0 ? std::next(it) : memory().gangs.erase(it);
    }
  }

  // Brings the clocks of a job up to date, and learns from its end.
  void LookAt(const Job& job) {
    if (job.state == Job::State::kEnded) return LearnFromEnd(job);
    ++decision_.num_live_jobs;
    if (job.state != Job::State::kRunning) return;
    Memory::JobPast& past = PastOf(job);
    if (!past.running_since) past.running_since = now_;
    const PoolWorker* worker = WorkerOf(job);
    const bool is_alive = worker != nullptr && worker->state == PoolWorker::State::kAlive;
    if (is_alive && !past.alive_since) past.alive_since = now_;
    if (!is_alive || worker->free < worker->slots) {
      past.idle_since.reset();
    } else if (!past.idle_since) {
      past.idle_since = now_;
    }
    if (past.steady || !is_alive || now_ - *past.alive_since < options_.steady_after) return;
    past.steady = true;
    memory().failures = 0;
  }

  void LearnFromEnd(const Job& job) {
    if (!memory().ended.insert(job.id).second) return;
    const auto past = memory().jobs.find(job.id);
    const bool was_known = past != memory().jobs.end();
    const bool was_ended_by_us = was_known && (past->second.asked || past->second.killed);
    const bool was_steady = was_known && past->second.steady;
    memory().jobs.erase(job.id);
    // What ended before this process looked for the first time is history.
    if (!job.failed || was_ended_by_us || was_steady || !memory().has_seen_jobs) return;
    NoteFailedStart(options_, absl::StrCat("job ", job.id, ": ", job.detail), now_, &memory());
  }

  void CountSlots() {
    std::set<std::string> ours;
    for (const Job& job : view_.jobs) {
      if (IsComing(job)) decision_.slots_coming += job.slots;
      ours.insert(job.worker);
    }
    slots_max_ = options_.jobs_max * options_.slots_per_job;
    for (const PoolWorker& worker : view_.workers) {
      used_ += worker.slots - worker.free;
      if (worker.state != PoolWorker::State::kAlive) continue;
      decision_.slots_free += worker.free;
      if (ours.count(worker.id) == 0) slots_max_ += worker.slots;
    }
  }

  // It pends, or its worker has not yet been seen.
  bool IsComing(const Job& job) {
    if (job.state == Job::State::kPending) return true;
    return job.state == Job::State::kRunning && WorkerOf(job) == nullptr && !PastOf(job).asked && !PastOf(job).killed;
  }

  void CountDemand() {
    for (const WaitingGang& gang : view_.waiting) {
      if (CanBeHelped(gang)) decision_.slots_wanted += gang.slots;
    }
    spare_ = decision_.slots_free + decision_.slots_coming - decision_.slots_wanted;
    const auto keep = [this](bool holds, std::optional<absl::Time>* since) {
      if (!holds) since->reset();
      if (holds && !*since) *since = now_;
    };
    keep(spare_ < 0, &memory().missing_since);
    keep(spare_ >= options_.slots_per_job, &memory().surplus_since);
  }

  bool CanBeHelped(const WaitingGang& gang) {
    if (gang.slots > slots_max_) {
      decision_.notes.push_back(absl::StrCat(gang.trial, ": needs ", Slots(gang.slots), ", the pool can have ",
                                             slots_max_, " (", options_.jobs_max, " jobs of ", options_.slots_per_job,
                                             ", and workers that Slurm did not start)"));
      return false;
    }
    Memory::GangPast& past = memory().gangs[gang.trial];
    if (past.set_aside) {
      if (now_ - *past.set_aside < past.retry && used_ >= past.used_then) {
        decision_.notes.push_back(
            absl::StrCat(gang.trial, ": does not wait for slots, no job is started for it: ", gang.reason));
        return false;
      }
      past.set_aside.reset();
      past.fits_since.reset();
    }
    // Behind gangs that take all that is free it may well wait for slots.
    if (decision_.slots_wanted + gang.slots > decision_.slots_free) {
      past.fits_since.reset();
      return true;
    }
    if (!past.fits_since) past.fits_since = now_;
    if (now_ - *past.fits_since < options_.idle) return true;
    past.set_aside = now_;
    past.retry =
        past.retry == absl::ZeroDuration() ? options_.unmet_retry : std::min(past.retry * 2, options_.unmet_retry_max);
    past.used_then = used_;
    return false;
  }

  // A running job: without a worker for too long, or with one that is empty and gets no more tasks.
  void EndIfDone(const Job& job) {
    Memory::JobPast& past = PastOf(job);
    if (past.killed && now_ - *past.killed < options_.end_grace) return;
    const PoolWorker* worker = WorkerOf(job);
    if (past.asked) {
      if (now_ - *past.asked < options_.end_grace) return;
      Kill(job, absl::StrCat("did not end within ", absl::FormatDuration(options_.end_grace)));
    } else if (worker == nullptr) {
      if (now_ - *past.running_since < options_.start_timeout) return;
      const std::string why =
          absl::StrCat("its worker is not in the cluster after ", absl::FormatDuration(options_.start_timeout));
      if (!past.killed) NoteFailedStart(options_, absl::StrCat("job ", job.id, ": ", why), now_, &memory());
      Kill(job, why);
    } else if (worker->state == PoolWorker::State::kLost) {
      if (now_ - worker->last_seen < options_.lost_timeout) return;
      Kill(job, absl::StrCat(worker->id, " is lost for more than ", absl::FormatDuration(options_.lost_timeout)));
    } else if (worker->state != PoolWorker::State::kAlive && worker->free == worker->slots) {
      past.asked = now_;
      Act(Action::Kind::kAskToEnd, job,
          absl::StrCat(worker->id, worker->state == PoolWorker::State::kDrained ? " is drained" : " is set aside",
                       " and has no task"));
    }
  }

  // Again after a while, if it is still there: scancel may have failed.
  void Kill(const Job& job, std::string why) {
    PastOf(job).killed = now_;
    Act(Action::Kind::kKill, job, std::move(why));
  }

  // Those that pend beyond the demand, or beyond jobs_max after a restart with a lower one; the newest first.
  void CancelPending() {
    std::vector<const Job*> pending;
    for (const Job& job : view_.jobs) {
      if (job.state == Job::State::kPending) pending.push_back(&job);
    }
    std::sort(pending.begin(), pending.end(), [](const Job* a, const Job* b) { return a->id > b->id; });
    const bool has_surplus = memory().surplus_since && now_ - *memory().surplus_since >= options_.cancel_after;
    for (const Job* job : pending) {
      const bool is_too_many = decision_.num_live_jobs > options_.jobs_max;
      if (!is_too_many && !(has_surplus && spare_ >= job->slots)) {
        decision_.notes.push_back(absl::StrCat("job ", job->id, ": pends in Slurm: ", job->detail));
        continue;
      }
      Act(Action::Kind::kCancel, *job,
          is_too_many ? absl::StrCat(decision_.num_live_jobs, " jobs are more than the ", options_.jobs_max, " allowed")
                      : "nothing waits for its slots any more");
      spare_ -= job->slots;
      --decision_.num_live_jobs;
    }
  }

  void DrainIdle() {
    std::vector<const Job*> idle;
    for (const Job& job : view_.jobs) {
      if (job.state != Job::State::kRunning) continue;
      const Memory::JobPast& past = PastOf(job);
      if (past.idle_since && now_ - *past.idle_since >= options_.idle) idle.push_back(&job);
    }
    std::sort(idle.begin(), idle.end(), [this](const Job* a, const Job* b) {
      return std::make_pair(*PastOf(*a).idle_since, a->id) < std::make_pair(*PastOf(*b).idle_since, b->id);
    });
    for (const Job* job : idle) {
      const int slots = WorkerOf(*job)->slots;
      if (spare_ < slots) continue;
      spare_ -= slots;
      Act(Action::Kind::kDrain, *job,
          absl::StrCat("no task for ",
                       absl::FormatDuration(absl::Trunc(now_ - *PastOf(*job).idle_since, absl::Seconds(1)))));
    }
  }

  void Submit() {
    if (spare_ >= 0 || !memory().missing_since || now_ - *memory().missing_since < options_.submit_after) return;
    if (now_ < memory().submit_not_before) {
      decision_.notes.push_back(absl::StrCat(
          "no new job before ", absl::FormatTime("%H:%M:%S", memory().submit_not_before, absl::LocalTimeZone()), ": ",
          memory().failures, " starts in a row failed, the last: ", memory().last_failure));
      return;
    }
    const int missing = -spare_;
    const int num_wanted = (missing + options_.slots_per_job - 1) / options_.slots_per_job;
    const int num_jobs = std::min(num_wanted, std::max(0, options_.jobs_max - decision_.num_live_jobs));
    for (int i = 0; i < num_jobs; ++i) {
      decision_.actions.push_back({Action::Kind::kSubmit, 0, "",
                                   absl::StrCat(Slots(decision_.slots_wanted), " wanted, ", decision_.slots_free,
                                                " free, ", decision_.slots_coming, " coming")});
    }
    if (num_jobs < num_wanted) {
      decision_.notes.push_back(absl::StrCat(Slots(missing), " missing, ", decision_.num_live_jobs + num_jobs, " of ",
                                             options_.jobs_max, " jobs are there (--jobs-max)"));
    }
  }

  const PlanOptions& options_;
  const View& view_;
  const absl::Time now_;
  std::map<std::string, const PoolWorker*> workers_;
  Decision decision_;
  int slots_max_ = 0;  // that the pool can have
  int used_ = 0;       // slots of the pool that have a task
  int spare_ = 0;      // free or coming, and wanted by nobody; negative: missing
};

absl::Status CheckRange(const char* name, int value, int low, int high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ": is ", value, ", may be ", low, " to ", high));
}

}  // namespace

absl::Status PlanOptions::Validate() const {
  for (const absl::Status& status : {CheckRange("slots of a job", slots_per_job, 1, kSlotsPerJobMax),
                                     CheckRange("jobs at a time", jobs_max, 0, kJobsMax),
                                     CheckRange("failed starts without a wait", failures_free, 1, 1000)}) {
    if (!status.ok()) return status;
  }
  for (const absl::Duration duration :
       {idle, start_timeout, lost_timeout, end_grace, backoff_initial, backoff_max, unmet_retry, unmet_retry_max}) {
    if (duration <= absl::ZeroDuration())
      return absl::InvalidArgumentError(
          absl::StrCat("time limits of the plan: one is ", absl::FormatDuration(duration), ", must be above 0"));
  }
  return absl::OkStatus();
}

Decision Plan(const PlanOptions& options, const View& view, const Memory& memory, absl::Time now) {
  return Planner(options, view, memory, now).Decide();
}

void NoteFailedStart(const PlanOptions& options, const std::string& why, absl::Time now, Memory* memory) {
  ++memory->failures;
  memory->last_failure = why;
  if (memory->failures < options.failures_free) return;
  absl::Duration wait = options.backoff_initial;
  for (int i = options.failures_free; i < memory->failures && wait < options.backoff_max; ++i) wait *= 2;
  memory->submit_not_before = now + std::min(wait, options.backoff_max);
}

}  // namespace ursa::slurm
