#include "worker/agent/launch/spare_keeper.h"

#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using Spare = SpareKeeper::Spare;

class SpareKeeperTest : public testing::Test {
 protected:
  SpareKeeperTest() { Make(); }
  void Make() {
    SpareKeeper::Options options;
    options.threads = 2;
    options.settle = absl::Seconds(3);
    options.ready_limit = absl::Seconds(30);
    options.trust_limit = absl::Seconds(10);
    options.retry = {absl::Seconds(1), absl::Seconds(8), 2};
    keeper_ = std::make_unique<SpareKeeper>(options, &rng_);
  }
  // Lets time pass; what is to be done then: "", "start 2", "end".
  std::string After(absl::Duration time) {
    now_ += time;
    const SpareKeeper::Todo todo = keeper_->TakeTodo(now_);
    EXPECT_FALSE(todo.end && todo.start_threads.has_value());
    if (todo.start_threads) return absl::StrCat("start ", *todo.start_threads);
    return todo.end ? "end" : "";
  }
  std::string Now() { return After(absl::ZeroDuration()); }
  // A spare that is ready.
  void Warm() {
    keeper_->SetWanted(true);
    ASSERT_EQ(Now(), "start 2");
    keeper_->OnReady(now_);
  }
  // How long until something is to be done.
  absl::Duration Wait() const { return keeper_->NextWakeup() - now_; }

  SeededRng rng_{1};
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  std::unique_ptr<SpareKeeper> keeper_;
};

TEST_F(SpareKeeperTest, StartsOneWhenTasksMayComeAndKeepsIt) {
  EXPECT_EQ(After(absl::Hours(1)), "");
  EXPECT_EQ(keeper_->NextWakeup(), absl::InfiniteFuture());
  Warm();
  EXPECT_EQ(keeper_->NextWakeup(), absl::InfiniteFuture());
  EXPECT_EQ(After(absl::Hours(100)), "");
}

TEST_F(SpareKeeperTest, ATaskTakesTheSpareAndTheNextOneComesWhenItHasSettled) {
  Warm();
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kReady);
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kNone) << "there was one";
  EXPECT_EQ(Now(), "");
  EXPECT_EQ(Wait(), absl::Seconds(3));
  EXPECT_EQ(After(absl::Seconds(2)), "");
  EXPECT_EQ(keeper_->TakeFor(2, false, now_), Spare::kNone);
  EXPECT_EQ(After(absl::Seconds(2)), "") << "another has started";
  EXPECT_EQ(After(absl::Seconds(1)), "start 2");
}

TEST_F(SpareKeeperTest, OneThatWarmsUpIsTakenUnlessThatTakesLong) {
  keeper_->SetWanted(true);
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kNone) << "there is none";
  EXPECT_EQ(After(absl::Seconds(3)), "start 2");
  EXPECT_EQ(After(absl::Seconds(9)), "");
  EXPECT_EQ(keeper_->TakeFor(1, true, now_), Spare::kNone) << "it does not fit";
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kWarming);
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kNone);
  EXPECT_EQ(After(absl::Seconds(3)), "start 2");
  EXPECT_EQ(After(absl::Seconds(10)), "");
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kNone) << "who knows whether it will ever be ready";
  keeper_->OnReady(now_);
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kReady);
}

TEST_F(SpareKeeperTest, OnesThatAreTakenBeforeTheyAreReadyProveNothing) {
  keeper_->SetWanted(true);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(After(std::max(Wait(), absl::ZeroDuration())), "start 2");
    keeper_->OnEnded(now_);
  }
  EXPECT_EQ(After(Wait()), "start 2");
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kWarming);
  EXPECT_EQ(After(absl::Seconds(3)), "start 2");
  keeper_->OnEnded(now_);
  EXPECT_GE(Wait(), absl::Seconds(4)) << "the waits have not begun anew";
}

TEST_F(SpareKeeperTest, ATaskOfAnotherNumberOfThreadsLeavesIt) {
  Warm();
  EXPECT_EQ(keeper_->TakeFor(1, false, now_), Spare::kNone) << "auxiliary";
  EXPECT_EQ(After(absl::Seconds(10)), "") << "trainings are what it is for";
  EXPECT_EQ(keeper_->TakeFor(4, true, now_), Spare::kNone);
  EXPECT_EQ(After(absl::Seconds(2)), "");
  EXPECT_EQ(Wait(), absl::Seconds(1));
  EXPECT_EQ(After(absl::Seconds(1)), "end") << "the next training is likely to be as this";
  EXPECT_EQ(keeper_->TakeFor(2, false, now_), Spare::kNone) << "it is being ended";
  EXPECT_EQ(Now(), "");
  keeper_->OnEnded(now_);
  EXPECT_EQ(After(absl::Seconds(3)), "start 4");
  keeper_->OnReady(now_);
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kNone) << "back again, before the spare was changed";
  EXPECT_EQ(keeper_->TakeFor(4, true, now_), Spare::kReady);
}

TEST_F(SpareKeeperTest, AnAuxiliaryTaskTakesOneThatFits) {
  Warm();
  EXPECT_EQ(keeper_->TakeFor(2, false, now_), Spare::kReady);
}

TEST_F(SpareKeeperTest, NoneWhileNoTaskWillCome) {
  Warm();
  keeper_->SetWanted(false);
  EXPECT_EQ(Now(), "end");
  EXPECT_EQ(Now(), "") << "said once";
  keeper_->OnEnded(now_);
  EXPECT_EQ(After(absl::Hours(1)), "");
  keeper_->SetWanted(true);
  EXPECT_EQ(Now(), "start 2") << "its end was no failure";
  keeper_->SetWanted(false);
  EXPECT_EQ(Now(), "end") << "also while it warms up";
  keeper_->SetWanted(true);
  EXPECT_EQ(Now(), "") << "the old one has to be gone first";
  keeper_->OnReady(now_);
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kNone) << "it was killed as it became ready";
  keeper_->OnEnded(now_);
  EXPECT_EQ(After(absl::Seconds(3)), "start 2");
}

TEST_F(SpareKeeperTest, OneThatEndsByItselfIsTriedAgainAfterAWaitThatGrows) {
  const auto wait_after_failure = [this] {
    EXPECT_EQ(After(std::max(Wait(), absl::ZeroDuration())), "start 2");
    keeper_->OnEnded(now_);
    EXPECT_EQ(Now(), "");
    return Wait();
  };
  keeper_->SetWanted(true);
  for (const int seconds : {1, 2, 4, 8, 8}) {
    const absl::Duration wait = wait_after_failure();
    EXPECT_LE(wait, absl::Seconds(seconds));
    EXPECT_GE(wait, absl::Seconds(seconds) / 2);
  }
  // Ready or not: what kills a ready one at once would kill the next one.
  EXPECT_EQ(After(Wait()), "start 2");
  keeper_->OnReady(now_);
  keeper_->OnEnded(now_);
  EXPECT_GE(Wait(), absl::Seconds(4));
  // One that served, or lived for long, was well.
  EXPECT_EQ(After(Wait()), "start 2");
  keeper_->OnReady(now_);
  now_ += absl::Hours(1);
  keeper_->OnEnded(now_);
  EXPECT_LE(Wait(), absl::Seconds(1));
  EXPECT_EQ(After(Wait()), "start 2");
  keeper_->OnReady(now_);
  EXPECT_EQ(keeper_->TakeFor(2, true, now_), Spare::kReady);
  EXPECT_EQ(After(absl::Seconds(3)), "start 2");
  keeper_->OnEnded(now_);
  EXPECT_LE(Wait(), absl::Seconds(1));
}

TEST_F(SpareKeeperTest, OneThatIsNotReadyInTimeIsEnded) {
  keeper_->SetWanted(true);
  EXPECT_EQ(Now(), "start 2");
  EXPECT_EQ(Wait(), absl::Seconds(30));
  EXPECT_EQ(After(absl::Seconds(30)), "end");
  keeper_->OnEnded(now_);
  EXPECT_EQ(Now(), "") << "a failure";
  EXPECT_GE(Wait(), absl::Milliseconds(500));
}

}  // namespace
}  // namespace ursa
