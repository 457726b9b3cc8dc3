#include "client/cli/follow.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace ursa::cli {
namespace {

class FollowTableTest : public ::testing::Test {
 protected:
  FollowTableTest() {
    experiment_.set_experiment_id("e17");
    experiment_.set_state(v1::Experiment::STATE_QUEUED);
    experiment_.set_reason("waits for 2 slots, 1 is free");
    experiment_.mutable_spec()->set_max_restarts(5);
    experiment_.mutable_spec()->mutable_train()->add_metrics("error_rate");
    experiment_.set_num_steps(40);
  }
  ~FollowTableTest() override { std::fclose(file_); }

  void AddEpoch(double train_loss, double error_rate) {
    v1::EpochRow& row = *experiment_.add_epochs();
    row.set_epoch(experiment_.epochs_size() - 1);
    (*row.mutable_metrics())["train_loss"] = train_loss;
    (*row.mutable_metrics())["valid_loss"] = 0.25;
    (*row.mutable_metrics())["error_rate"] = error_rate;
    (*row.mutable_metrics())["seconds"] = 12.34;
  }

  std::string Printed() {
    std::string text;
    std::rewind(file_);
    for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) text.push_back(static_cast<char>(c));
    return text;
  }

  std::FILE* file_ = std::tmpfile();
  Output out_{file_, file_, false, false, false};
  FollowTable table_{&out_};
  v1::Experiment experiment_;
};

TEST_F(FollowTableTest, OneRowAnEpochAndALineAChangeOfState) {
  table_.Update(experiment_);
  table_.Update(experiment_);  // nothing has changed
  experiment_.set_state(v1::Experiment::STATE_RUNNING);
  experiment_.set_reason("");
  table_.Update(experiment_);
  AddEpoch(1.5, 0.5);
  experiment_.set_step(10);
  table_.Update(experiment_);
  AddEpoch(0.75, 0.125);
  AddEpoch(0.5, 0);
  experiment_.set_state(v1::Experiment::STATE_COMPLETED);
  table_.Update(experiment_);
  EXPECT_EQ(Printed(),
            "e17 QUEUED: waits for 2 slots, 1 is free\n"
            "e17 RUNNING\n"
            "epoch  train_loss  valid_loss  error_rate     time\n"
            "    0    1.500000    0.250000    0.500000    12.3s\n"
            "    1    0.750000    0.250000    0.125000    12.3s\n"
            "    2    0.500000    0.250000    0.000000    12.3s\n");
}

TEST_F(FollowTableTest, RestartsAreToldAndNoRowComesTwice) {
  experiment_.set_state(v1::Experiment::STATE_RUNNING);
  AddEpoch(1.5, 0.5);
  table_.Update(experiment_);
  experiment_.set_restarts(1);
  experiment_.set_reason("rank 1 was killed by signal 9");
  experiment_.set_state(v1::Experiment::STATE_QUEUED);
  table_.Update(experiment_);
  experiment_.set_state(v1::Experiment::STATE_RUNNING);
  experiment_.set_resumed_from_step(10);
  table_.Update(experiment_);
  EXPECT_EQ(Printed(),
            "e17 RUNNING\n"
            "epoch  train_loss  valid_loss  error_rate     time\n"
            "    0    1.500000    0.250000    0.500000    12.3s\n"
            "e17 restart 1 of at most 5: rank 1 was killed by signal 9\n"
            "e17 QUEUED: rank 1 was killed by signal 9\n"
            "e17 RUNNING, from step 10\n");
}

// Rows come in between, as trials run side by side.
TEST_F(FollowTableTest, OfASearchEachRowNamesItsTrial) {
  experiment_.mutable_spec()->mutable_searcher()->mutable_random()->set_max_trials(2);
  experiment_.set_state(v1::Experiment::STATE_RUNNING);
  AddEpoch(1.5, 0.5);
  experiment_.mutable_epochs(0)->set_trial_id("t17.2");
  table_.Update(experiment_);
  AddEpoch(0.75, 0.25);
  experiment_.mutable_epochs(1)->set_epoch(0);
  experiment_.mutable_epochs(1)->set_trial_id("t17.1");
  experiment_.mutable_epochs()->SwapElements(0, 1);  // by trial
  table_.Update(experiment_);
  EXPECT_EQ(Printed(),
            "e17 RUNNING\n"
            "   trial  epoch  train_loss  valid_loss  error_rate     time\n"
            "   t17.2      0    1.500000    0.250000    0.500000    12.3s\n"
            "   t17.1      0    0.750000    0.250000    0.250000    12.3s\n");
}

TEST(StateWordTest, AsInJson) {
  EXPECT_EQ(StateWord(v1::Experiment::STATE_CANCELED), "CANCELED");
  EXPECT_EQ(StateWord(v1::Experiment::STATE_UNSPECIFIED), "-");
}

}  // namespace
}  // namespace ursa::cli
