// Random clusters: the plan against a small model of Slurm and of the coordinator. Whatever happens, never more jobs
// than allowed nor than is missing, no worker drained that is needed, none ended that has a task; and once the faults
// stop, all that waits gets its slots, and afterwards nothing stays.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "client/slurm/plan.h"

namespace ursa::slurm {
namespace {

constexpr int kNumClusters = 200;
constexpr absl::Duration kStep = absl::Seconds(3);

class Cluster {
 public:
  explicit Cluster(uint64_t seed) : rng_(seed) {
    options_.slots_per_job = 1 + static_cast<int>(rng_.Below(8));
    options_.jobs_max = 1 + static_cast<int>(rng_.Below(6));
    options_.idle = absl::Seconds(10 + static_cast<int64_t>(rng_.Below(120)));
    num_nodes_ = 1 + static_cast<int>(rng_.Below(static_cast<uint64_t>(options_.jobs_max)));
    if (rng_.Below(3) == 0) workers_.push_back({"w1", PoolWorker::State::kAlive, 2, 2, now_});  // not of Slurm
    next_worker_ = 2;
  }

  // Some time with arrivals and faults, then time to settle.
  void Run() {
    for (int i = 0; i < 400; ++i) {
      if (rng_.Below(12) == 0) Arrive();
      if (rng_.Below(60) == 0) memory_ = Memory();  // the controller restarts
      if (rng_.Below(100) == 0) DrainByHand();
      Step(/*faults=*/true);
    }
    for (int i = 0; i < 8000 && !IsAtRest(); ++i) Step(/*faults=*/false);
    EXPECT_TRUE(waiting_.empty()) << waiting_.size() << " gangs wait, the first for " << waiting_[0].slots << " slots";
    EXPECT_EQ(NumLive(), 0);
  }

  int num_submitted() const { return num_submitted_; }

 private:
  struct Gang {
    std::string trial;
    int slots;
    absl::Duration length;
  };
  struct Running {
    absl::Time until;
    std::vector<std::pair<std::string, int>> held;  // worker, slots
  };
  struct SlurmJob {
    Job job;
    absl::Time next;  // when what it does now is over
  };

  int NumLive() const {
    return static_cast<int>(
        std::count_if(jobs_.begin(), jobs_.end(), [](const SlurmJob& j) { return j.job.state != Job::State::kEnded; }));
  }
  bool IsAtRest() const { return waiting_.empty() && running_.empty() && NumLive() == 0; }
  PoolWorker* FindWorker(const std::string& id) {
    const auto it = std::find_if(workers_.begin(), workers_.end(), [&id](const PoolWorker& w) { return w.id == id; });
    return it == workers_.end() ? nullptr : &*it;
  }
  SlurmJob& FindJob(int64_t id) {
    return *std::find_if(jobs_.begin(), jobs_.end(), [id](const SlurmJob& j) { return j.job.id == id; });
  }

  void Arrive() {
    const auto most = static_cast<uint64_t>(num_nodes_ * options_.slots_per_job);  // more would never start
    waiting_.push_back({absl::StrCat("t", ++num_trials_, ".1"), 1 + static_cast<int>(rng_.Below(most)),
                        absl::Seconds(5 + static_cast<int64_t>(rng_.Below(300)))});
  }

  // Somebody drains a worker that may have tasks.
  void DrainByHand() {
    if (jobs_.empty()) return;
    PoolWorker* const worker = FindWorker(jobs_[rng_.Below(jobs_.size())].job.worker);
    if (worker != nullptr) worker->state = PoolWorker::State::kDrained;
  }

  // Free, or of jobs whose worker will come.
  int NumSlotsThere() const {
    int num = 0;
    for (const PoolWorker& worker : workers_) num += worker.state == PoolWorker::State::kAlive ? worker.free : 0;
    for (const SlurmJob& job : jobs_) {
      const bool is_coming = job.job.state == Job::State::kPending || job.job.state == Job::State::kRunning;
      num += is_coming && job.job.worker.empty() ? job.job.slots : 0;
    }
    return num;
  }

  void Step(bool faults) {
    now_ += kStep;
    AdvanceSlurm(faults);
    EndTasks();
    Schedule();
    View view;
    for (const Gang& gang : waiting_) view.waiting.push_back({gang.trial, gang.slots, "needs slots"});
    view.workers = workers_;
    for (const SlurmJob& job : jobs_) view.jobs.push_back(job.job);
    const Decision decision = Plan(options_, view, memory_, now_);
    memory_ = decision.memory;
    for (const Action& action : decision.actions) Do(action, faults);
    ASSERT_LE(NumLive(), options_.jobs_max);
  }

  void AdvanceSlurm(bool faults) {
    int num_placed = static_cast<int>(std::count_if(jobs_.begin(), jobs_.end(), [](const SlurmJob& j) {
      return j.job.state == Job::State::kRunning || j.job.state == Job::State::kEnding;
    }));
    for (SlurmJob& job : jobs_) {
      Job::State& state = job.job.state;
      if (state == Job::State::kPending && num_placed < num_nodes_) {
        ++num_placed;
        state = Job::State::kRunning;
        job.next = now_ + absl::Seconds(2 + static_cast<int64_t>(rng_.Below(10)));
      } else if (state == Job::State::kRunning && faults && rng_.Below(300) == 0) {
        Lose(&job);  // the node dies, with what runs there
        job.job.failed = true;
        state = Job::State::kEnded;
      } else if (state == Job::State::kRunning && job.job.worker.empty() && now_ >= job.next) {
        job.job.worker = absl::StrCat("w", next_worker_++);
        workers_.push_back(
            {job.job.worker, PoolWorker::State::kAlive, options_.slots_per_job, options_.slots_per_job, now_});
      } else if (state == Job::State::kEnding && now_ >= job.next) {
        state = Job::State::kEnded;
      }
    }
    // Slurm forgets what has ended.
    jobs_.erase(std::remove_if(jobs_.begin(), jobs_.end(),
                               [this](const SlurmJob& j) {
                                 return j.job.state == Job::State::kEnded && now_ - j.next > absl::Minutes(5);
                               }),
                jobs_.end());
  }

  // Its worker goes; gangs that it took part in wait again.
  void Lose(SlurmJob* job) {
    job->next = now_;
    const std::string worker = job->job.worker;
    std::vector<Running> left;
    for (Running& gang : running_) {
      const bool is_hit =
          std::any_of(gang.held.begin(), gang.held.end(), [&worker](const auto& part) { return part.first == worker; });
      if (!is_hit) {
        left.push_back(gang);
        continue;
      }
      int slots = 0;
      for (const auto& [id, num] : gang.held) slots += num, FindWorker(id)->free += num;
      waiting_.push_back({absl::StrCat("t", ++num_trials_, ".1"), slots, gang.until - now_});
    }
    running_ = std::move(left);
    workers_.erase(
        std::remove_if(workers_.begin(), workers_.end(), [&worker](const PoolWorker& w) { return w.id == worker; }),
        workers_.end());
  }

  void EndTasks() {
    for (Running& gang : running_) {
      if (gang.until > now_) continue;
      for (const auto& [id, num] : gang.held) FindWorker(id)->free += num;
      gang.held.clear();
    }
    running_.erase(std::remove_if(running_.begin(), running_.end(), [](const Running& g) { return g.held.empty(); }),
                   running_.end());
  }

  // In order, all or nothing; who does not fit keeps those behind it from starting.
  void Schedule() {
    while (!waiting_.empty()) {
      int free = 0;
      for (const PoolWorker& worker : workers_) free += worker.state == PoolWorker::State::kAlive ? worker.free : 0;
      int missing = waiting_.front().slots;
      if (free < missing) return;
      Running gang{now_ + waiting_.front().length, {}};
      for (PoolWorker& worker : workers_) {
        const int num = worker.state == PoolWorker::State::kAlive ? std::min(worker.free, missing) : 0;
        if (num == 0) continue;
        worker.free -= num;
        missing -= num;
        gang.held.push_back({worker.id, num});
      }
      running_.push_back(gang);
      waiting_.erase(waiting_.begin());
    }
  }

  void Do(const Action& action, bool faults) {
    if (action.kind == Action::Kind::kSubmit) {
      ++num_submitted_;
      ASSERT_LT(NumLive(), options_.jobs_max);
      int num_wanted = 0;
      for (const Gang& gang : waiting_) num_wanted += gang.slots;
      ASSERT_LT(NumSlotsThere(), num_wanted);  // not one too many
      SlurmJob job;
      job.job.id = ++num_jobs_;
      job.job.slots = options_.slots_per_job;
      job.next = now_;
      if (faults && rng_.Below(10) == 0) job.job.state = Job::State::kEnded, job.job.failed = true;
      jobs_.push_back(job);
      return;
    }
    SlurmJob& job = FindJob(action.job);
    PoolWorker* const worker = FindWorker(job.job.worker);
    ASSERT_TRUE(worker == nullptr || action.kind == Action::Kind::kDrain || worker->free == worker->slots)
        << action.why;
    switch (action.kind) {
      case Action::Kind::kSubmit:
        return;
      case Action::Kind::kCancel:
        ASSERT_EQ(job.job.state, Job::State::kPending);
        job.job.state = Job::State::kEnded;
        job.next = now_;
        return;
      case Action::Kind::kDrain:
        ASSERT_EQ(worker->free, worker->slots);
        worker->state = PoolWorker::State::kDrained;
        if (!waiting_.empty()) {
          ASSERT_GE(NumSlotsThere(), waiting_.front().slots);
        }
        return;
      case Action::Kind::kAskToEnd:
        if (rng_.Below(10) == 0) return;  // it does not listen
        [[fallthrough]];
      case Action::Kind::kKill:
        ASSERT_EQ(job.job.state, Job::State::kRunning);
        Lose(&job);
        job.job.state = Job::State::kEnding;
        job.next = now_ + absl::Seconds(static_cast<int64_t>(rng_.Below(10)));
        return;
    }
  }

  SeededRng rng_;
  PlanOptions options_;
  int num_nodes_ = 1;  // of Slurm: jobs that can run at a time
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  Memory memory_;
  std::vector<Gang> waiting_;
  std::vector<Running> running_;
  std::vector<PoolWorker> workers_;
  std::vector<SlurmJob> jobs_;
  int next_worker_ = 1;
  int num_trials_ = 0;
  int num_submitted_ = 0;
  int64_t num_jobs_ = 0;
};

TEST(PlanPropertyTest, RandomClustersAreServedAndGivenBack) {
  int num_submitted = 0;
  for (uint64_t seed = 1; seed <= kNumClusters; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed=", seed));
    Cluster cluster(seed);
    cluster.Run();
    num_submitted += cluster.num_submitted();
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_GT(num_submitted, kNumClusters);
}

// One gang a minute of which each takes 10 s: with an idle time of five minutes the same worker runs them all.
TEST(PlanPropertyTest, DoesNotFlap) {
  PlanOptions options;
  options.jobs_max = 4;
  Memory memory;
  View view;
  view.workers.push_back({"w1", PoolWorker::State::kAlive, 1, 1, absl::UnixEpoch()});
  view.jobs.push_back({1, Job::State::kRunning, false, 1, "w1", "None"});
  absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  for (int second = 0; second < 7200; second += 3, now += kStep) {
    view.workers[0].free = second % 60 < 12 ? 0 : 1;
    view.waiting.clear();
    if (second % 60 == 0) view.waiting.push_back({absl::StrCat("t", second, ".1"), 1, "starts next"});
    const Decision decision = Plan(options, view, memory, now);
    memory = decision.memory;
    ASSERT_TRUE(decision.actions.empty()) << second << " s: " << decision.actions[0].why;
  }
}

}  // namespace
}  // namespace ursa::slurm
