#include "client/slurm/plan.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ursa::slurm {
namespace {

using Kind = Action::Kind;
using WorkerState = PoolWorker::State;
using JobState = Job::State;

// One decision after the other, with the clock moved by hand.
class PlanTest : public ::testing::Test {
 protected:
  PlanTest() {
    options_.slots_per_job = 4;
    options_.jobs_max = 3;
    options_.idle = absl::Minutes(5);
  }

  // What is to be done, "submit", "drain 7", "cancel 8", in order.
  std::string Decide(absl::Duration later = absl::ZeroDuration()) {
    now_ += later;
    for (PoolWorker& worker : view_.workers) {
      if (worker.state != WorkerState::kLost) worker.last_seen = now_;
    }
    decision_ = Plan(options_, view_, memory_, now_);
    memory_ = decision_.memory;
    std::vector<std::string> words;
    for (const Action& action : decision_.actions) {
      EXPECT_FALSE(action.why.empty());
      const char* const verbs[] = {"submit", "cancel", "drain", "end", "kill"};
      words.push_back(verbs[static_cast<int>(action.kind)]);
      if (action.kind != Kind::kSubmit) absl::StrAppend(&words.back(), " ", action.job);
    }
    return absl::StrJoin(words, ", ");
  }
  // Two looks, so that what holds for a while does.
  std::string DecideTwice() {
    EXPECT_EQ(Decide(), "");
    return Decide(options_.submit_after);
  }

  void Wait(const std::string& trial, int slots, const std::string& reason = "needs slots") {
    view_.waiting.push_back({trial, slots, reason});
  }
  void AddJob(int64_t id, JobState state, const std::string& worker = "") {
    view_.jobs.push_back({id, state, false, options_.slots_per_job, worker, "Resources"});
  }
  void AddWorker(const std::string& id, int free, WorkerState state = WorkerState::kAlive) {
    view_.workers.push_back({id, state, options_.slots_per_job, free, now_});
  }
  std::string Notes() { return absl::StrJoin(decision_.notes, "\n"); }

  PlanOptions options_;
  View view_;
  Memory memory_;
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  Decision decision_;
};

TEST_F(PlanTest, DoesNothingForNothing) {
  EXPECT_EQ(Decide(), "");
  EXPECT_EQ(Decide(absl::Hours(1)), "");
  EXPECT_TRUE(decision_.notes.empty());
}

TEST_F(PlanTest, AGangOfEightAsksForTwoJobsOfFour) {
  Wait("t1.1", 8);
  EXPECT_EQ(DecideTwice(), "submit, submit");
  EXPECT_EQ(decision_.actions[0].why, "8 slots wanted, 0 free, 0 coming");
}

TEST_F(PlanTest, CountsWhatIsFreeAndWhatIsComing) {
  struct Case {
    std::string what;
    int wanted;
    int free;          // of a worker that Slurm did not start
    int num_pending;   // jobs
    int num_starting;  // jobs
    std::string expected;
  };
  const std::vector<Case> cases = {
      {"one slot", 1, 0, 0, 0, "submit"},        {"five slots", 5, 0, 0, 0, "submit, submit"},
      {"free slots suffice", 4, 4, 0, 0, ""},    {"some are free", 5, 4, 0, 0, "submit"},
      {"a job pends", 4, 0, 1, 0, ""},           {"a job starts", 4, 0, 0, 1, ""},
      {"more than those", 9, 0, 1, 1, "submit"}, {"no more than three jobs", 12, 4, 2, 1, ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    view_ = View();
    memory_ = Memory();
    Wait("t1.1", c.wanted);
    if (c.free > 0) AddWorker("w9", c.free);
    for (int i = 0; i < c.num_pending; ++i) AddJob(10 + i, JobState::kPending);
    for (int i = 0; i < c.num_starting; ++i) AddJob(20 + i, JobState::kRunning);
    EXPECT_EQ(DecideTwice(), c.expected);
  }
}

TEST_F(PlanTest, NeverMoreThanAllowed) {
  for (int i = 0; i < 9; ++i) Wait(absl::StrCat("t", i, ".1"), 4);
  EXPECT_EQ(DecideTwice(), "submit, submit, submit");
  EXPECT_TRUE(absl::StrContains(Notes(), "36 slots missing, 3 of 3 jobs are there")) << Notes();
  AddJob(1, JobState::kRunning, "w1");
  AddJob(2, JobState::kEnding, "w2");
  AddWorker("w1", 0);
  AddWorker("w2", 0, WorkerState::kDrained);
  EXPECT_EQ(Decide(), "submit");
}

TEST_F(PlanTest, AMomentsNeedStartsNothing) {
  Wait("t1.1", 4);
  EXPECT_EQ(Decide(), "");
  view_.waiting.clear();
  EXPECT_EQ(Decide(absl::Seconds(3)), "");
  Wait("t1.2", 4);
  EXPECT_EQ(Decide(absl::Seconds(3)), "");
  EXPECT_EQ(Decide(absl::Seconds(3)), "submit");
}

TEST_F(PlanTest, WhatThePoolCannotHoldIsSaidAndNotCounted) {
  Wait("t1.1", 13);
  EXPECT_EQ(DecideTwice(), "");
  EXPECT_EQ(Notes(), "t1.1: needs 13 slots, the pool can have 12 (3 jobs of 4, and workers that Slurm did not start)");
  AddWorker("w9", 4);  // not of Slurm
  EXPECT_EQ(DecideTwice(), "submit, submit, submit");
}

TEST_F(PlanTest, AnIdleWorkerIsDrainedAndThenAskedToEnd) {
  AddJob(7, JobState::kRunning, "w1");
  AddWorker("w1", 4);
  EXPECT_EQ(Decide(), "");
  EXPECT_EQ(Decide(absl::Minutes(4)), "");
  EXPECT_EQ(Decide(absl::Minutes(1)), "drain 7");
  EXPECT_EQ(decision_.actions[0].worker, "w1");
  view_.workers[0].state = WorkerState::kDrained;
  view_.workers[0].free = 3;  // a task came first
  EXPECT_EQ(Decide(absl::Seconds(3)), "");
  EXPECT_EQ(Decide(absl::Hours(1)), "");
  view_.workers[0].free = 4;
  EXPECT_EQ(Decide(absl::Seconds(3)), "end 7");
  EXPECT_EQ(Decide(absl::Seconds(3)), "");
  EXPECT_EQ(Decide(options_.end_grace), "kill 7");
  EXPECT_EQ(Decide(absl::Seconds(3)), "");
  view_.jobs[0].state = JobState::kEnded;
  view_.jobs[0].failed = true;  // as it is when it was killed
  EXPECT_EQ(Decide(absl::Seconds(3)), "");
  EXPECT_EQ(memory_.failures, 0);
}

TEST_F(PlanTest, AWorkerWithATaskIsLeftAlone) {
  AddJob(7, JobState::kRunning, "w1");
  AddWorker("w1", 3);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Decide(absl::Hours(1)), "");
  view_.workers[0].free = 4;
  EXPECT_EQ(Decide(absl::Seconds(3)), "");
  view_.workers[0].free = 2;  // the clock starts anew
  EXPECT_EQ(Decide(absl::Minutes(4)), "");
  view_.workers[0].free = 4;
  EXPECT_EQ(Decide(absl::Minutes(4)), "");
  EXPECT_EQ(Decide(absl::Minutes(5)), "drain 7");
}

TEST_F(PlanTest, WhatIsStillNeededIsNotDrained) {
  AddJob(7, JobState::kRunning, "w1");
  AddJob(8, JobState::kRunning, "w2");
  AddWorker("w1", 4);
  AddWorker("w2", 4);
  EXPECT_EQ(Decide(), "");
  Wait("t1.1", 12);  // the third job pends
  AddJob(9, JobState::kPending);
  EXPECT_EQ(Decide(absl::Hours(1)), "");
  view_.waiting[0].slots = 4;  // one worker is too many, and so is what pends
  EXPECT_EQ(Decide(absl::Seconds(3)), "drain 7, drain 8");
}

TEST_F(PlanTest, WhatPendsForNothingIsCancelledFirst) {
  AddJob(7, JobState::kRunning, "w1");
  AddWorker("w1", 0);
  AddJob(8, JobState::kPending);
  AddJob(9, JobState::kPending);
  Wait("t1.1", 4);
  EXPECT_EQ(Decide(), "");
  EXPECT_EQ(Decide(absl::Seconds(29)), "");
  EXPECT_EQ(Decide(absl::Seconds(1)), "cancel 9");
  EXPECT_EQ(Notes(), "job 8: pends in Slurm: Resources");
}

TEST_F(PlanTest, FewerJobsAreAllowedAfterARestart) {
  options_.jobs_max = 1;
  for (const int64_t id : {7, 8, 9}) AddJob(id, JobState::kPending);
  Wait("t1.1", 4);
  EXPECT_EQ(Decide(), "cancel 9, cancel 8");
}

TEST_F(PlanTest, AfterItsOwnRestartItTakesItsJobsOver) {
  AddJob(7, JobState::kRunning, "w1");
  AddJob(8, JobState::kRunning, "w2");
  AddWorker("w1", 4, WorkerState::kDrained);  // by the earlier process
  AddWorker("w2", 4);
  view_.jobs.push_back({5, JobState::kEnded, true, 4, "", "FAILED"});  // history
  EXPECT_EQ(Decide(), "end 7");
  EXPECT_EQ(memory_.failures, 0);
  EXPECT_EQ(Decide(absl::Minutes(2)), "");
  view_.jobs.erase(view_.jobs.begin());
  EXPECT_EQ(Decide(absl::Minutes(3)), "drain 8");
}

TEST_F(PlanTest, AJobWithoutAWorkerIsKilledAfterAWhile) {
  AddJob(7, JobState::kRunning);
  EXPECT_EQ(Decide(), "");
  EXPECT_EQ(Decide(absl::Minutes(4)), "");
  EXPECT_EQ(Decide(absl::Minutes(1)), "kill 7");
  EXPECT_EQ(memory_.failures, 1);
  EXPECT_EQ(Decide(absl::Minutes(1)), "");
  EXPECT_EQ(Decide(options_.end_grace), "kill 7");  // scancel may have failed
  EXPECT_EQ(memory_.failures, 1);
}

TEST_F(PlanTest, AJobWhoseWorkerIsLostIsKilledAfterAWhile) {
  AddJob(7, JobState::kRunning, "w1");
  AddWorker("w1", 2);
  EXPECT_EQ(Decide(), "");
  view_.workers[0].state = WorkerState::kLost;
  view_.workers[0].free = 4;
  EXPECT_EQ(Decide(absl::Minutes(4)), "");
  EXPECT_EQ(Decide(absl::Minutes(1)), "kill 7");
}

TEST_F(PlanTest, AWorkerThatIsSetAsideIsGivenBackWhenItIsEmpty) {
  AddJob(7, JobState::kRunning, "w1");
  AddWorker("w1", 3, WorkerState::kSetAside);
  EXPECT_EQ(Decide(), "");
  view_.workers[0].free = 4;
  EXPECT_EQ(Decide(absl::Seconds(3)), "end 7");
}

TEST_F(PlanTest, StartsThatFailInARowMakeItWait) {
  Wait("t1.1", 4);
  ASSERT_EQ(DecideTwice(), "submit");
  for (int64_t id = 1; id <= 2; ++id) {
    view_.jobs.push_back({id, JobState::kEnded, true, 4, "", "FAILED, NonZeroExitCode, exit code 1"});
    EXPECT_EQ(Decide(absl::Seconds(1)), "submit");
  }
  view_.jobs.push_back({3, JobState::kEnded, true, 4, "", "FAILED, NonZeroExitCode, exit code 1"});
  EXPECT_EQ(Decide(absl::Seconds(1)), "");
  EXPECT_TRUE(
      absl::StrContains(Notes(), "3 starts in a row failed, the last: job 3: FAILED, NonZeroExitCode, exit code 1"))
      << Notes();
  EXPECT_EQ(Decide(absl::Seconds(29)), "");
  EXPECT_EQ(Decide(absl::Seconds(1)), "submit");
  NoteFailedStart(options_, "sbatch: no", now_, &memory_);
  EXPECT_EQ(Decide(absl::Seconds(59)), "");
  EXPECT_EQ(Decide(absl::Seconds(1)), "submit");
  for (int i = 0; i < 40; ++i) NoteFailedStart(options_, "sbatch: no", now_, &memory_);
  EXPECT_EQ(memory_.submit_not_before, now_ + options_.backoff_max);
}

TEST_F(PlanTest, OnlyAStartThatWentWellEndsTheRow) {
  memory_.failures = 5;
  AddJob(7, JobState::kRunning, "w1");
  AddWorker("w1", 0);
  EXPECT_EQ(Decide(), "");
  EXPECT_EQ(Decide(absl::Seconds(59)), "");
  EXPECT_EQ(memory_.failures, 5);
  EXPECT_EQ(Decide(absl::Seconds(1)), "");
  EXPECT_EQ(memory_.failures, 0);
  // That it goes on well says nothing about other starts.
  memory_.failures = 2;
  EXPECT_EQ(Decide(absl::Hours(1)), "");
  EXPECT_EQ(memory_.failures, 2);
  // And its own end later is no failed start.
  view_.jobs[0] = {7, JobState::kEnded, true, 4, "w1", "NODE_FAIL"};
  EXPECT_EQ(Decide(absl::Hours(1)), "");
  EXPECT_EQ(memory_.failures, 2);
}

TEST_F(PlanTest, AGangThatDoesNotWaitForSlotsIsNotCounted) {
  Wait("t1.1", 4, "user ann uses 4 of at most 4 slots in pool gpu");
  AddJob(7, JobState::kRunning, "w1");
  AddJob(8, JobState::kRunning, "w2");
  AddWorker("w1", 0);
  AddWorker("w2", 4);
  EXPECT_EQ(Decide(), "");
  EXPECT_EQ(Decide(absl::Minutes(5)), "drain 8");
  view_.jobs.pop_back();
  view_.workers.pop_back();
  // Nothing is started for it again and again.
  EXPECT_EQ(Decide(absl::Minutes(1)), "");
  EXPECT_EQ(Decide(absl::Minutes(1)), "");
  EXPECT_EQ(Notes(),
            "t1.1: does not wait for slots, no job is started for it: user ann uses 4 of at most 4 slots in pool gpu");
  // Until what the user has elsewhere has ended.
  view_.workers[0].free = 4;
  view_.waiting[0].slots = 8;
  EXPECT_EQ(DecideTwice(), "submit");
}

TEST_F(PlanTest, WhoWaitsBehindALargerGangWaitsForSlots) {
  AddJob(7, JobState::kRunning, "w1");
  AddJob(8, JobState::kRunning, "w2");
  AddWorker("w1", 4);
  AddWorker("w2", 0);
  Wait("t1.1", 8, "needs 8 slots, 4 free in pool gpu; e9 runs there");
  Wait("t2.1", 4, "needs 4 slots, 4 free in pool gpu but kept for e1");
  EXPECT_EQ(DecideTwice(), "submit");  // the third
  AddJob(9, JobState::kPending);
  EXPECT_EQ(Decide(absl::Hours(1)), "");
  EXPECT_EQ(decision_.slots_wanted, 12);
}

TEST_F(PlanTest, ItIsCountedAgainAfterAWhile) {
  Wait("t1.1", 4, "starts next");
  AddJob(7, JobState::kRunning, "w1");
  AddWorker("w1", 4);
  EXPECT_EQ(Decide(), "");
  EXPECT_EQ(Decide(absl::Minutes(5)), "drain 7");
  view_.jobs.clear();
  view_.workers.clear();
  EXPECT_EQ(Decide(absl::Minutes(29)), "");
  EXPECT_EQ(Decide(absl::Minutes(1)), "");
  EXPECT_EQ(Decide(absl::Seconds(3)), "submit");
}

TEST(PlanOptionsTest, LimitsAreChecked) {
  PlanOptions options;
  EXPECT_TRUE(options.Validate().ok());
  options.slots_per_job = 0;
  EXPECT_EQ(options.Validate().message(), "slots of a job: is 0, may be 1 to 1024");
  options.slots_per_job = 1;
  options.jobs_max = 10001;
  EXPECT_EQ(options.Validate().message(), "jobs at a time: is 10001, may be 0 to 10000");
  options.jobs_max = 0;
  options.idle = absl::ZeroDuration();
  EXPECT_EQ(options.Validate().message(), "time limits of the plan: one is 0, must be above 0");
}

}  // namespace
}  // namespace ursa::slurm
