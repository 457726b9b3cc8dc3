#include "base/clock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/time/clock.h"

namespace ursa {
namespace {

TEST(RealClockTest, BeginsAtTheWallsTimeAndNeverGoesBack) {
  Clock* const clock = Clock::Real();
  EXPECT_LT(absl::AbsDuration(clock->Now() - absl::Now()), absl::Minutes(1));
  absl::Time last = clock->Now();
  for (int i = 0; i < 1000; ++i) {
    const absl::Time now = clock->Now();
    EXPECT_GE(now, last);
    last = now;
  }
  clock->SleepUntil(last + absl::Milliseconds(2));
  EXPECT_GE(clock->Now(), last + absl::Milliseconds(2));
}

TEST(RealClockTest, AWaitEndsAtItsDeadlineOrWhenItsConditionHolds) {
  Clock* const clock = Clock::Real();
  absl::Mutex mu;
  bool is_set = false;
  absl::MutexLock lock(&mu);
  const absl::Time deadline = clock->Now() + absl::Milliseconds(20);
  EXPECT_FALSE(clock->AwaitWithDeadline(&mu, absl::Condition(&is_set), deadline));
  EXPECT_GE(clock->Now(), deadline);
  EXPECT_FALSE(clock->AwaitWithDeadline(&mu, absl::Condition(&is_set), absl::InfinitePast()));

  std::thread setter([&] {
    absl::MutexLock its(&mu);
    is_set = true;
  });
  EXPECT_TRUE(clock->AwaitWithDeadline(&mu, absl::Condition(&is_set), absl::InfiniteFuture()));
  EXPECT_TRUE(clock->AwaitWithDeadline(&mu, absl::Condition(&is_set), absl::InfinitePast()));
  mu.Unlock();
  setter.join();
  mu.Lock();
}

// Deadlines and conditions that come at the same moment, on mutexes that do not outlive their wait.
TEST(RealClockTest, ManyWaitersAreWokenOnceEach) {
  Clock* const clock = Clock::Real();
  std::atomic<int> num_over = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        absl::Mutex mu;
        bool is_set = false;
        std::thread setter([&] {
          clock->SleepUntil(clock->Now() + absl::Microseconds(50 * t));
          absl::MutexLock lock(&mu);
          is_set = true;
        });
        {
          absl::MutexLock lock(&mu);
          const absl::Time deadline = clock->Now() + absl::Microseconds(100 + i);
          const bool held = clock->AwaitWithDeadline(&mu, absl::Condition(&is_set), deadline);
          if (held == is_set && (held || clock->Now() >= deadline)) ++num_over;
        }
        setter.join();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_over, 800);
}

}  // namespace
}  // namespace ursa
