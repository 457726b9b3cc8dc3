// Searches from submit to end: trials that train to rungs, are promoted, stopped, and survive the coordinator.
#include "coordinator/core/trials.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/core/coordinator_testing.h"
#include "coordinator/state/task_name.h"

namespace ursa {
namespace {

using Outcome = worker::v1::TaskFinished;
using State_ = v1::Experiment;

constexpr char kAsha[] =
    "searcher { adaptive_asha { metric: 'valid_loss' max_trials: 6 max_epochs: 4 divisor: 2 mode: 'aggressive' "
    "max_concurrent_trials: 2 } } "
    "hyperparameters { name: 'train.fine_tune.base_lr' log { low: 1e-4 high: 1e-1 } }";

class TrialsTest : public ::testing::Test {
 protected:
  TrialsTest() {
    harness_.Connect(&worker_);
    harness_.MakeDataset(&worker_, "bears");
  }

  std::string Start(const std::string& extra) {
    const auto experiment = harness_.Submit("bears", 1, extra);
    EXPECT_TRUE(experiment.ok()) << experiment.status();
    return experiment.ok() ? experiment->experiment_id() : "e0";
  }

  void Validate(const worker::v1::TaskAssignment& task, int32_t epoch, double loss) {
    worker::v1::TaskEvent event;
    auto* point = event.mutable_metrics()->add_points();
    point->set_name("valid_loss");
    point->set_step((epoch + 1) * 10);
    point->set_epoch(epoch);
    point->set_value(loss);
    event.mutable_metrics()->set_validation(true);
    event.mutable_metrics()->set_epoch(epoch);
    harness_.Report(&worker_, task.task_id(), task.epoch(), 0, std::move(event));
  }

  // Trains what is ordered as far as it is asked to. The loss of a trial depends on its number and epoch.
  void Train(const worker::v1::TaskAssignment& task, int32_t num_epochs) {
    int32_t until = task.train().until_epoch() > 0 ? task.train().until_epoch() : num_epochs;
    const auto trial = static_cast<double>(ParseTaskName(task.task_id())->second);
    Outcome::Outcome outcome = until == num_epochs ? Outcome::OUTCOME_COMPLETED : Outcome::OUTCOME_REACHED;
    for (int32_t epoch = static_cast<int32_t>(task.train().resumed_from_step() / 10); epoch < until; ++epoch) {
      Validate(task, epoch, 1.0 / (epoch + 1) + 0.1 * trial);
      if (!worker_.FindOrder(task.task_id())->stop() || epoch + 1 == until) continue;
      until = epoch + 1;
      outcome = Outcome::OUTCOME_STOPPED;
    }
    harness_.Checkpoint(&worker_, task.task_id(), task.epoch(), until * 10, 1.0 / until + 0.1 * trial,
                        until == num_epochs);
    End(task, outcome);
  }

  void End(const worker::v1::TaskAssignment& task, Outcome::Outcome outcome) {
    harness_.Finish(&worker_, task.task_id(), task.epoch(), 0, outcome);
    harness_.Exit(&worker_, task.task_id(), task.epoch(), 0);
  }

  worker::v1::TaskAssignment OrderOf(const std::string& task) {
    const worker::v1::TaskOrder* order = worker_.FindOrder(task);
    EXPECT_NE(order, nullptr) << task;
    return order == nullptr ? worker::v1::TaskAssignment() : order->assignment();
  }

  // Its recipe cannot be.
  void Fail(const std::string& task) {
    const worker::v1::TaskAssignment order = OrderOf(task);
    harness_.Finish(&worker_, task, order.epoch(), 0, Outcome::OUTCOME_USER_ERROR, "cannot be");
    harness_.Exit(&worker_, task, order.epoch(), 0);
  }

  absl::StatusOr<v1::ModelVersion> Register(const std::string& id) {
    v1::RegisterModelVersionRequest request;
    request.set_model("bears");
    request.set_experiment(absl::StrCat("experiments/", id));
    return harness_.Change<v1::ModelVersion>(
        [&](Tx& tx, const Caller& caller) { return harness_.coordinator().registry().Register(tx, caller, request); });
  }

  // Trains what is ordered until nothing is, first one first; the coordinator dies before every `restart_every`-th.
  v1::Experiment Run(const std::string& id, int restart_every = 1000) {
    for (int turn = 1; worker_.desired().orders_size() > 0; ++turn) {
      EXPECT_LT(turn, 100);
      if (turn >= 100) break;
      if (turn % restart_every == 0) {
        harness_.Restart();
        harness_.Connect(&worker_);
      }
      const worker::v1::TaskAssignment task = worker_.desired().orders(0).assignment();
      Train(task, 4);
    }
    return harness_.Get(id);
  }

  Harness harness_;
  FakeWorker worker_;
};

TEST_F(TrialsTest, AshaPromotesTheBestAndStopsTheRest) {
  const std::string id = Start(kAsha);
  v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.trials_size(), 2);  // so many at once
  EXPECT_EQ(shown.state(), State_::STATE_RUNNING);
  shown = Run(id);
  EXPECT_EQ(shown.state(), State_::STATE_COMPLETED) << shown.reason();
  ASSERT_EQ(shown.trials_size(), 6);
  std::set<int32_t> epochs;
  std::set<std::string> rates;
  for (const v1::Trial& trial : shown.trials()) {
    EXPECT_EQ(trial.state(), State_::STATE_COMPLETED) << trial.id() << ": " << trial.reason();
    rates.insert(trial.hyperparameters().at("train.fine_tune.base_lr"));
    EXPECT_EQ(trial.best(), trial.id() == "t1.1");
  }
  EXPECT_EQ(rates.size(), 6u);
  // Trial 1 is the best at each rung, and the only one that is sure to have gone all the way.
  EXPECT_EQ(shown.metrics().at("valid_loss"), 0.25 + 0.1);
  int num_whole = 0;
  for (const v1::EpochRow& row : shown.epochs()) num_whole += row.epoch() == 3;
  EXPECT_GE(num_whole, 1);
  EXPECT_LT(num_whole, 6);
}

TEST_F(TrialsTest, ASearchGoesOnAlikeThroughRestarts) {
  const v1::Experiment calm = Run(Start(kAsha));
  const v1::Experiment storm = Run(Start(kAsha), 2);
  ASSERT_EQ(storm.trials_size(), calm.trials_size());
  EXPECT_EQ(storm.state(), State_::STATE_COMPLETED);
  for (int i = 0; i < calm.trials_size(); ++i) {
    EXPECT_EQ(storm.trials(i).hyperparameters().at("train.fine_tune.base_lr"),
              calm.trials(i).hyperparameters().at("train.fine_tune.base_lr"));
    EXPECT_EQ(storm.trials(i).metrics().at("valid_loss"), calm.trials(i).metrics().at("valid_loss")) << i;
    EXPECT_EQ(storm.trials(i).reason(), calm.trials(i).reason());
  }
  EXPECT_EQ(storm.epochs_size(), calm.epochs_size());
}

TEST_F(TrialsTest, AFailedTrialIsTheWorstAndTheSearchGoesOn) {
  const std::string id = Start(absl::StrCat(kAsha, " max_restarts: 0"));
  const worker::v1::TaskAssignment task = worker_.FindOrder("t1.1")->assignment();
  harness_.Finish(&worker_, "t1.1", task.epoch(), 0, Outcome::OUTCOME_USER_ERROR, "cannot be");
  harness_.Exit(&worker_, "t1.1", task.epoch(), 0);
  const v1::Experiment shown = Run(id);
  EXPECT_EQ(shown.state(), State_::STATE_COMPLETED);
  EXPECT_EQ(shown.trials(0).state(), State_::STATE_ERROR);
  EXPECT_TRUE(shown.trials(1).best());
}

TEST_F(TrialsTest, WhenAllFailSoDoesTheSearch) {
  const std::string id = Start(
      "searcher { random { max_trials: 3 max_concurrent_trials: 1 } } "
      "hyperparameters { name: 'train.fine_tune.base_lr' log { low: 1e-4 high: 1e-1 } }");
  for (int trial = 1; trial <= 3; ++trial) {
    const std::string name = absl::StrCat("t1.", trial);
    ASSERT_NE(worker_.FindOrder(name), nullptr) << name;
    harness_.Finish(&worker_, name, 1, 0, Outcome::OUTCOME_USER_ERROR, "cannot be");
    harness_.Exit(&worker_, name, 1, 0);
  }
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_ERROR);
  EXPECT_NE(shown.reason().find("none of 3 trials"), std::string::npos) << shown.reason();
}

// Two or three trials, of which one is promoted at the first rung, after one epoch.
std::string SmallAsha(int num_trials) {
  return absl::StrCat("searcher { adaptive_asha { metric: 'valid_loss' max_trials: ", num_trials,
                      " max_epochs: 2 divisor: 2 mode: 'aggressive' max_concurrent_trials: 2 } } "
                      "hyperparameters { name: 'train.fine_tune.base_lr' log { low: 1e-4 high: 1e-1 } }");
}

TEST_F(TrialsTest, ATrialThatIsStoppedAtItsRungEndsWithItsCheckpoint) {
  const std::string id = Start(SmallAsha(2));
  const worker::v1::TaskAssignment second = OrderOf("t1.2");
  Validate(OrderOf("t1.1"), 0, 0.2);
  Validate(second, 0, 0.5);
  // It is of no more use, but its checkpoint is still on its way.
  ASSERT_NE(worker_.FindOrder("t1.2"), nullptr);
  EXPECT_TRUE(worker_.FindOrder("t1.2")->stop());
  Fail("t1.1");
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_RUNNING) << "all is decided, but not all is safe";
  harness_.Restart();
  harness_.Connect(&worker_);
  ASSERT_NE(worker_.FindOrder("t1.2"), nullptr);
  EXPECT_TRUE(worker_.FindOrder("t1.2")->stop());
  EXPECT_FALSE(harness_.Get(id).trials(1).best()) << "there is nothing to take of it yet";
  harness_.Checkpoint(&worker_, "t1.2", second.epoch(), 10, 0.5);
  EXPECT_TRUE(harness_.Get(id).trials(1).best());
  End(second, Outcome::OUTCOME_REACHED);
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_COMPLETED);
  EXPECT_EQ(shown.trials(1).state(), State_::STATE_COMPLETED);
  EXPECT_NE(shown.trials(1).reason().find("not among the best 1/2 at epoch 1"), std::string::npos);
  EXPECT_EQ(worker_.desired().orders_size(), 0);
  EXPECT_TRUE(Register(id).ok());
}

TEST_F(TrialsTest, TheBestTrialIsOneOfThoseWithACheckpoint) {
  const std::string id = Start(SmallAsha(3));
  const worker::v1::TaskAssignment second = OrderOf("t1.2");
  Train(OrderOf("t1.1"), 2);  // to the first rung
  Validate(second, 0, 5);
  EXPECT_TRUE(worker_.FindOrder("t1.2")->stop());
  harness_.Exit(&worker_, "t1.2", second.epoch(), 0, 9);
  EXPECT_TRUE(harness_.Get(id).trials(0).best());
  Fail("t1.1");  // it had been promoted
  const worker::v1::TaskAssignment third = OrderOf("t1.3");
  Validate(third, 0, 7);
  harness_.Checkpoint(&worker_, "t1.3", third.epoch(), 10, 7);
  End(third, Outcome::OUTCOME_REACHED);
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_COMPLETED) << shown.reason();
  EXPECT_EQ(shown.trials(0).state(), State_::STATE_ERROR);
  EXPECT_EQ(shown.trials(1).state(), State_::STATE_COMPLETED) << "its search had stopped it: it is not started again";
  EXPECT_TRUE(shown.trials(2).best());
  EXPECT_TRUE(Register(id).ok());
}

TEST_F(TrialsTest, ASearchOfWhichNoCheckpointIsLeftEndsInAnErrorThatSaysSo) {
  const std::string id = Start(SmallAsha(2));
  const worker::v1::TaskAssignment second = OrderOf("t1.2");
  Validate(OrderOf("t1.1"), 0, 0.2);
  Validate(second, 0, 0.5);
  Fail("t1.1");
  harness_.Exit(&worker_, "t1.2", second.epoch(), 0, 9);
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_ERROR);
  EXPECT_EQ(shown.reason(),
            "no trial that did not fail has a checkpoint; the best was t1.2: not among the best 1/2 at epoch 1");
}

TEST_F(TrialsTest, ATrialThatTheMedianRuleStopsCheckpointsWhereItStands) {
  const std::string id = Start(
      "searcher { random { max_trials: 2 max_concurrent_trials: 2 median_stopping { min_epochs: 1 min_trials: 1 } } } "
      "hyperparameters { name: 'train.fine_tune.base_lr' log { low: 1e-4 high: 1e-1 } }");
  Train(OrderOf("t1.1"), 2);
  const worker::v1::TaskAssignment second = OrderOf("t1.2");
  Validate(second, 0, 5);
  ASSERT_NE(worker_.FindOrder("t1.2"), nullptr);
  EXPECT_TRUE(worker_.FindOrder("t1.2")->stop());
  harness_.Checkpoint(&worker_, "t1.2", second.epoch(), 12, 5);
  End(second, Outcome::OUTCOME_STOPPED);
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_COMPLETED);
  EXPECT_TRUE(shown.trials(0).best());
  EXPECT_EQ(shown.trials(1).state(), State_::STATE_COMPLETED);
  EXPECT_NE(shown.trials(1).reason().find("is worse than"), std::string::npos) << shown.trials(1).reason();
  EXPECT_EQ(shown.checkpoints(shown.checkpoints_size() - 1).step(), 12);
}

TEST_F(TrialsTest, PausedASearchStartsNothingNew) {
  const std::string id = Start(kAsha);
  const auto pause = harness_.Change<v1::Experiment>(
      [&](Tx& tx, const Caller& caller) { return harness_.coordinator().experiments().Pause(tx, caller, id); });
  ASSERT_TRUE(pause.ok()) << pause.status();
  // Both come to their rung before they hear of it: what the search wants next has to wait.
  for (const char* name : {"t1.1", "t1.2"}) {
    const worker::v1::TaskAssignment task = worker_.FindOrder(name)->assignment();
    Train(task, 4);
  }
  EXPECT_EQ(worker_.desired().orders_size(), 0);
  EXPECT_EQ(harness_.Get(id).state(), State_::STATE_PAUSED);
  const auto resume = harness_.Change<v1::Experiment>(
      [&](Tx& tx, const Caller& caller) { return harness_.coordinator().experiments().Resume(tx, caller, id); });
  ASSERT_TRUE(resume.ok()) << resume.status();
  EXPECT_EQ(Run(id).state(), State_::STATE_COMPLETED);
}

TEST_F(TrialsTest, CancelEndsAllTrials) {
  const std::string id = Start(kAsha);
  const auto canceled = harness_.Change<v1::Experiment>(
      [&](Tx& tx, const Caller& caller) { return harness_.coordinator().experiments().Cancel(tx, caller, id); });
  ASSERT_TRUE(canceled.ok()) << canceled.status();
  // Answers to changes are kept for retries: they have the sums, not the trials.
  EXPECT_EQ(canceled->trials_size(), 0);
  EXPECT_EQ(canceled->num_steps(), harness_.Get(id).num_steps());
  EXPECT_GT(canceled->num_steps(), 0);
  EXPECT_EQ(worker_.desired().orders_size(), 0);
  for (const char* name : {"t1.1", "t1.2"}) harness_.Exit(&worker_, name, 1, 0, 9);
  const v1::Experiment shown = harness_.Get(id);
  EXPECT_EQ(shown.state(), State_::STATE_CANCELED);
  EXPECT_EQ(shown.trials_size(), 2);
  for (const v1::Trial& trial : shown.trials()) EXPECT_EQ(trial.state(), State_::STATE_CANCELED);
}

}  // namespace
}  // namespace ursa
