#include "experiments/search/search.h"

#include <limits>
#include <string>
#include <vector>

#include "experiments/search/search_testlib.h"
#include "experiments/search/searcher_checks.h"
#include "experiments/spec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// 4 trials, rungs at 1, 2 and 4 epochs, the better half goes on.
v1::ExperimentSpec Halving(const std::string& more) {
  return ResolvedSearch("adaptive_asha { max_trials: 4 max_epochs: 4 divisor: 2 mode: \"aggressive\" " + more + " }");
}

TEST(SearchTest, AshaComputedByHand) {
  Search search(Halving("max_concurrent_trials: 2"));
  EXPECT_THAT(Texts(search.Start()), ElementsAre("create 1", "train 1 until 1", "create 2", "train 2 until 1"));
  EXPECT_THAT(Texts(search.Apply(Validated(1, 1, 0.5))), ElementsAre("create 3", "train 3 until 1"));
  EXPECT_EQ(search.trials()[0].state, SearchTrial::State::kWaiting);
  // 1 of 2 may go on.
  EXPECT_THAT(Texts(search.Apply(Validated(2, 1, 0.4))), ElementsAre("train 2 until 2"));
  // Of 4 in all 2 will go on: trial 1, third already, has no chance. Trial 3 is first of 3.
  EXPECT_THAT(Texts(search.Apply(Validated(3, 1, 0.3))),
              ElementsAre("close 1 STOPPED: not among the best 1/2 at epoch 1", "train 3 until 2"));
  EXPECT_THAT(Texts(search.Apply(Validated(2, 2, 0.35))), ElementsAre("create 4", "train 4 until 1"));
  EXPECT_THAT(Texts(search.Apply(Validated(3, 2, 0.2))),
              ElementsAre("close 2 STOPPED: not among the best 1/2 at epoch 2", "train 3 until 4"));
  EXPECT_THAT(Texts(search.Apply(Validated(4, 1, 0.6))),
              ElementsAre("close 4 STOPPED: not among the best 1/2 at epoch 1"));
  EXPECT_FALSE(search.finished());
  EXPECT_THAT(Texts(search.Apply(Validated(3, 3, 0.15))), IsEmpty());
  EXPECT_THAT(Texts(search.Apply(Validated(3, 4, 0.1))), ElementsAre("close 3 COMPLETED", "finish"));
  EXPECT_TRUE(search.finished());
  EXPECT_EQ(search.best_trial(), 3);
}

TEST(SearchTest, FailuresCountAsArrivals) {
  Search search(Halving("max_concurrent_trials: 4"));
  search.Start();
  search.Apply(Validated(1, 1, 0.1));
  EXPECT_THAT(Texts(search.Apply(Validated(2, 1, 0.2))), ElementsAre("train 1 until 2"));
  search.Apply(Validated(1, 2, 0.1));
  // With two that failed 2 of 4 may go on.
  EXPECT_THAT(Texts(search.Apply(Failed(3))), ElementsAre("close 3 FAILED"));
  EXPECT_THAT(Texts(search.Apply(Failed(4))), ElementsAre("close 4 FAILED", "train 2 until 2"));
  EXPECT_THAT(Texts(search.Apply(Validated(2, 2, 0.3))),
              ElementsAre("close 2 STOPPED: not among the best 1/2 at epoch 2", "train 1 until 4"));
}

TEST(SearchTest, LargerIsBetterWhereTheRecipeSaysSo) {
  Search search(Halving("max_concurrent_trials: 2 smaller_is_better: false"));
  search.Start();
  search.Apply(Validated(1, 1, 0.5));
  EXPECT_THAT(Texts(search.Apply(Validated(2, 1, 0.4))), ElementsAre("train 1 until 2"));
  EXPECT_EQ(search.best_trial(), 1);
}

TEST(SearchTest, TiesGoToTheLowerNumber) {
  Search search(Halving("max_concurrent_trials: 4"));
  search.Start();
  EXPECT_THAT(Texts(search.Apply(Validated(4, 1, 0.5))), IsEmpty());
  EXPECT_THAT(Texts(search.Apply(Validated(2, 1, 0.5))), ElementsAre("train 2 until 2"));
  EXPECT_EQ(search.best_trial(), 2);
}

TEST(SearchTest, FailuresAndNanTakeTheLastPlaces) {
  Search search(ResolvedSearch("adaptive_asha { max_trials: 4 max_epochs: 2 divisor: 2 mode: \"aggressive\" }"));
  EXPECT_EQ(search.Start().size(), 8u);
  EXPECT_THAT(Texts(search.Apply(Failed(1))), ElementsAre("close 1 FAILED"));
  EXPECT_THAT(Texts(search.Apply(Validated(2, 1, kNan))),
              ElementsAre("close 2 STOPPED: its valid_loss at epoch 1 is not finite"));
  EXPECT_THAT(Texts(search.Apply(Validated(3, 1, 0.5))), ElementsAre("train 3 until 2"));
  EXPECT_THAT(Texts(search.Apply(Validated(4, 1, 0.4))), ElementsAre("train 4 until 2"));
  EXPECT_THAT(Texts(search.Apply(Failed(4))), ElementsAre("close 4 FAILED"));
  EXPECT_THAT(Texts(search.Apply(Validated(3, 2, 0.45))), ElementsAre("close 3 COMPLETED", "finish"));
  EXPECT_EQ(search.best_trial(), 3) << "the one that failed was better, but there is nothing to take of it";
}

TEST(SearchTest, AllFail) {
  Search search(Halving("max_concurrent_trials: 1"));
  search.Start();
  for (int32_t trial = 1; trial <= 3; ++trial) {
    EXPECT_EQ(Texts(search.Apply(Failed(trial))).front(), "close " + std::to_string(trial) + " FAILED");
  }
  EXPECT_THAT(Texts(search.Apply(Failed(4))), ElementsAre("close 4 FAILED", "finish"));
  EXPECT_EQ(search.best_trial(), std::nullopt);
}

TEST(SearchTest, ATrialThatEndedByItselfCompetesWithItsLastValue) {
  const auto until_the_last = [](Search* search) {
    search->Start();
    search->Apply(Validated(1, 1, 0.5));
    EXPECT_THAT(Texts(search->Apply(Validated(2, 1, 0.4))), ElementsAre("train 2 until 2"));
    EXPECT_THAT(Texts(search->Apply(Ended(2))), ElementsAre("create 3", "train 3 until 1"));
    EXPECT_EQ(Texts(search->Apply(Validated(3, 1, 0.6))).front(), "close 3 STOPPED: not among the best 1/2 at epoch 1");
    EXPECT_EQ(Texts(search->Apply(Validated(4, 1, 0.3))).back(), "train 4 until 2");
  };
  Search loses(Halving("max_concurrent_trials: 1"));
  until_the_last(&loses);
  EXPECT_THAT(Texts(loses.Apply(Validated(4, 2, 0.35))), ElementsAre("close 2 COMPLETED", "train 4 until 4"));
  Search wins(Halving("max_concurrent_trials: 1"));
  until_the_last(&wins);
  EXPECT_THAT(Texts(wins.Apply(Validated(4, 2, 0.45))),
              ElementsAre("close 4 STOPPED: not among the best 1/2 at epoch 2", "close 2 COMPLETED", "finish"));
}

TEST(SearchTest, EndedJustAtItsRung) {
  Search search(Halving("max_concurrent_trials: 1"));
  search.Start();
  search.Apply(Validated(1, 1, 0.1));
  EXPECT_THAT(Texts(search.Apply(Ended(1))), IsEmpty()) << "it waits; that it will train no more is known now";
  EXPECT_THAT(Texts(search.Apply(Validated(2, 1, 0.2))), ElementsAre("create 3", "train 3 until 1"));
  EXPECT_EQ(search.trials()[0].rung, 1) << "promoted without training";
}

TEST(SearchTest, AWaitingTrialThatFailsKeepsItsPlace) {
  Search search(Halving("max_concurrent_trials: 1"));
  search.Start();
  search.Apply(Validated(1, 1, 0.1));
  EXPECT_THAT(Texts(search.Apply(Failed(1))), ElementsAre("close 1 FAILED"));
  EXPECT_THAT(Texts(search.Apply(Validated(2, 1, 0.2))), ElementsAre("create 3", "train 3 until 1"));
}

TEST(SearchTest, WhatIsKnownOrLateChangesNothing) {
  Search search(Halving("max_concurrent_trials: 2"));
  search.Start();
  search.Apply(Validated(1, 1, 0.5));
  search.Apply(Validated(2, 1, 0.4));
  EXPECT_THAT(search.Apply(Validated(2, 1, 0.4)), IsEmpty()) << "again, after a restart";
  EXPECT_THAT(search.Apply(Validated(1, 2, 0.01)), IsEmpty()) << "it waits, and was not stopped in time";
  EXPECT_EQ(search.trials()[0].epochs, 1);
  search.Apply(Validated(3, 1, 0.3));
  ASSERT_EQ(search.trials()[0].state, SearchTrial::State::kClosed);
  EXPECT_THAT(search.Apply(Failed(1)), IsEmpty());
  EXPECT_EQ(search.trials()[0].outcome, TrialOutcome::kStopped);
}

TEST(SearchTest, BracketsStartOneAfterTheOtherAndCompeteAlone) {
  Search search(ResolvedSearch("adaptive_asha { max_trials: 6 max_epochs: 4 }"));  // 4: 1 4; 2: 4
  EXPECT_THAT(Texts(search.Start()),
              ElementsAre("create 1", "train 1 until 1", "create 2", "train 2 until 1", "create 3", "train 3 until 1",
                          "create 4", "train 4 until 1", "create 5", "train 5 until 4", "create 6", "train 6 until 4"));
  search.Apply(Validated(5, 1, 0.01));
  search.Apply(Validated(5, 4, 0.01));
  EXPECT_THAT(Texts(search.Apply(Validated(1, 1, 0.5))), IsEmpty());
  EXPECT_EQ(Texts(search.Apply(Validated(2, 1, 0.6))).size(), 1u);
  EXPECT_EQ(Texts(search.Apply(Validated(3, 1, 0.7))).size(), 1u);
  EXPECT_THAT(Texts(search.Apply(Validated(4, 1, 0.8))),
              ElementsAre("close 4 STOPPED: not among the best 1/4 at epoch 1", "train 1 until 4"));
  search.Apply(Validated(1, 4, 0.4));
  EXPECT_THAT(Texts(search.Apply(Validated(6, 4, 0.3))), ElementsAre("close 6 COMPLETED", "finish"));
  EXPECT_EQ(search.best_trial(), 5);
}

TEST(SearchTest, NoSearcherIsASearchOfOneTrial) {
  v1::ExperimentSpec spec = ResolvedSearch("random { max_trials: 1 }");
  spec.clear_searcher();
  spec.clear_hyperparameters();
  Search search(spec);
  EXPECT_THAT(Texts(search.Start()), ElementsAre("create 1", "train 1 until 4"));
  EXPECT_TRUE(search.trials()[0].hyperparameters.empty());
  EXPECT_EQ(search.metric(), "valid_loss");
  EXPECT_THAT(search.Apply(Validated(1, 1, 0.5)), IsEmpty());
  EXPECT_THAT(Texts(search.Apply(Ended(1))), ElementsAre("close 1 COMPLETED", "finish"));
  EXPECT_EQ(search.best_trial(), 1);
}

TEST(SearchTest, GridTrialsTrainForTheEpochsTheyHave) {
  Search search(
      ResolvedSearch("grid { max_concurrent_trials: 2 }",
                     {"hyperparameters[0]={name: \"train.fine_tune.epochs\" categorical {numbers: [1, 7]}}"}));
  EXPECT_THAT(Texts(search.Start()), ElementsAre("create 1", "train 1 until 2", "create 2", "train 2 until 8"));
  EXPECT_EQ(search.num_trials(), 2);
}

TEST(SearchTest, MedianStopping) {
  Search search(ResolvedSearch("random { max_trials: 5 max_concurrent_trials: 4 median_stopping {} }"));
  search.Start();
  search.Apply(Validated(1, 1, 0.1));
  search.Apply(Validated(2, 1, 0.2));
  EXPECT_THAT(search.Apply(Validated(3, 1, 0.3)), IsEmpty());
  EXPECT_THAT(
      Texts(search.Apply(Validated(4, 1, 0.25))),
      ElementsAre("close 4 STOPPED: its best valid_loss up to epoch 1, 0.25, is worse than 0.2, the median of the "
                  "other trials' means",
                  "create 5", "train 5 until 4"));
  EXPECT_THAT(search.Apply(Validated(5, 1, 0.22)), IsEmpty());
  // Trial 3 has the best value of its own so far, though a bad mean.
  search.Apply(Validated(1, 2, 0.1));
  search.Apply(Validated(2, 2, 0.2));
  search.Apply(Validated(5, 2, 0.2));
  EXPECT_THAT(search.Apply(Validated(3, 2, 0.15)), IsEmpty());
  // The last epoch is worth having, whatever the others are like.
  for (int32_t trial : {1, 2, 5}) {
    search.Apply(Validated(trial, 3, 0.1));
    search.Apply(Validated(trial, 4, 0.1));
  }
  search.Apply(Validated(3, 3, 0.1));
  EXPECT_THAT(Texts(search.Apply(Validated(3, 4, 0.9))), ElementsAre("close 3 COMPLETED", "finish"));
}

// Trials beyond those that are checked at submit may turn out to be impossible.
TEST(SearchTest, ATrialWhoseValuesMakeNoRecipeFails) {
  v1::ExperimentSpec spec = ResolvedSearch("grid {}", {"hyperparameters[0].log.count=2"});
  spec.mutable_hyperparameters(0)->mutable_log()->set_high(100);
  spec.mutable_hyperparameters(0)->mutable_log()->set_count(kTrialsCheckedMax + 1);
  Search search(spec);
  EXPECT_THAT(Texts(search.Start()), ElementsAre("create 1", "train 1 until 4", "create 2", "train 2 until 4"));
  for (int32_t trial = 1; trial < kTrialsCheckedMax - 1; ++trial) search.Apply(Validated(trial, 4, 0.5));
  EXPECT_THAT(
      Texts(search.Apply(Validated(kTrialsCheckedMax - 1, 4, 0.5))),
      ElementsAre("close 999 COMPLETED", "create 1001",
                  HasSubstr("close 1001 FAILED: train.fine_tune.base_lr: 100; allowed: more than 0, at most 10")));
  EXPECT_THAT(Texts(search.Apply(Validated(kTrialsCheckedMax, 4, 0.5))), ElementsAre("close 1000 COMPLETED", "finish"));
}

}  // namespace
}  // namespace ursa
