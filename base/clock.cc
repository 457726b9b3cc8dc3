#include "base/clock.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "base/log.h"

namespace ursa {
namespace {

// Since the machine's start, also while it was suspended.
absl::Duration Uptime() {
  timespec time{};
  URSA_CHECK(clock_gettime(CLOCK_BOOTTIME, &time) == 0);
  return absl::DurationFromTimespec(time);
}

// absl::Mutex waits by the wall's clock: who sets it back would lengthen every wait. One thread wakes those whose time
// has come instead.
class Alarms {
 public:
  // Waits on a mutex that its owner holds, except while it waits.
  struct Waiter {
    absl::Mutex* mu;
    bool is_due = false;  // guarded by *mu
  };
  using Key = std::pair<absl::Duration, int64_t>;  // uptime at which it is due, number

  Key Add(absl::Duration due, Waiter* waiter) {
    std::lock_guard<std::mutex> lock(mu_);
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
    const Key key{due, next_number_++};
    if (waiters_.emplace(key, waiter).first == waiters_.begin()) changed_.notify_one();
    return key;
  }

  // The waiter may go afterwards; its mutex is held, and may be given up for a moment.
  void Remove(const Key& key, Waiter* waiter) {
    if (waiter->is_due) return;
    {
      std::lock_guard<std::mutex> lock(mu_);
      if (waiters_.erase(key) > 0) return;
    }
    waiter->mu->Await(absl::Condition(&waiter->is_due));  // it is about to be told
  }

 private:
  void Run() {
    std::unique_lock<std::mutex> lock(mu_);
    while (true) {
      const absl::Duration left = waiters_.empty() ? kLookAgain : waiters_.begin()->first.first - Uptime();
      if (left > absl::ZeroDuration()) {
        changed_.wait_for(lock, absl::ToChronoNanoseconds(std::min(left, kLookAgain)));
        continue;
      }
      Waiter* const waiter = waiters_.begin()->second;
      waiters_.erase(waiters_.begin());
      lock.unlock();
      {
        absl::MutexLock its(waiter->mu);
        waiter->is_due = true;
      }
      lock.lock();
    }
  }

  static constexpr absl::Duration kLookAgain = absl::Seconds(1);  // a suspended machine's waits do not count that time

  std::mutex mu_;
  std::condition_variable changed_;
  std::map<Key, Waiter*> waiters_;
  int64_t next_number_ = 1;
  std::thread thread_;  // from the first wait on; never ends, as the clock
};

class RealClock : public Clock {
 public:
  absl::Time Now() override { return wall_at_start_ + (Uptime() - uptime_at_start_); }

  void SleepUntil(absl::Time wakeup_time) override {
    for (absl::Time now = Now(); now < wakeup_time; now = Now()) absl::SleepFor(wakeup_time - now);
  }

  bool AwaitWithDeadline(absl::Mutex* mu, const absl::Condition& condition, absl::Time deadline) override {
    if (condition.Eval() || Now() >= deadline) return condition.Eval();
    Alarms::Waiter waiter{mu};
    const Alarms::Key key = alarms_.Add(deadline - wall_at_start_ + uptime_at_start_, &waiter);
    const auto is_over = [&] { return waiter.is_due || condition.Eval(); };
    mu->Await(absl::Condition(&is_over));
    alarms_.Remove(key, &waiter);
    return condition.Eval();
  }

 private:
  const absl::Duration uptime_at_start_ = Uptime();
  const absl::Time wall_at_start_ = absl::Now();
  Alarms alarms_;
};

}  // namespace

Clock* Clock::Real() {
  static RealClock* const clock = new RealClock;
  return clock;
}

absl::Time FakeClock::Now() {
  absl::MutexLock lock(&mu_);
  return now_;
}

void FakeClock::SleepUntil(absl::Time wakeup_time) {
  absl::MutexLock lock(&mu_);
  auto awake = [this, wakeup_time]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return now_ >= wakeup_time; };
  mu_.Await(absl::Condition(&awake));
}

bool FakeClock::AwaitWithDeadline(absl::Mutex* mu, const absl::Condition& condition, absl::Time deadline) {
  // Two mutexes cannot be waited for at once: look again after a moment of real time.
  while (!mu->AwaitWithTimeout(condition, absl::Milliseconds(1))) {
    if (Now() >= deadline) return condition.Eval();
  }
  return true;
}

void FakeClock::Advance(absl::Duration step) {
  URSA_CHECK(step >= absl::ZeroDuration());
  absl::MutexLock lock(&mu_);
  now_ += step;
}

}  // namespace ursa
