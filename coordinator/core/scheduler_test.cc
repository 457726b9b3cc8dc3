// Queue, preemption, drain and live edits, with the coordinator around them.
#include "coordinator/core/scheduler.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "coordinator/core/coordinator_testing.h"
#include "experiments/labels.h"

namespace ursa {
namespace {

using Outcome = worker::v1::TaskFinished;
using State_ = v1::Experiment;

class SchedulerTest : public ::testing::Test {
 protected:
  SchedulerTest() {
    harness_.Connect(&worker_);
    harness_.MakeDataset(&worker_, "bears");
  }

  absl::StatusOr<v1::Experiment> TrySubmit(const std::string& resources, const std::string& user = "ann",
                                           bool paused = false) {
    v1::CreateExperimentRequest request = Harness::Recipe("bears", resources);
    request.set_paused(paused);
    return harness_.Create(request, "", user);
  }
  std::string Submit(const std::string& resources, const std::string& user = "ann", bool paused = false) {
    const auto experiment = TrySubmit(resources, user, paused);
    EXPECT_TRUE(experiment.ok()) << experiment.status();
    return experiment.ok() ? experiment->experiment_id() : "";
  }
  State_::State StateOf(const std::string& id) { return harness_.Get(id).state(); }
  std::string Why(const std::string& id) {
    return harness_
        .Read<v1::ExplainExperimentResponse>(
            [&](const Tx& tx) { return harness_.coordinator().experiments().Explain(tx, id); })
        ->reason();
  }
  std::vector<std::string> Queue() {
    const auto queue = harness_.Read<v1::ListQueueResponse>(
        [&](const Tx& tx) { return harness_.coordinator().scheduler().ListQueue(tx, v1::ListQueueRequest()); });
    std::vector<std::string> ids;
    for (const v1::QueueItem& item : queue->items()) {
      ids.push_back(item.experiment_id());
      EXPECT_FALSE(item.reason().empty());
    }
    EXPECT_EQ(queue->num_waiting(), queue->items_size());
    return ids;
  }
  absl::StatusOr<v1::Experiment> Set(const std::string& id, int32_t priority, const std::string& pool = "") {
    v1::UpdateExperimentRequest request;
    request.set_name(id);
    if (priority != 0) request.set_priority(priority);
    if (!pool.empty()) request.set_pool(pool);
    return harness_.Change<v1::Experiment>(
        [&](Tx& tx, const Caller& caller) { return harness_.coordinator().experiments().Update(tx, caller, request); });
  }
  void Drain(const FakeWorker& worker) {
    v1::DrainWorkerRequest request;
    request.set_name(worker.id());
    ASSERT_TRUE(harness_
                    .Change<v1::Worker>([&](Tx& tx, const Caller& caller) {
                      return harness_.coordinator().workers().Drain(tx, caller, request);
                    })
                    .ok());
  }
  bool IsToldToStop(const FakeWorker& worker, const std::string& id) {
    const worker::v1::TaskOrder* order = worker.FindOrder(TaskOf(id));
    return order != nullptr && order->stop();
  }
  // A gang that was told to stop does so: checkpoint, words, exits.
  void Stop(FakeWorker* worker, const std::string& id, int64_t step) {
    const worker::v1::TaskAssignment assignment = worker->FindOrder(TaskOf(id))->assignment();
    harness_.Checkpoint(worker, TaskOf(id), assignment.epoch(), step, 0.5);
    for (const int32_t rank : assignment.ranks()) {
      harness_.Finish(worker, TaskOf(id), assignment.epoch(), rank, Outcome::OUTCOME_STOPPED);
    }
    for (const int32_t rank : assignment.ranks()) harness_.Exit(worker, TaskOf(id), assignment.epoch(), rank);
  }

  Harness harness_;
  FakeWorker worker_;  // two slots
};

TEST_F(SchedulerTest, ATrialRunsOnWorkersThatHaveItsLabels) {
  const std::string id =
      Submit("slots_per_trial: 1 labels { name: 'zone' value: 'a' } labels { name: 'gpu' value: 'h100' }");
  EXPECT_EQ(Why(id), "0 of 1 worker in pool default has labels gpu=h100 and zone=a");
  FakeWorker other("i2", 2);
  *other.hello().add_labels() = *ParseLabel("gpu=h100");
  harness_.Connect(&other);
  EXPECT_EQ(Why(id), "0 of 2 workers in pool default have labels gpu=h100 and zone=a");
  harness_.Restart();
  harness_.Connect(&worker_);
  *other.hello().add_labels() = *ParseLabel("zone=a");
  harness_.Connect(&other);
  EXPECT_EQ(StateOf(id), State_::STATE_RUNNING);
  EXPECT_EQ(Why(id), "runs on w2");
  EXPECT_FALSE(TrySubmit("labels { name: 'GPU' value: 'h100' }").ok());
}

TEST_F(SchedulerTest, ASlotThatFailedACheckIsNotOffered) {
  const auto tell = [this](int32_t slot, const std::string& reason) {
    worker::v1::ConnectRequest message;
    v1::WorkerSlot* state = message.mutable_slots()->add_slots();
    state->set_index(slot);
    state->set_reason(reason);
    return harness_.Send(&worker_, message);
  };
  const auto list = [this] {
    return harness_
        .Read<v1::ListWorkersResponse>(
            [&](const Tx& tx) { return harness_.coordinator().workers().List(tx, v1::ListWorkersRequest()); })
        ->workers(0);
  };
  ASSERT_TRUE(tell(0, "GPU is lost").ok());
  EXPECT_EQ(list().free(), 1);
  EXPECT_EQ(list().reason(), "1 of 2 slots is not offered: slot 0: GPU is lost");
  const std::string one = Submit("slots_per_trial: 1");
  ASSERT_EQ(StateOf(one), State_::STATE_RUNNING);
  EXPECT_EQ(worker_.FindOrder(TaskOf(one))->slots(0), 1);
  const std::string two = Submit("slots_per_trial: 2");
  EXPECT_EQ(Why(two), "needs 2 slots, pool default has 1, not counting 1 slot that failed a check");
  harness_.Restart();  // it is on record
  harness_.Advance(absl::Seconds(1));
  EXPECT_EQ(list().reason(), "1 of 2 slots is not offered: slot 0: GPU is lost");
  harness_.Connect(&worker_);  // whose checks all pass now
  EXPECT_EQ(list().reason(), "");
  EXPECT_EQ(list().free(), 1);
  EXPECT_EQ(Why(two), "needs 2 slots, 1 free in pool default; e1 runs there");
  EXPECT_EQ(tell(2, "there is none").code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SchedulerTest, AHigherPriorityRunsInThePlaceOfALowerOneWhichGoesOnAfterIt) {
  const std::string low = Submit("slots_per_trial: 2 priority: 10");
  ASSERT_EQ(StateOf(low), State_::STATE_RUNNING);
  EXPECT_EQ(Why(low), "runs on w1");
  harness_.Beat(&worker_, TaskOf(low), 1);
  const std::string high = Submit("slots_per_trial: 1 priority: 90", "bob");
  EXPECT_TRUE(IsToldToStop(worker_, low));
  EXPECT_EQ(Why(low), "runs on w1 and is being stopped: preempted by e2 of priority 90");
  EXPECT_EQ(Why(high), "needs 1 slot, 0 free in pool default; waits for e1 to checkpoint and give 2 slots");
  Stop(&worker_, low, 4);
  EXPECT_EQ(StateOf(high), State_::STATE_RUNNING);
  EXPECT_EQ(StateOf(low), State_::STATE_QUEUED);
  EXPECT_EQ(Why(low), "preempted by e2 of priority 90; needs 2 slots, 1 free in pool default; e2 runs there");
  EXPECT_EQ(harness_.Get(low).reason(), Why(low));
  harness_.Train(&worker_, high, "weights");
  const v1::Experiment again = harness_.Get(low);
  EXPECT_EQ(again.state(), State_::STATE_RUNNING);
  EXPECT_EQ(again.resumed_from_step(), 4);
  EXPECT_EQ(again.restarts(), 0);
  harness_.Train(&worker_, low, "other weights");
}

TEST_F(SchedulerTest, APreemptionOutlivesTheCoordinator) {
  const std::string low = Submit("slots_per_trial: 2 priority: 10");
  harness_.Beat(&worker_, TaskOf(low), 1);
  const std::string other = Submit("slots_per_trial: 2 priority: 20");
  const std::string high = Submit("slots_per_trial: 2 priority: 90");
  ASSERT_TRUE(IsToldToStop(worker_, low));
  harness_.Restart();
  harness_.Connect(&worker_);
  ASSERT_TRUE(IsToldToStop(worker_, low));
  Stop(&worker_, low, 4);
  EXPECT_EQ(StateOf(high), State_::STATE_RUNNING);
  EXPECT_EQ(Queue(), (std::vector<std::string>{other, low}));
  EXPECT_EQ(harness_.Get(low).restarts(), 0);
}

TEST_F(SchedulerTest, ADrainedWorkersTrainingGoesOnElsewhere) {
  const std::string id = Submit("slots_per_trial: 2");
  harness_.Beat(&worker_, TaskOf(id), 1);
  FakeWorker other("j1");
  harness_.Connect(&other);
  Drain(worker_);
  EXPECT_TRUE(IsToldToStop(worker_, id));
  EXPECT_EQ(Why(id), "runs on w1 and is being stopped: moves off w1, which is being drained");
  Stop(&worker_, id, 6);
  EXPECT_EQ(StateOf(id), State_::STATE_RUNNING);
  ASSERT_NE(other.FindOrder(TaskOf(id)), nullptr);
  EXPECT_EQ(harness_.Get(id).resumed_from_step(), 6);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
  const std::string next = Submit("slots_per_trial: 1");
  EXPECT_EQ(Why(next), "needs 1 slot, 0 free in pool default; e1 runs there");
}

TEST_F(SchedulerTest, PrioritiesCanBeChangedInTheQueueAndWhileItRuns) {
  const std::string running = Submit("slots_per_trial: 2");
  harness_.Beat(&worker_, TaskOf(running), 1);
  const std::string first = Submit("slots_per_trial: 2"), second = Submit("slots_per_trial: 2");
  EXPECT_EQ(Queue(), (std::vector<std::string>{first, second}));
  const auto changed = Set(second, 60);
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->spec().resources().priority(), 60);
  EXPECT_EQ(Queue(), (std::vector<std::string>{second, first}));
  EXPECT_TRUE(IsToldToStop(worker_, running));  // it has a lower priority now than the one that waits
  EXPECT_EQ(Set(first, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Set(first, 100).status().message(), "experiment e2: priority 100; allowed: 1 to 99");
  Stop(&worker_, running, 2);
  EXPECT_EQ(StateOf(second), State_::STATE_RUNNING);
  EXPECT_EQ(Queue(), (std::vector<std::string>{running, first}));  // it keeps its place
}

TEST_F(SchedulerTest, PoolsHaveTheirOwnWorkersAndQueues) {
  FakeWorker lab("j1", 1);
  lab.hello().set_pool("lab");
  harness_.Connect(&lab);
  const std::string here = Submit("slots_per_trial: 2");
  harness_.Beat(&worker_, TaskOf(here), 1);
  const std::string there = Submit("slots_per_trial: 1 pool: 'lab'");
  EXPECT_NE(lab.FindOrder(TaskOf(there)), nullptr);
  const std::string waits = Submit("slots_per_trial: 1");
  EXPECT_EQ(StateOf(waits), State_::STATE_QUEUED);
  const auto unknown = TrySubmit("slots_per_trial: 1 pool: 'attic'");
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(unknown.status().message(), "resources.pool: pool \"attic\" has no worker (hint: of default, lab)");
  const auto large = TrySubmit("slots_per_trial: 2 pool: 'lab'");
  EXPECT_EQ(large.status().message(), "resources.slots_per_trial: 2 slots asked for, pool \"lab\" has 1");
  // The running one moves to where it does not fit, and then the waiting one to where it does.
  EXPECT_EQ(Set(here, 0, "lab").status().message(), "experiment e1: pool \"lab\" has 1 cpu slots, it needs 2 cpu");
  harness_.Train(&lab, there, "weights");
  ASSERT_TRUE(Set(waits, 0, "lab").ok());
  EXPECT_NE(lab.FindOrder(TaskOf(waits)), nullptr);
  harness_.Beat(&lab, TaskOf(waits), 1);
  // Back again: it checkpoints, and waits in the other queue.
  ASSERT_TRUE(Set(waits, 0, "default").ok());
  EXPECT_TRUE(IsToldToStop(lab, waits));
  Stop(&lab, waits, 3);
  EXPECT_EQ(StateOf(waits), State_::STATE_QUEUED);
  EXPECT_EQ(Why(waits), "moves to pool default; needs 1 slot, 0 free in pool default; e1 runs there");
}

TEST_F(SchedulerTest, WhatIsCreatedPausedWaitsForItsResume) {
  const std::string id = Submit("slots_per_trial: 2", "ann", /*paused=*/true);
  EXPECT_EQ(StateOf(id), State_::STATE_PAUSED);
  EXPECT_EQ(Why(id), "is paused by its user");
  EXPECT_EQ(worker_.FindOrder(TaskOf(id)), nullptr);
  EXPECT_TRUE(Queue().empty());
  ASSERT_TRUE(harness_
                  .Change<v1::Experiment>([&](Tx& tx, const Caller& caller) {
                    return harness_.coordinator().experiments().Resume(tx, caller, id);
                  })
                  .ok());
  EXPECT_EQ(StateOf(id), State_::STATE_RUNNING);
}

TEST_F(SchedulerTest, WhoHasUsedMoreComesLaterAlsoAfterARestart) {
  const std::string running = Submit("slots_per_trial: 2", "ann");
  harness_.Beat(&worker_, TaskOf(running), 1);
  harness_.Advance(absl::Minutes(10), {&worker_});
  harness_.Train(&worker_, running, "weights");
  harness_.Restart();
  harness_.Connect(&worker_);
  const std::string filler = Submit("slots_per_trial: 2", "eve");
  const std::string of_ann = Submit("slots_per_trial: 2", "ann"), of_bob = Submit("slots_per_trial: 2", "bob");
  EXPECT_EQ(Queue(), (std::vector<std::string>{of_bob, of_ann}));
  harness_.Train(&worker_, filler, "other weights");
  EXPECT_EQ(StateOf(of_bob), State_::STATE_RUNNING);
  EXPECT_EQ(StateOf(of_ann), State_::STATE_QUEUED);
}

TEST_F(SchedulerTest, UseThatCountsForNothingLeavesNoRecord) {
  const auto num_records = [this] {
    Tx tx(harness_.coordinator().env().commit);
    return tx.state().All<records::UsageRecord>().size();
  };
  const std::string id = Submit("slots_per_trial: 2", "ann");
  harness_.Beat(&worker_, TaskOf(id), 1);
  harness_.Advance(absl::Minutes(10), {&worker_});
  harness_.Train(&worker_, id, "weights");
  EXPECT_EQ(num_records(), 1u);
  harness_.Restart(harness_.options().scheduling.use_half_life);
  harness_.Connect(&worker_);
  EXPECT_EQ(num_records(), 1u);
  harness_.Restart(30 * harness_.options().scheduling.use_half_life);
  harness_.Connect(&worker_);
  EXPECT_EQ(num_records(), 0u);
}

TEST_F(SchedulerTest, WhatAWorkerWithoutAStreamCouldRunWaits) {
  harness_.Disconnect(&worker_);
  const std::string id = Submit("slots_per_trial: 1");
  EXPECT_EQ(StateOf(id), State_::STATE_QUEUED);
  EXPECT_EQ(Why(id), "pool default has only workers that take no new task (drained or away)");
  harness_.Connect(&worker_);
  EXPECT_EQ(StateOf(id), State_::STATE_RUNNING);
}

TEST_F(SchedulerTest, AnElasticGangStartsWithWhatIsFree) {
  const std::string one = Submit("slots_per_trial: 1");
  const std::string elastic = Submit("slots_per_trial: 2 min_slots_per_trial: 1");
  EXPECT_EQ(StateOf(elastic), State_::STATE_RUNNING);
  ASSERT_NE(worker_.FindOrder(TaskOf(elastic)), nullptr);
  EXPECT_EQ(worker_.FindOrder(TaskOf(elastic))->assignment().world_size(), 1);
}

TEST_F(SchedulerTest, PoolNamesAreChecked) {
  FakeWorker odd("j1");
  odd.hello().set_pool("no/pool");
  harness_.Connect(&odd);
  EXPECT_EQ(odd.closed().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ursa
