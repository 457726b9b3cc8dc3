#include "coordinator/services/poller_rest.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace ursa {
namespace {

// Says when somebody has begun to wait.
class WatchedClock : public FakeClock {
 public:
  bool AwaitWithDeadline(absl::Mutex* mu, const absl::Condition& condition, absl::Time deadline) override {
    {
      absl::MutexLock lock(&watch_mu_);
      ++num_waits_;
    }
    return FakeClock::AwaitWithDeadline(mu, condition, deadline);
  }
  bool WaitForWaits(int count) {
    absl::MutexLock lock(&watch_mu_);
    const auto is_reached = [&] {
      watch_mu_.AssertReaderHeld();
      return num_waits_ >= count;
    };
    return watch_mu_.AwaitWithTimeout(absl::Condition(&is_reached), absl::Seconds(30));
  }

 private:
  absl::Mutex watch_mu_;
  int num_waits_ ABSL_GUARDED_BY(watch_mu_) = 0;
};

// Threads that each bring a heartbeat when told to.
class PollerRestTest : public testing::Test {
 protected:
  class Poller {
   public:
    explicit Poller(PollerRest* rest) : rest_(*rest), thread_([this] { Run(); }) {}
    ~Poller() {
      {
        absl::MutexLock lock(&mu_);
        is_ending_ = true;
      }
      thread_.join();
    }
    void Beat(int count) {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(
          +[](int* left) { return *left == 0; }, &left_));
      left_ = count;
    }
    // Whether it comes to have brought all.
    bool IsBack() {
      absl::MutexLock lock(&mu_);
      return mu_.AwaitWithTimeout(absl::Condition(
                                      +[](int* left) { return *left == 0; }, &left_),
                                  absl::Seconds(30));
    }

   private:
    void Run() {
      while (true) {
        {
          absl::MutexLock lock(&mu_);
          mu_.Await(absl::Condition(
              +[](Poller* self) {
                self->mu_.AssertReaderHeld();
                return self->left_ > 0 || self->is_ending_;
              },
              this));
          if (is_ending_) return;
        }
        rest_.OnHeartbeat();
        absl::MutexLock lock(&mu_);
        --left_;
      }
    }
    PollerRest& rest_;
    absl::Mutex mu_;
    int left_ ABSL_GUARDED_BY(mu_) = 0;
    bool is_ending_ ABSL_GUARDED_BY(mu_) = false;
    std::thread thread_;
  };

  static constexpr int kMany = 20;

  // Of an interval, by both threads; then the next interval begins.
  void BeatOften(int count = kMany) {
    first_.Beat(count - 1);
    ASSERT_TRUE(first_.IsBack());
    second_.Beat(1);
    ASSERT_TRUE(second_.IsBack());
    clock_.Advance(kRest);
  }
  // The one that is told to rests, for the `count`th time of all.
  bool WaitUntilResting(int count) { return clock_.WaitForWaits(count) && rest_.num_resting() == 1; }

  static constexpr absl::Duration kRest = absl::Milliseconds(20);
  WatchedClock clock_;
  PollerRest rest_{&clock_};
  Poller first_{&rest_};
  Poller second_{&rest_};
};

TEST_F(PollerRestTest, AllThreadsButOneRestWhileThereAreManyHeartbeats) {
  BeatOften();
  first_.Beat(1);
  ASSERT_TRUE(WaitUntilResting(1));
  second_.Beat(5);  // this one goes on
  EXPECT_TRUE(second_.IsBack());
  EXPECT_EQ(rest_.num_resting(), 1);
  clock_.Advance(kRest);
  EXPECT_TRUE(first_.IsBack());
  EXPECT_EQ(rest_.num_resting(), 0);
}

TEST_F(PollerRestTest, OtherWorkWakesAtOnceAndKeepsAwake) {
  BeatOften();
  first_.Beat(1);
  ASSERT_TRUE(WaitUntilResting(1));
  rest_.OnOtherWork();
  EXPECT_TRUE(first_.IsBack());  // no time has passed
  BeatOften();
  BeatOften();
  first_.Beat(1);
  EXPECT_TRUE(first_.IsBack());
  clock_.Advance(absl::Milliseconds(60));  // 100 ms since the other work, and the heartbeats had a break
  BeatOften();
  first_.Beat(1);
  EXPECT_TRUE(WaitUntilResting(2));
  clock_.Advance(kRest);
}

TEST_F(PollerRestTest, NobodyRestsWhileThereAreFewHeartbeats) {
  BeatOften(kMany - 1);
  first_.Beat(1);
  EXPECT_TRUE(first_.IsBack());
  clock_.Advance(kRest);
  BeatOften();
  clock_.Advance(kRest);  // none in this one
  first_.Beat(1);
  EXPECT_TRUE(first_.IsBack());
}

TEST_F(PollerRestTest, NobodyRestsWhileThereAreMoreThanOneThreadShouldCarry) {
  BeatOften(451);
  first_.Beat(1);
  EXPECT_TRUE(first_.IsBack());
  EXPECT_EQ(rest_.num_resting(), 0);
}

TEST_F(PollerRestTest, AThreadThatIsAloneNeverRests) {
  for (int i = 0; i < 3; ++i) {
    first_.Beat(kMany);
    ASSERT_TRUE(first_.IsBack());
    clock_.Advance(kRest);
  }
  EXPECT_EQ(rest_.num_resting(), 0);
}

}  // namespace
}  // namespace ursa
