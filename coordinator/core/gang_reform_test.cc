// Gangs that lose a rank and go on with another in its place.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "coordinator/core/coordinator_testing.h"

namespace ursa {
namespace {

using Outcome = worker::v1::TaskFinished;
using State_ = v1::Experiment;

class GangReformTest : public ::testing::Test {
 protected:
  GangReformTest() {
    harness_.Connect(&worker_);
    harness_.MakeDataset(&worker_, "bears");
  }

  // A gang of two on the one worker, of which something has been heard.
  std::string Start(const std::string& extra = "") {
    const std::string id = harness_.Submit("bears", 2, extra)->experiment_id();
    for (int32_t rank = 0; rank < 2; ++rank) harness_.Beat(&worker_, "t1.1", 1, rank);
    harness_.Checkpoint(&worker_, "t1.1", 1, 5, 0.25);
    return id;
  }
  // "0@1 1@2": ranks of the order and the epochs of their processes.
  static std::string RanksOf(const FakeWorker& worker) {
    const worker::v1::TaskOrder* order = worker.FindOrder("t1.1");
    if (order == nullptr) return "";
    std::string text;
    const worker::v1::TaskAssignment& assignment = order->assignment();
    for (int i = 0; i < assignment.ranks_size(); ++i) {
      const int64_t epoch = assignment.rank_epochs_size() > 0 ? assignment.rank_epochs(i) : assignment.epoch();
      text += (i > 0 ? " " : "") + std::to_string(assignment.ranks(i)) + "@" + std::to_string(epoch);
    }
    return text;
  }
  // One trial with a rank on each of two workers, both heard of.
  std::string StartOnTwo(FakeWorker* one, FakeWorker* two, const std::string& resources = "slots_per_trial: 2",
                         const std::string& extra = "") {
    harness_.Disconnect(&worker_);
    harness_.Connect(one);
    harness_.Connect(two);
    harness_.Advance(absl::Seconds(4), {one, two});
    const auto submitted = harness_.Create(Harness::Recipe("bears", resources, extra));
    const std::string id = submitted->experiment_id();
    harness_.Beat(one, "t1.1", 1);
    harness_.Beat(two, "t1.1", 1, 1);
    EXPECT_EQ(RanksOf(*one) + " " + RanksOf(*two), "0@1 1@1");
    return id;
  }
  int64_t GroupEpoch(const FakeWorker& worker) { return worker.FindOrder("t1.1")->assignment().epoch(); }
  void Joined(FakeWorker* worker, int64_t epoch, int32_t rank) {
    worker::v1::TaskEvent event;
    event.mutable_joined_group();
    harness_.Report(worker, "t1.1", epoch, rank, std::move(event));
  }
  void LostGroup(FakeWorker* worker, int64_t process_epoch, int64_t group_epoch, int32_t rank) {
    worker::v1::TaskEvent event;
    event.mutable_lost_group()->set_epoch(group_epoch);
    event.mutable_lost_group()->set_reason("all-reduce: connection closed by peer");
    harness_.Report(worker, "t1.1", process_epoch, rank, std::move(event));
  }

  Harness harness_;
  FakeWorker worker_;
};

TEST_F(GangReformTest, TheOthersGoOnAndOneIsStartedInThePlaceOfTheOneThatDied) {
  const std::string id = Start();
  EXPECT_EQ(RanksOf(worker_), "0@1 1@1");
  EXPECT_FALSE(worker_.FindOrder("t1.1")->assignment().train().joins());
  harness_.Exit(&worker_, "t1.1", 1, 1, 9);
  EXPECT_EQ(RanksOf(worker_), "0@1 1@2");
  EXPECT_EQ(GroupEpoch(worker_), 2);
  EXPECT_TRUE(worker_.FindOrder("t1.1")->assignment().train().joins());
  v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_RUNNING);
  EXPECT_EQ(shown.restarts(), 1);
  EXPECT_EQ(shown.reason(), "");
  // What either says counts, each by the epoch of its own process; what the dead one would say does not.
  Joined(&worker_, 2, 1);
  harness_.Checkpoint(&worker_, "t1.1", 1, 15, 0.2);
  EXPECT_EQ(harness_.Get(id).checkpoints_size(), 1);
  EXPECT_EQ(harness_.Get(id).checkpoints(0).step(), 15);
  LostGroup(&worker_, 1, 2, 1);
  EXPECT_EQ(GroupEpoch(worker_), 2);
  // Now the other one.
  harness_.Exit(&worker_, "t1.1", 1, 0, 9);
  EXPECT_EQ(RanksOf(worker_), "0@3 1@2");
  Joined(&worker_, 3, 0);
  harness_.Checkpoint(&worker_, "t1.1", 3, 20, 0.2, true);
  for (int r = 0; r < 2; ++r) harness_.Finish(&worker_, "t1.1", 3 - r, r, Outcome::OUTCOME_COMPLETED);
  for (int r = 0; r < 2; ++r) harness_.Exit(&worker_, "t1.1", 3 - r, r);
  shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_COMPLETED);
  EXPECT_EQ(shown.restarts(), 2);
}

TEST_F(GangReformTest, WhenNobodyHasTheStateItStartsFromItsCheckpoint) {
  const std::string id = Start();
  harness_.Exit(&worker_, "t1.1", 1, 1, 9);
  harness_.Exit(&worker_, "t1.1", 1, 0, 9);  // before the new one had got anything
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);
  harness_.Exit(&worker_, "t1.1", 2, 1, 9);
  EXPECT_EQ(RanksOf(worker_), "0@3 1@3");
  EXPECT_FALSE(worker_.FindOrder("t1.1")->assignment().train().joins());
  EXPECT_EQ(harness_.Get(id).resumed_from_step(), 5);
}

// The one that is left may not have started yet: it would look for its state with others, and there are none.
TEST_F(GangReformTest, BeforeAllHaveBeenHeardOfItStartsAnew) {
  ASSERT_TRUE(harness_.Submit("bears", 2).ok());
  harness_.Beat(&worker_, "t1.1", 1, 0);
  harness_.Exit(&worker_, "t1.1", 1, 0, 9);
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);
  harness_.Exit(&worker_, "t1.1", 1, 1, 9);
  EXPECT_EQ(RanksOf(worker_), "0@2 1@2");
  EXPECT_FALSE(worker_.FindOrder("t1.1")->assignment().train().joins());
}

TEST_F(GangReformTest, ALostGroupWithoutADeathIsFormedAnewAfterAMoment) {
  const std::string id = Start();
  LostGroup(&worker_, 1, 1, 0);
  EXPECT_EQ(GroupEpoch(worker_), 1);
  EXPECT_NE(harness_.Get(id).reason().find("forms its group anew"), std::string::npos);
  harness_.Advance(absl::Seconds(1), {&worker_});
  EXPECT_EQ(RanksOf(worker_), "0@1 1@1");
  EXPECT_EQ(GroupEpoch(worker_), 2);
  EXPECT_EQ(harness_.Get(id).restarts(), 1);
  EXPECT_EQ(harness_.Get(id).reason(), "");
  LostGroup(&worker_, 1, 1, 1);  // the other one, of the same group
  harness_.Advance(absl::Seconds(1), {&worker_});
  EXPECT_EQ(GroupEpoch(worker_), 2);
}

// The others see that their group is lost before the worker's lease ends.
TEST_F(GangReformTest, AWorkersDeathIsAMoveAlone) {
  FakeWorker one("i2", 1), two("j1", 1), three("k1", 1);
  const std::string id = StartOnTwo(&one, &two, "slots_per_trial: 2", "max_restarts: 0");
  harness_.Connect(&three);
  harness_.Disconnect(&two);
  LostGroup(&one, 1, 1, 0);
  harness_.Advance(absl::Seconds(2), {&one, &three});
  EXPECT_EQ(GroupEpoch(one), 1) << "it is not formed with the one that may be dead";
  harness_.Restart(absl::ZeroDuration());
  harness_.Connect(&one);
  harness_.Connect(&three);
  harness_.Advance(absl::Seconds(4), {&one, &three});
  EXPECT_EQ(RanksOf(one) + " " + RanksOf(three), "0@1 1@2");
  EXPECT_EQ(harness_.Get(id).moves(), 1);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
}

// On GPUs a group cannot be left: its ranks end, and say why.
TEST_F(GangReformTest, AWorkersDeathIsAMoveWhereRanksEndWithTheirGroup) {
  FakeWorker one("i2", 1), two("j1", 1), three("k1", 1);
  const std::string id = StartOnTwo(&one, &two, "slots_per_trial: 2", "max_restarts: 0");
  harness_.Connect(&three);
  harness_.Disconnect(&two);
  harness_.Finish(&one, "t1.1", 1, 0, Outcome::OUTCOME_FAILED, "a peer is lost", Outcome::CAUSE_PEER_LOST);
  harness_.Exit(&one, "t1.1", 1, 0);
  harness_.Advance(absl::Seconds(4), {&one, &three});
  EXPECT_EQ(RanksOf(one) + " " + RanksOf(three), "0@2 1@2");
  EXPECT_EQ(harness_.Get(id).moves(), 1);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
}

TEST_F(GangReformTest, AWorkerThatIsBackIsHeardFirst) {
  FakeWorker one("i2", 1), two("j1", 1);
  const std::string id = StartOnTwo(&one, &two);
  harness_.Disconnect(&two);
  LostGroup(&one, 1, 1, 0);
  harness_.Advance(absl::Seconds(2), {&one});
  harness_.Connect(&two);
  EXPECT_EQ(GroupEpoch(one), 1);
  harness_.Exit(&two, "t1.1", 1, 1, 9);
  EXPECT_EQ(RanksOf(one) + " " + RanksOf(two), "0@1 1@2");
  EXPECT_EQ(harness_.Get(id).restarts(), 1);
  Joined(&two, 2, 1);
  // Again, and nobody has died.
  harness_.Disconnect(&two);
  LostGroup(&one, 1, 2, 0);
  harness_.Advance(absl::Seconds(2), {&one});
  harness_.Connect(&two);
  harness_.Advance(absl::Seconds(1), {&one, &two});
  EXPECT_EQ(GroupEpoch(one), 3);
  EXPECT_EQ(harness_.Get(id).restarts(), 2);
  EXPECT_EQ(harness_.Get(id).moves(), 0);
}

TEST_F(GangReformTest, ALostGroupThatNothingExplainsNeedsARestart) {
  const std::string id = Start("max_restarts: 0");
  LostGroup(&worker_, 1, 1, 0);
  harness_.Advance(absl::Seconds(1), {&worker_});
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);
  for (int r = 0; r < 2; ++r) harness_.Exit(&worker_, "t1.1", 1, r, 9);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_ERROR);
  EXPECT_NE(harness_.Get(id).reason().find("max_restarts is 0"), std::string::npos) << harness_.Get(id).reason();
}

// Cut off from the coordinator, not from each other: they end before the one that is left can meet the successor.
TEST_F(GangReformTest, OneThatEndsWithARankWhoseWorkerIsLostStartsAnewFromTheCheckpoint) {
  FakeWorker one("i2", 1), two("j1", 1), three("k1", 1);
  const std::string id = StartOnTwo(&one, &two);
  harness_.Checkpoint(&one, "t1.1", 1, 5, 0.25);
  harness_.Connect(&three);
  harness_.Disconnect(&one);
  harness_.Advance(absl::Seconds(4), {&two, &three});
  ASSERT_EQ(RanksOf(three) + " " + RanksOf(two), "0@2 1@1");
  harness_.Finish(&two, "t1.1", 1, 1, Outcome::OUTCOME_COMPLETED);
  harness_.Exit(&two, "t1.1", 1, 1);
  harness_.Exit(&three, "t1.1", 2, 0, 9);  // as it is told
  EXPECT_EQ(RanksOf(two) + " " + RanksOf(three), "0@3 1@3");
  EXPECT_EQ(harness_.Get(id).resumed_from_step(), 5);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
}

TEST_F(GangReformTest, ALostWorkersRanksAreStartedElsewhereIfThereIsRoom) {
  FakeWorker one("i2", 1), two("j1", 1), three("k1", 1);
  const std::string id = StartOnTwo(&one, &two);
  harness_.Connect(&three);
  harness_.Disconnect(&two);
  harness_.Advance(absl::Seconds(4), {&one, &three});
  EXPECT_EQ(RanksOf(one) + " " + RanksOf(three), "0@1 1@2");
  EXPECT_EQ(harness_.Get(id).moves(), 1);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
}

TEST_F(GangReformTest, WithoutRoomRankZeroCheckpointsWhereItStands) {
  FakeWorker one("i2", 1), two("j1", 1);
  const std::string id = StartOnTwo(&one, &two);
  harness_.Checkpoint(&one, "t1.1", 1, 5, 0.25);
  harness_.Disconnect(&two);
  harness_.Advance(absl::Seconds(4), {&one});
  ASSERT_NE(one.FindOrder("t1.1"), nullptr);
  EXPECT_TRUE(one.FindOrder("t1.1")->stop());
  EXPECT_NE(harness_.Get(id).reason().find("no slot in place of the one that is lost"), std::string::npos);
  LostGroup(&one, 1, 1, 0);  // it may find out after it was told
  harness_.Checkpoint(&one, "t1.1", 1, 9, 0.25);
  ASSERT_NE(one.FindOrder("t1.1"), nullptr);
  harness_.Finish(&one, "t1.1", 1, 0, Outcome::OUTCOME_STOPPED);
  harness_.Exit(&one, "t1.1", 1, 0);
  EXPECT_EQ(one.FindOrder("t1.1"), nullptr);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_QUEUED);
  EXPECT_EQ(harness_.Get(id).moves(), 1);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
  FakeWorker three("k1", 1);
  harness_.Connect(&three);
  EXPECT_EQ(RanksOf(one) + " " + RanksOf(three), "0@2 1@2");
  EXPECT_EQ(harness_.Get(id).resumed_from_step(), 9);
}

TEST_F(GangReformTest, AnElasticOneGoesOnWithFewerRanksFromThere) {
  FakeWorker one("i2", 1), two("j1", 1);
  const std::string id = StartOnTwo(&one, &two, "slots_per_trial: 2 min_slots_per_trial: 1");
  harness_.Disconnect(&two);
  harness_.Advance(absl::Seconds(4), {&one});
  harness_.Checkpoint(&one, "t1.1", 1, 9, 0.25);
  harness_.Finish(&one, "t1.1", 1, 0, Outcome::OUTCOME_STOPPED);
  harness_.Exit(&one, "t1.1", 1, 0);
  EXPECT_EQ(RanksOf(one), "0@2");
  EXPECT_EQ(harness_.Get(id).resumed_from_step(), 9);
}

TEST_F(GangReformTest, WhoDoesNotCheckpointInTimeIsEndedAndStartsFromTheLastOne) {
  FakeWorker one("i2", 1), two("j1", 1);
  const std::string id = StartOnTwo(&one, &two, "slots_per_trial: 2 min_slots_per_trial: 1");
  harness_.Checkpoint(&one, "t1.1", 1, 5, 0.25);
  harness_.Disconnect(&two);
  harness_.Advance(absl::Seconds(4), {&one});
  EXPECT_TRUE(one.FindOrder("t1.1")->stop());
  harness_.Advance(absl::Seconds(20), {&one});
  EXPECT_EQ(one.FindOrder("t1.1"), nullptr);
  harness_.Exit(&one, "t1.1", 1, 0, 9);
  EXPECT_EQ(RanksOf(one), "0@2");
  EXPECT_EQ(harness_.Get(id).resumed_from_step(), 5);
  EXPECT_EQ(harness_.Get(id).restarts(), 0);
}

TEST_F(GangReformTest, WithoutRoomAndRankZeroAnotherOneCheckpoints) {
  FakeWorker one("i2", 1), two("j1", 1);
  const std::string id = StartOnTwo(&one, &two);
  EXPECT_EQ(two.FindOrder("t1.1")->parting_rank(), 0);
  harness_.Checkpoint(&one, "t1.1", 1, 5, 0.25);
  harness_.Disconnect(&one);
  harness_.Advance(absl::Seconds(4), {&two});
  ASSERT_NE(two.FindOrder("t1.1"), nullptr);
  EXPECT_TRUE(two.FindOrder("t1.1")->stop());
  EXPECT_EQ(two.FindOrder("t1.1")->parting_rank(), 1);
  harness_.Checkpoint(&two, "t1.1", 1, 9, 0.25, false, 1);
  harness_.Finish(&two, "t1.1", 1, 1, Outcome::OUTCOME_STOPPED);
  harness_.Exit(&two, "t1.1", 1, 1);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_QUEUED);
  EXPECT_EQ(harness_.Get(id).moves(), 1);
  FakeWorker three("k1", 1);
  harness_.Connect(&three);
  EXPECT_EQ(harness_.Get(id).resumed_from_step(), 9);
}

TEST_F(GangReformTest, WithoutRoomAndWithoutTheOneThatWasToCheckpointItStartsFromTheLastCheckpoint) {
  FakeWorker one("i2", 1), two("j1", 1);
  const std::string id = StartOnTwo(&one, &two);
  harness_.Checkpoint(&one, "t1.1", 1, 5, 0.25);
  harness_.Disconnect(&one);
  harness_.Advance(absl::Seconds(4), {&two});
  EXPECT_TRUE(two.FindOrder("t1.1")->stop());
  harness_.Exit(&two, "t1.1", 1, 1, 9);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_QUEUED);
  harness_.Connect(&one);
  harness_.Advance(absl::Seconds(1), {&one, &two});
  EXPECT_EQ(harness_.Get(id).resumed_from_step(), 5);
}

TEST_F(GangReformTest, OutlivesTheCoordinator) {
  const std::string id = Start();
  LostGroup(&worker_, 1, 1, 0);
  harness_.Restart();
  harness_.Connect(&worker_);
  harness_.Advance(absl::Seconds(1), {&worker_});
  EXPECT_EQ(GroupEpoch(worker_), 2);
  EXPECT_EQ(harness_.Get(id).restarts(), 1);
}

TEST_F(GangReformTest, WhatIsAskedForMeanwhileIsDoneAfterwards) {
  const std::string id = Start();
  LostGroup(&worker_, 1, 1, 0);
  ASSERT_TRUE(harness_
                  .Change<v1::Experiment>([&](Tx& tx, const Caller& caller) {
                    return harness_.coordinator().experiments().Pause(tx, caller, id);
                  })
                  .ok());
  harness_.Advance(absl::Seconds(1), {&worker_});
  ASSERT_NE(worker_.FindOrder("t1.1"), nullptr);
  EXPECT_TRUE(worker_.FindOrder("t1.1")->stop());
}

TEST_F(GangReformTest, AFailureThatARankTellsOfIsForThePolicy) {
  const std::string id = Start();
  harness_.Finish(&worker_, "t1.1", 1, 1, Outcome::OUTCOME_FAILED, "out of memory", Outcome::CAUSE_OUT_OF_MEMORY);
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);
  for (int r = 0; r < 2; ++r) harness_.Exit(&worker_, "t1.1", 1, r);
  EXPECT_EQ(harness_.Get(id).moves(), 1);
}

TEST_F(GangReformTest, RestartsAreBounded) {
  const std::string id = Start("max_restarts: 1");
  harness_.Exit(&worker_, "t1.1", 1, 1, 9);
  Joined(&worker_, 2, 1);
  harness_.Exit(&worker_, "t1.1", 2, 1, 9);
  EXPECT_EQ(worker_.FindOrder("t1.1"), nullptr);
  harness_.Exit(&worker_, "t1.1", 1, 0, 9);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_ERROR);
}

}  // namespace
}  // namespace ursa
