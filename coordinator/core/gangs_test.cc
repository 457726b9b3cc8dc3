// Training tasks from submit to end, through failures of ranks, workers and the coordinator.
#include "coordinator/core/gangs.h"

#include <gtest/gtest.h>

#include <string>

#include "base/digest.h"
#include "coordinator/core/coordinator_testing.h"

namespace ursa {
namespace {

using Outcome = worker::v1::TaskFinished;
using State_ = v1::Experiment;

class GangsTest : public ::testing::Test {
 protected:
  GangsTest() {
    harness_.Connect(&worker_);
    harness_.MakeDataset(&worker_, "bears");
  }

  // Submits a gang of two that runs on the one worker.
  std::string Start(const std::string& extra = "") {
    const auto experiment = harness_.Submit("bears", 2, extra);
    EXPECT_TRUE(experiment.ok()) << experiment.status();
    return experiment->experiment_id();
  }
  absl::Status Cancel(const std::string& id) {
    const auto experiment = harness_.Change<v1::Experiment>(
        [&](Tx& tx, const Caller& caller) { return harness_.coordinator().experiments().Cancel(tx, caller, id); });
    return experiment.status();
  }
  int64_t OrderedEpoch(const std::string& task) {
    const worker::v1::TaskOrder* order = worker_.FindOrder(task);
    return order == nullptr ? 0 : order->assignment().epoch();
  }
  void Metrics(int64_t epoch, int64_t step, double loss, bool validation = false) {
    worker::v1::TaskEvent event;
    auto* point = event.mutable_metrics()->add_points();
    point->set_name(validation ? "valid_loss" : "train_loss");
    point->set_step(step);
    point->set_value(loss);
    event.mutable_metrics()->set_validation(validation);
    harness_.Report(&worker_, "t1.1", epoch, 0, std::move(event));
  }
  v1::ListMetricPointsResponse Points() {
    return harness_.coordinator().experiments().ReadMetrics({1, 1}, v1::ListMetricPointsRequest()).value();
  }

  Harness harness_;
  FakeWorker worker_;
};

TEST_F(GangsTest, RunsToTheEnd) {
  const std::string id = Start();
  const worker::v1::TaskOrder* order = worker_.FindOrder("t1.1");
  ASSERT_NE(order, nullptr);
  EXPECT_EQ(order->assignment().epoch(), 1);
  EXPECT_EQ(order->assignment().world_size(), 2);
  EXPECT_EQ(order->assignment().ranks_size(), 2);
  EXPECT_EQ(order->slots_size(), 2);
  EXPECT_EQ(order->assignment().log_name(), "e1");
  EXPECT_EQ(order->assignment().train().spec().dataset(), "bears@1");
  EXPECT_EQ(order->assignment().train().classes_size(), 2);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_RUNNING);

  Metrics(1, 3, 0.5);
  Metrics(1, 5, 0.25, true);
  harness_.Checkpoint(&worker_, "t1.1", 1, 5, 0.25);
  v1::Experiment shown = harness_.Get(id);
  ASSERT_EQ(shown.checkpoints_size(), 1);
  EXPECT_TRUE(shown.checkpoints(0).best());
  EXPECT_EQ(shown.epochs_size(), 1);
  EXPECT_EQ(shown.metrics().at("valid_loss"), 0.25);
  EXPECT_EQ(Points().points_size(), 2);

  harness_.Checkpoint(&worker_, "t1.1", 1, 15, 0.5, true);
  harness_.Finish(&worker_, "t1.1", 1, 1, Outcome::OUTCOME_COMPLETED);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_RUNNING);  // rank 0 has the say
  harness_.Finish(&worker_, "t1.1", 1, 0, Outcome::OUTCOME_COMPLETED);
  shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_COMPLETED);
  EXPECT_EQ(shown.checkpoints_size(), 2);         // the best and the last
  EXPECT_NE(worker_.FindOrder("t1.1"), nullptr);  // its processes end by themselves
  harness_.Exit(&worker_, "t1.1", 1, 0);
  harness_.Exit(&worker_, "t1.1", 1, 1);
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);
  const auto status = harness_.Read<v1::Status>([&](const Tx& tx) { return harness_.coordinator().GetStatus(tx); });
  EXPECT_EQ(status->slots_free(), 2);
  EXPECT_EQ(status->experiments_running(), 0);
}

TEST_F(GangsTest, ChartsHaveAsManyPointsAsAskedFor) {
  Start();
  for (int64_t step = 0; step < 100; ++step) Metrics(1, step, static_cast<double>(step));
  Metrics(1, 99, 0.5, true);
  v1::ListMetricPointsRequest request;
  request.set_max_points(10);
  request.set_begin_step(20);
  request.set_last_step(79);
  const auto read = [&] { return harness_.coordinator().experiments().ReadMetrics({1, 1}, request); };
  auto response = read();
  ASSERT_TRUE(response.ok()) << response.status();
  ASSERT_EQ(response->points_size(), 10);
  EXPECT_EQ(response->points(0).name(), "train_loss");
  EXPECT_EQ(response->points(0).step(), 25);
  EXPECT_EQ(response->points(0).value(), 22.5);
  EXPECT_EQ(response->points(0).spread().first_step(), 20);
  EXPECT_EQ(response->points(0).spread().min(), 20);
  EXPECT_EQ(response->points(0).spread().max(), 25);
  EXPECT_EQ(response->points(0).spread().count(), 6);
  EXPECT_EQ(response->points(9).step(), 79);
  request.set_max_points(1000);
  request.clear_last_step();
  EXPECT_EQ(read()->points_size(), 81) << "few points are themselves, and the other metric's is there";
  request.set_max_points(0);
  request.set_metric("train_loss");
  EXPECT_EQ(read()->points_size(), 80);
  EXPECT_FALSE(read()->points(0).has_spread());
  request.set_max_points(10'001);
  EXPECT_EQ(read().status().code(), absl::StatusCode::kInvalidArgument);
  request.set_max_points(10);
  request.set_last_step(3);
  EXPECT_EQ(read().status().code(), absl::StatusCode::kInvalidArgument);
  request.clear_last_step();
  request.set_page_token("3:train_loss");
  EXPECT_EQ(read().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(GangsTest, AFailedRankRestartsTheGangFromItsCheckpoint) {
  const std::string id = Start();
  harness_.Checkpoint(&worker_, "t1.1", 1, 5, 0.25);
  harness_.Finish(&worker_, "t1.1", 1, 1, Outcome::OUTCOME_FAILED, "something broke");
  harness_.Exit(&worker_, "t1.1", 1, 1);
  // The other rank is to be stopped before anything new starts.
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
  harness_.Exit(&worker_, "t1.1", 1, 0, 15);
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_RUNNING);
  EXPECT_EQ(shown.restarts(), 1);
  EXPECT_EQ(shown.resumed_from_step(), 5);
  EXPECT_EQ(shown.step(), 5);
  const worker::v1::TaskOrder* order = worker_.FindOrder("t1.1");
  ASSERT_NE(order, nullptr);
  EXPECT_EQ(order->assignment().epoch(), 2);
  EXPECT_EQ(order->assignment().train().resumed_from_step(), 5);
  EXPECT_EQ(order->assignment().train().model_blob(), Sha256Hex("model of t1.1 at 5"));
}

TEST_F(GangsTest, WhatAStaleEpochSaysIsRefused) {
  const std::string id = Start();
  harness_.Finish(&worker_, "t1.1", 1, 0, Outcome::OUTCOME_FAILED, "something broke");
  harness_.Exit(&worker_, "t1.1", 1, 0);
  harness_.Exit(&worker_, "t1.1", 1, 1, 9);
  ASSERT_EQ(OrderedEpoch("t1.1"), 2);
  Metrics(1, 7, 123.0);
  harness_.Checkpoint(&worker_, "t1.1", 1, 7, 0.1, true);
  harness_.Finish(&worker_, "t1.1", 1, 0, Outcome::OUTCOME_COMPLETED);
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_RUNNING);
  EXPECT_EQ(shown.checkpoints_size(), 0);
  EXPECT_EQ(Points().points_size(), 0);
}

TEST_F(GangsTest, ALostWorkersGangStartsElsewhere) {
  const std::string id = Start();
  harness_.Checkpoint(&worker_, "t1.1", 1, 5, 0.25);
  FakeWorker other("j1");
  harness_.Connect(&other);
  harness_.Advance(absl::Seconds(2), {&worker_, &other});
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
  harness_.Advance(absl::Seconds(4), {&other});
  EXPECT_EQ(harness_.Get(id).moves(), 1);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);  // not the job's fault
  ASSERT_NE(other.FindOrder("t1.1"), nullptr);
  EXPECT_EQ(other.FindOrder("t1.1")->assignment().epoch(), 2);
  // It was only cut off: when it is heard of again it is told to stop what it runs.
  harness_.Connect(&worker_);
  EXPECT_EQ(worker_.desired().orders_size(), 0);
  harness_.Finish(&worker_, "t1.1", 1, 0, Outcome::OUTCOME_FAILED, "lost its peer");
  EXPECT_EQ(harness_.Get(id).moves(), 1);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);  // not the job's fault
}

TEST_F(GangsTest, ABrokenStreamAloneIsNoLoss) {
  const std::string id = Start();
  harness_.Checkpoint(&worker_, "t1.1", 1, 5, 0.25);
  harness_.Disconnect(&worker_);
  harness_.Advance(absl::Seconds(2));
  harness_.Connect(&worker_);
  EXPECT_EQ(OrderedEpoch("t1.1"), 1);
  harness_.Advance(absl::Seconds(10), {&worker_});
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
}

TEST_F(GangsTest, ANewIncarnationSaysThatTheOldTasksAreGone) {
  const std::string id = Start();
  harness_.Checkpoint(&worker_, "t1.1", 1, 5, 0.25);
  harness_.Disconnect(&worker_);
  worker_.hello().set_incarnation("i2");
  worker_.hello().set_starts(2);
  harness_.Connect(&worker_);
  EXPECT_EQ(harness_.Get(id).moves(), 1);
  EXPECT_EQ(OrderedEpoch("t1.1"), 2);
}

TEST_F(GangsTest, ARankThatWasNeverHeardOfDoesNotCount) {
  const std::string id = Start();
  harness_.Disconnect(&worker_);
  worker_.hello().set_incarnation("i2");
  harness_.Connect(&worker_);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
  EXPECT_EQ(OrderedEpoch("t1.1"), 2);
}

TEST_F(GangsTest, WhatAnEarlierStartOfTheAgentSaysComesTooLate) {
  Start();
  harness_.Disconnect(&worker_);
  worker_.hello().set_incarnation("i2");
  worker_.hello().set_starts(2);
  harness_.Connect(&worker_);
  harness_.Disconnect(&worker_);
  FakeWorker late("i1");
  late.hello().set_worker_id(worker_.id());
  late.hello().set_starts(1);
  harness_.Connect(&late);
  EXPECT_EQ(late.closed().code(), absl::StatusCode::kFailedPrecondition);
  harness_.Connect(&worker_);
  EXPECT_EQ(OrderedEpoch("t1.1"), 2);
}

TEST_F(GangsTest, TwoAgentsCannotBeOneWorker) {
  FakeWorker twin("i2");
  twin.hello().set_worker_id(worker_.id());
  harness_.Connect(&twin);
  EXPECT_EQ(twin.closed().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(GangsTest, ACoordinatorThatStoodStillBlamesNobody) {
  const std::string id = Start();
  harness_.clock().Advance(absl::Seconds(10));
  harness_.coordinator().Tick();  // what the worker has said meanwhile is only heard after that
  harness_.Beat(&worker_, "t1.1", 1);
  EXPECT_EQ(OrderedEpoch("t1.1"), 1);
  EXPECT_EQ(harness_.Get(id).moves(), 0);
  harness_.Advance(absl::Seconds(4));
  EXPECT_EQ(harness_.Get(id).moves(), 1);
}

TEST_F(GangsTest, AMachineThatWasStartedAnewIsNotKeptOutByAStreamThatHangs) {
  const std::string id = Start();
  FakeWorker again("i2");
  again.hello().set_worker_id(worker_.id());
  harness_.Advance(absl::Seconds(4));  // nobody has told the coordinator that the old stream is over
  harness_.Connect(&again);
  EXPECT_TRUE(again.closed().ok()) << again.closed();
  EXPECT_EQ(worker_.closed().code(), absl::StatusCode::kAborted);
  ASSERT_NE(again.FindOrder("t1.1"), nullptr);
  EXPECT_EQ(again.FindOrder("t1.1")->assignment().epoch(), 2);
}

TEST_F(GangsTest, TheCoordinatorsDeathDisturbsNoTraining) {
  const std::string id = Start();
  harness_.Checkpoint(&worker_, "t1.1", 1, 5, 0.25);
  Metrics(1, 6, 0.5);
  harness_.Restart();
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_RUNNING);
  harness_.Advance(absl::Seconds(2));  // every lease has a full term
  harness_.Connect(&worker_);
  EXPECT_EQ(OrderedEpoch("t1.1"), 1);
  // What the agent had not seen acknowledged comes again, and counts once.
  Metrics(1, 6, 0.5);
  Metrics(1, 7, 0.25);
  EXPECT_EQ(Points().points_size(), 2);
  harness_.Advance(absl::Seconds(10), {&worker_});
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
}

TEST_F(GangsTest, TooManyRestartsEndInErrorWithTheLastWords) {
  const std::string id = Start("max_restarts: 1");
  for (int32_t rank = 0; rank < 2; ++rank) harness_.Beat(&worker_, "t1.1", 1, rank);
  for (int64_t epoch = 1; epoch <= 2; ++epoch) {
    ASSERT_EQ(OrderedEpoch("t1.1"), epoch);
    harness_.Exit(&worker_, "t1.1", epoch, 0, 11, "segmentation fault in conv");
  }
  harness_.Exit(&worker_, "t1.1", 1, 1, 9);
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_ERROR);
  EXPECT_EQ(shown.restarts(), 1);
  EXPECT_NE(shown.reason().find("max_restarts is 1"), std::string::npos) << shown.reason();
  EXPECT_NE(shown.reason().find("segmentation fault in conv"), std::string::npos) << shown.reason();
  EXPECT_TRUE(shown.has_end_time());
}

TEST_F(GangsTest, OutOfMemoryMovesItAndCountsAgainstThePlace) {
  FakeWorker other("j1");
  harness_.Connect(&other);
  const std::string id = Start();
  harness_.Finish(&worker_, "t1.1", 1, 0, Outcome::OUTCOME_FAILED, "a peer died", Outcome::CAUSE_PEER_LOST);
  harness_.Finish(&worker_, "t1.1", 1, 1, Outcome::OUTCOME_FAILED, "CUDA out of memory", Outcome::CAUSE_OUT_OF_MEMORY);
  harness_.Exit(&worker_, "t1.1", 1, 0);
  harness_.Exit(&worker_, "t1.1", 1, 1);
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.moves(), 1);
  EXPECT_EQ(shown.restarts(), 0);
  EXPECT_EQ(shown.state(), State_::STATE_RUNNING);
}

TEST_F(GangsTest, ALossThatIsNotFiniteEndsIt) {
  const std::string id = Start();
  harness_.Finish(&worker_, "t1.1", 1, 0, Outcome::OUTCOME_FAILED, "the loss of step 3 is nan",
                  Outcome::CAUSE_NOT_FINITE);
  harness_.Exit(&worker_, "t1.1", 1, 0);
  harness_.Exit(&worker_, "t1.1", 1, 1);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_ERROR);
  EXPECT_NE(harness_.Get(id).reason().find("nan"), std::string::npos);
}

TEST_F(GangsTest, AWorkerWhoseHardwareFailsIsSetAsideIfThereIsAnother) {
  const auto state_of = [&](const FakeWorker& worker) {
    const auto list = harness_.Read<v1::ListWorkersResponse>(
        [&](const Tx& tx) { return harness_.coordinator().workers().List(tx, v1::ListWorkersRequest()); });
    for (const v1::Worker& shown : list->workers()) {
      if (shown.id() == worker.id()) return shown.state();
    }
    return v1::Worker::STATE_UNSPECIFIED;
  };
  const auto fail = [&](FakeWorker* worker, int64_t epoch) {
    harness_.Finish(worker, "t1.1", epoch, 0, Outcome::OUTCOME_FAILED, "uncorrectable ECC error",
                    Outcome::CAUSE_HARDWARE);
    for (int r = 0; r < 2; ++r) harness_.Exit(worker, "t1.1", epoch, r);
  };
  const std::string id = Start();
  fail(&worker_, 1);
  EXPECT_EQ(state_of(worker_), v1::Worker::STATE_ALIVE);  // there is no other
  EXPECT_EQ(OrderedEpoch("t1.1"), 2);
  FakeWorker other("j1");
  harness_.Connect(&other);
  fail(&worker_, 2);
  EXPECT_EQ(state_of(worker_), v1::Worker::STATE_SET_ASIDE);
  ASSERT_NE(other.FindOrder("t1.1"), nullptr);
  v1::ResumeWorkerRequest resume;
  resume.set_name("workers/" + worker_.id());
  const auto resumed = harness_.Change<v1::Worker>(
      [&](Tx& tx, const Caller& caller) { return harness_.coordinator().workers().Resume(tx, caller, resume); });
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->state(), v1::Worker::STATE_ALIVE);
}

TEST_F(GangsTest, AMistakeOfTheUserIsNotTriedAgain) {
  const std::string id = Start();
  harness_.Finish(&worker_, "t1.1", 1, 1, Outcome::OUTCOME_FAILED, "connection closed by peer");
  harness_.Finish(&worker_, "t1.1", 1, 0, Outcome::OUTCOME_USER_ERROR, "loss is NaN");
  harness_.Exit(&worker_, "t1.1", 1, 0);
  harness_.Exit(&worker_, "t1.1", 1, 1);
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_ERROR);
  EXPECT_NE(shown.reason().find("loss is NaN"), std::string::npos) << shown.reason();
}

TEST_F(GangsTest, PauseTakesACheckpointAndResumeGoesOn) {
  const std::string id = Start();
  auto& experiments = harness_.coordinator().experiments();
  ASSERT_TRUE(
      harness_.Change<v1::Experiment>([&](Tx& tx, const Caller& c) { return experiments.Pause(tx, c, id); }).ok());
  ASSERT_NE(worker_.FindOrder("t1.1"), nullptr);
  EXPECT_TRUE(worker_.FindOrder("t1.1")->stop());
  harness_.Checkpoint(&worker_, "t1.1", 1, 8, 0.25);
  for (int r = 0; r < 2; ++r) harness_.Finish(&worker_, "t1.1", 1, r, Outcome::OUTCOME_STOPPED);
  for (int r = 0; r < 2; ++r) harness_.Exit(&worker_, "t1.1", 1, r);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_PAUSED);
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);
  ASSERT_TRUE(
      harness_.Change<v1::Experiment>([&](Tx& tx, const Caller& c) { return experiments.Resume(tx, c, id); }).ok());
  EXPECT_EQ(OrderedEpoch("t1.1"), 2);
  EXPECT_EQ(harness_.Get(id).resumed_from_step(), 8);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
}

TEST_F(GangsTest, AnAgentThatEndsGetsNothingNewUntilItComesBack) {
  const std::string id = Start();
  harness_.Checkpoint(&worker_, "t1.1", 1, 8, 0.25);
  for (int r = 0; r < 2; ++r) harness_.Finish(&worker_, "t1.1", 1, r, Outcome::OUTCOME_STOPPED);
  for (int r = 0; r < 2; ++r) harness_.Exit(&worker_, "t1.1", 1, r);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_QUEUED);
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);
  harness_.Disconnect(&worker_);
  worker_.hello().set_incarnation("i2");
  harness_.Connect(&worker_);
  EXPECT_EQ(OrderedEpoch("t1.1"), 2);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
}

TEST_F(GangsTest, AWorkerThatStoppedWithAnotherThatEndsIsUsableAgain) {
  ASSERT_TRUE(harness_.Submit("bears", 1).ok());
  FakeWorker other("j1", 1);
  harness_.Connect(&other);
  const std::string id = Start();
  ASSERT_NE(worker_.FindOrder("t2.1"), nullptr);
  ASSERT_NE(other.FindOrder("t2.1"), nullptr);
  const int32_t mine = worker_.FindOrder("t2.1")->assignment().ranks(0);
  // The other one ends; the rank here is heard of first.
  harness_.Finish(&worker_, "t2.1", 1, mine, Outcome::OUTCOME_STOPPED);
  harness_.Finish(&other, "t2.1", 1, 1 - mine, Outcome::OUTCOME_STOPPED);
  harness_.Exit(&worker_, "t2.1", 1, mine);
  harness_.Exit(&other, "t2.1", 1, 1 - mine);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_QUEUED);
  ASSERT_TRUE(Cancel(id).ok());
  const std::string next = harness_.Submit("bears", 1)->experiment_id();
  EXPECT_EQ(harness_.Get(next).state(), State_::STATE_QUEUED);
  harness_.Disconnect(&other);
  EXPECT_NE(worker_.FindOrder("t3.1"), nullptr);
}

TEST_F(GangsTest, AWorkerThatDoesNotEndAfterAllIsUsedAgainAfterAWhile) {
  const std::string id = Start();
  for (int r = 0; r < 2; ++r) harness_.Finish(&worker_, "t1.1", 1, r, Outcome::OUTCOME_STOPPED);
  for (int r = 0; r < 2; ++r) harness_.Exit(&worker_, "t1.1", 1, r);
  harness_.Advance(absl::Seconds(59), {&worker_});
  EXPECT_EQ(OrderedEpoch("t1.1"), 0);
  harness_.Advance(absl::Seconds(2), {&worker_});
  EXPECT_EQ(OrderedEpoch("t1.1"), 2);
}

TEST_F(GangsTest, CancelEndsItAtOnceAndFreesSlotsWhenTheProcessesAreGone) {
  const std::string id = Start();
  ASSERT_TRUE(Cancel(id).ok());
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_CANCELED);
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);
  const std::string next = Start();
  EXPECT_EQ(harness_.Get(next).state(), State_::STATE_QUEUED);
  for (int r = 0; r < 2; ++r) harness_.Exit(&worker_, "t1.1", 1, r, 15);
  EXPECT_EQ(harness_.Get(next).state(), State_::STATE_RUNNING);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_CANCELED);
  EXPECT_EQ(Cancel(id).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(GangsTest, AnOrderThatWasWithdrawnBeforeItsAgentSawItHoldsNoSlots) {
  const std::string id = Start();
  ASSERT_TRUE(Cancel(id).ok());
  const std::string next = Start();
  harness_.Advance(absl::Seconds(4), {&worker_});
  EXPECT_EQ(harness_.Get(next).state(), State_::STATE_QUEUED);  // the agent may yet say that it has started
  harness_.Advance(absl::Seconds(2), {&worker_});
  EXPECT_EQ(harness_.Get(next).state(), State_::STATE_RUNNING);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_CANCELED);
}

TEST_F(GangsTest, ANewStreamGivesTheAgentTimeAgain) {
  const std::string id = Start();
  ASSERT_TRUE(Cancel(id).ok());
  const std::string next = Start();
  harness_.Advance(absl::Seconds(4), {&worker_});
  harness_.Disconnect(&worker_);
  harness_.Connect(&worker_);
  harness_.Advance(absl::Seconds(4), {&worker_});
  EXPECT_EQ(harness_.Get(next).state(), State_::STATE_QUEUED);
  harness_.Advance(absl::Seconds(2), {&worker_});
  EXPECT_EQ(harness_.Get(next).state(), State_::STATE_RUNNING);
}

TEST_F(GangsTest, ARankThatWasHeardOfIsWaitedFor) {
  const std::string id = Start();
  harness_.Beat(&worker_, "t1.1", 1);  // rank 0
  ASSERT_TRUE(Cancel(id).ok());
  const auto num_free = [this] {
    return harness_.Read<v1::Status>([&](const Tx& tx) { return harness_.coordinator().GetStatus(tx); })->slots_free();
  };
  harness_.Advance(absl::Seconds(60), {&worker_});
  EXPECT_EQ(num_free(), 1);  // how rank 0 ended is still to be said: a checkpoint may come before that
  harness_.Exit(&worker_, "t1.1", 1, 0, 15);
  EXPECT_EQ(num_free(), 2);
}

TEST_F(GangsTest, ACheckpointWhoseBlobsAreNotStoredIsNotTaken) {
  const std::string id = Start();
  worker::v1::TaskEvent event;
  event.mutable_checkpoint()->set_step(3);
  event.mutable_checkpoint()->set_model_blob(Sha256Hex("never stored"));
  event.mutable_checkpoint()->set_optimizer_blob(Sha256Hex("neither"));
  harness_.Report(&worker_, "t1.1", 1, 0, std::move(event));
  EXPECT_EQ(harness_.Get(id).checkpoints_size(), 0);
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);  // what trains on would have nothing to come back to
}

TEST_F(GangsTest, ADrainedWorkerGetsNothingNew) {
  v1::DrainWorkerRequest request;
  request.set_name("workers/" + worker_.id());
  ASSERT_TRUE(harness_
                  .Change<v1::Worker>(
                      [&](Tx& tx, const Caller& c) { return harness_.coordinator().workers().Drain(tx, c, request); })
                  .ok());
  EXPECT_TRUE(worker_.desired().withheld());  // so that it holds nothing ready
  const std::string id = Start();
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_QUEUED);
  v1::ResumeWorkerRequest resume;
  resume.set_name(request.name());
  ASSERT_TRUE(harness_
                  .Change<v1::Worker>(
                      [&](Tx& tx, const Caller& c) { return harness_.coordinator().workers().Resume(tx, c, resume); })
                  .ok());
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_RUNNING);
  EXPECT_FALSE(worker_.desired().withheld());
}

TEST_F(GangsTest, MistakesAreToldAtSubmit) {
  const auto too_many = harness_.Submit("bears", 64, "");
  EXPECT_EQ(too_many.status().code(), absl::StatusCode::kFailedPrecondition) << too_many.status();
  const auto more = harness_.Submit("bears", 4);
  EXPECT_EQ(more.status().code(), absl::StatusCode::kFailedPrecondition) << more.status();
  const auto unknown = harness_.Submit("polar", 1);
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(unknown.status().message().find("polar"), std::string::npos);
}

TEST_F(GangsTest, ARetriedSubmitGetsTheFirstAnswer) {
  const auto first = harness_.Submit("bears", 2, "", "request-1");
  const auto again = harness_.Submit("bears", 2, "", "request-1");
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_EQ(first->experiment_id(), again->experiment_id());
  harness_.Restart();
  EXPECT_EQ(harness_.Submit("bears", 2, "", "request-1")->experiment_id(), first->experiment_id());
  EXPECT_NE(harness_.Submit("bears", 2, "", "request-2")->experiment_id(), first->experiment_id());
}

class RendezvousTest : public GangsTest {
 protected:
  void Ask(int64_t call_id, int64_t epoch, worker::v1::StoreRequest::Operation operation, const std::string& key,
           const std::string& value = "", int64_t amount = 0) {
    worker::v1::ConnectRequest message;
    auto* rendezvous = message.mutable_rendezvous();
    rendezvous->set_call_id(call_id);
    rendezvous->set_task_id("t1.1");
    rendezvous->set_epoch(epoch);
    rendezvous->mutable_request()->set_operation(operation);
    rendezvous->mutable_request()->add_keys(key);
    rendezvous->mutable_request()->set_value(value);
    rendezvous->mutable_request()->set_amount(amount);
    rendezvous->mutable_request()->set_timeout_millis(5000);
    EXPECT_TRUE(harness_.Send(&worker_, std::move(message)).ok());
  }
};

TEST_F(RendezvousTest, AGetWaitsForItsKey) {
  Start();
  Ask(1, 1, worker::v1::StoreRequest::OPERATION_GET, "address");
  EXPECT_TRUE(worker_.rendezvous().empty());
  Ask(2, 1, worker::v1::StoreRequest::OPERATION_SET, "address", "127.0.0.1:1");
  ASSERT_EQ(worker_.rendezvous().size(), 2u);
  EXPECT_EQ(worker_.rendezvous()[1].call_id(), 1);
  EXPECT_EQ(worker_.rendezvous()[1].response().value(), "127.0.0.1:1");
}

TEST_F(RendezvousTest, AddCountsOnceForEachCall) {
  Start();
  Ask(1, 1, worker::v1::StoreRequest::OPERATION_ADD, "n", "", 1);
  Ask(1, 1, worker::v1::StoreRequest::OPERATION_ADD, "n", "", 1);  // sent again after a broken stream
  Ask(2, 1, worker::v1::StoreRequest::OPERATION_ADD, "n", "", 1);
  ASSERT_EQ(worker_.rendezvous().size(), 3u);
  EXPECT_EQ(worker_.rendezvous()[1].response().number(), 1);
  EXPECT_EQ(worker_.rendezvous()[2].response().number(), 2);
}

TEST_F(RendezvousTest, WaitsEndWithTheirTimeAndWithTheirEpoch) {
  Start();
  Ask(1, 1, worker::v1::StoreRequest::OPERATION_GET, "never");
  harness_.Advance(absl::Seconds(6), {&worker_});
  ASSERT_EQ(worker_.rendezvous().size(), 1u);
  EXPECT_TRUE(worker_.rendezvous()[0].response().timed_out());
  Ask(2, 1, worker::v1::StoreRequest::OPERATION_GET, "never");
  harness_.Exit(&worker_, "t1.1", 1, 0, 9);
  ASSERT_EQ(worker_.rendezvous().size(), 2u);
  EXPECT_FALSE(worker_.rendezvous()[1].error().empty());
  Ask(3, 7, worker::v1::StoreRequest::OPERATION_SET, "a");
  EXPECT_FALSE(worker_.rendezvous()[2].error().empty());
}

TEST_F(RendezvousTest, RanksThatMetWhenTheCoordinatorDiedMeetAnew) {
  const std::string id = Start();
  Ask(1, 1, worker::v1::StoreRequest::OPERATION_SET, "a", "b");
  harness_.Restart();
  harness_.Connect(&worker_);
  Ask(2, 1, worker::v1::StoreRequest::OPERATION_GET, "a");
  ASSERT_EQ(worker_.rendezvous().size(), 1u);
  EXPECT_FALSE(worker_.rendezvous()[0].error().empty());
  for (int r = 0; r < 2; ++r) harness_.Exit(&worker_, "t1.1", 1, r, 15);
  EXPECT_EQ(OrderedEpoch("t1.1"), 2);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
}

}  // namespace
}  // namespace ursa
