// Gangs that stand still, with the coordinator around them.
#include "coordinator/core/hang_doctor.h"

#include <gtest/gtest.h>

#include <string>

#include "coordinator/core/coordinator_testing.h"

namespace ursa {
namespace {

using State_ = v1::Experiment;

// Two ranks on one worker; rank 0 waits in a collective, rank 1 for a batch.
class HangDoctorTest : public ::testing::Test {
 protected:
  HangDoctorTest() {
    harness_.Connect(&worker_);
    harness_.MakeDataset(&worker_, "bears");
    id_ = harness_.Submit("bears")->experiment_id();
  }

  void AddRank(int64_t epoch, int32_t rank, int64_t collectives, bool in_collective, absl::Duration duration,
               worker::v1::Heartbeat* heartbeat) {
    worker::v1::TaskStatus* status = heartbeat->add_tasks();
    status->set_task_id(TaskOf(id_));
    status->set_epoch(epoch);
    status->set_rank(rank);
    worker::v1::RankPosition* position = status->mutable_position();
    position->set_step(41);
    position->set_collectives(collectives);
    position->set_in_collective(in_collective);
    position->set_doing(in_collective ? "all-reduce" : "waits for a batch");
    position->set_for_millis(absl::ToInt64Milliseconds(duration));
  }
  // Heartbeats for `time`, in which nothing moves.
  void StandStill(absl::Duration time, int64_t epoch = 1) {
    const absl::Duration step = harness_.options().heartbeat;
    for (absl::Duration passed; passed < time; passed += step) {
      stood_ += step;
      worker::v1::ConnectRequest message;
      AddRank(epoch, 0, 121, true, stood_, message.mutable_heartbeat());
      AddRank(epoch, 1, 120, false, stood_, message.mutable_heartbeat());
      ASSERT_TRUE(harness_.Send(&worker_, std::move(message)).ok());
      harness_.Advance(step);
    }
  }
  std::string Why() {
    return harness_
        .Read<v1::ExplainExperimentResponse>(
            [&](const Tx& tx) { return harness_.coordinator().experiments().Explain(tx, id_); })
        ->reason();
  }

  Harness harness_;
  FakeWorker worker_;
  std::string id_;
  absl::Duration stood_;
};

TEST_F(HangDoctorTest, SaysWhoIsLate) {
  StandStill(absl::Seconds(9));
  EXPECT_EQ(Why(), "runs on w1");
  EXPECT_EQ(harness_.Get(id_).reason(), "");
  StandStill(absl::Seconds(3));
  EXPECT_EQ(Why().find("runs on w1; rank 1 on w1 is late: it waits for a batch since "), 0u) << Why();
  EXPECT_NE(Why().find("at step 41, after collective 120; rank 0 waits in all-reduce 121"), std::string::npos);
  EXPECT_EQ(harness_.Get(id_).reason().find("rank 1 on w1 is late"), 0u);
}

TEST_F(HangDoctorTest, RestartsWhatStandsStillForTooLong) {
  StandStill(absl::Minutes(9));
  EXPECT_EQ(harness_.Get(id_).restarts(), 0);
  EXPECT_NE(worker_.FindOrder(TaskOf(id_)), nullptr);
  StandStill(absl::Minutes(1) + absl::Seconds(2));
  EXPECT_EQ(worker_.FindOrder(TaskOf(id_)), nullptr);  // so the agent kills both
  for (int r = 0; r < 2; ++r) harness_.Exit(&worker_, TaskOf(id_), 1, r, 9);
  const v1::Experiment again = harness_.Get(id_);
  EXPECT_EQ(again.state(), State_::STATE_RUNNING);
  EXPECT_EQ(again.restarts(), 1);
  ASSERT_NE(worker_.FindOrder(TaskOf(id_)), nullptr);
  // What the last epoch's ranks said is forgotten.
  StandStill(absl::Seconds(5), 1);
  EXPECT_EQ(Why(), "runs on w1");
}

TEST_F(HangDoctorTest, TimeWithoutTheWorkerDoesNotCount) {
  StandStill(absl::Minutes(9));
  harness_.Disconnect(&worker_);
  stood_ += absl::Minutes(5);  // it says so when it is back, and it is true
  harness_.Connect(&worker_);
  StandStill(absl::Minutes(2));
  EXPECT_EQ(harness_.Get(id_).restarts(), 0);
  EXPECT_NE(Why().find("rank 1 on w1 is late"), std::string::npos);
  StandStill(absl::Minutes(8) + absl::Seconds(2));
  EXPECT_EQ(worker_.FindOrder(TaskOf(id_)), nullptr);
}

TEST_F(HangDoctorTest, ARankThatIsDoneIsNotWaitedFor) {
  harness_.Finish(&worker_, TaskOf(id_), 1, 1, worker::v1::TaskFinished::OUTCOME_COMPLETED);
  StandStill(absl::Seconds(12));
  EXPECT_NE(Why().find("rank 0 on w1 is in all-reduce 121"), std::string::npos) << Why();
}

}  // namespace
}  // namespace ursa
