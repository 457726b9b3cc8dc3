#include "worker/agent/health/slot_health.h"

#include <memory>

#include "gtest/gtest.h"

namespace ursa {
namespace {

constexpr int64_t kGib = int64_t{1} << 30;
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

class SlotHealthTest : public testing::Test {
 protected:
  void Make(int num_slots, bool has_devices) {
    std::vector<v1::WorkerSlot> devices(has_devices ? static_cast<size_t>(num_slots) : 0);
    for (v1::WorkerSlot& device : devices) device.set_device("NVIDIA H100");
    gpus_.assign(devices.size(), GpuReading());
    health_ = std::make_unique<SlotHealth>(SlotHealth::Options(), num_slots, std::move(devices), &rng_);
  }
  // Lets time pass and does what is to be done, as `gpus_`, `free_disk_` and `self_check_` have it.
  void Step(absl::Duration time = absl::ZeroDuration()) {
    now_ += time;
    do {
      const SlotHealth::Todo todo = health_->TakeTodo(now_);
      num_readings_ += todo.read;
      num_self_checks_ += todo.self_check;
      released_.insert(released_.end(), todo.released.begin(), todo.released.end());
      if (todo.read && !is_stuck_) health_->OnReading({free_disk_, gpus_}, now_);
      if (todo.self_check) health_->OnSelfCheck(self_check_, now_);
    } while (health_->NextWakeup() <= now_);
  }
  // The reasons of the slots, in order; "" for one that is offered.
  std::vector<std::string> Reasons(size_t num_slots) const {
    std::vector<std::string> reasons(num_slots);
    for (const v1::WorkerSlot& state : health_->States()) reasons[static_cast<size_t>(state.index())] = state.reason();
    return reasons;
  }

  SeededRng rng_{1};
  std::unique_ptr<SlotHealth> health_;
  absl::Time now_ = kStart;
  int64_t free_disk_ = 100 * kGib;
  std::vector<absl::StatusOr<GpuReading>> gpus_;
  absl::Status self_check_;
  bool is_stuck_ = false;  // readings are not answered
  int num_readings_ = 0;
  int num_self_checks_ = 0;
  std::vector<int32_t> released_;
};

using Words = std::vector<std::string>;
using Slots = std::vector<int32_t>;

TEST_F(SlotHealthTest, NothingIsOfferedBeforeEachCheckHasAnswered) {
  Make(2, false);
  EXPECT_FALSE(health_->is_checked());
  SlotHealth::Todo todo = health_->TakeTodo(now_);
  EXPECT_TRUE(todo.read);
  EXPECT_TRUE(todo.self_check);
  EXPECT_FALSE(health_->TakeTodo(now_).read);  // once
  health_->OnReading({free_disk_, {}}, now_);
  EXPECT_FALSE(health_->is_checked());
  health_->OnSelfCheck(absl::OkStatus(), now_);
  EXPECT_TRUE(health_->is_checked());
  EXPECT_TRUE(health_->States().empty());
  EXPECT_EQ(health_->NextWakeup(), now_ + absl::Seconds(30));
}

TEST_F(SlotHealthTest, WhatAReadingSaysOfASlot) {
  const struct {
    absl::StatusOr<GpuReading> gpu;
    std::string reason;
  } kCases[] = {
      {GpuReading{kGib, 0, false, false}, ""},
      {GpuReading{kGib + kGib / 2, 0, false, false},
       "1.5 GiB of the device's memory are in use though no task runs on it, at most 1.0 GiB is allowed"},
      {GpuReading{0, 3, false, false}, "the device had 3 uncorrectable memory errors since its last reset"},
      {GpuReading{0, 0, true, false}, "the device has to be reset, to take a bad row of its memory out of use"},
      {GpuReading{0, 1, true, true}, "the device has no spare row left for one of its memory that is bad"},
      {absl::InternalError("NVML: device 1: memory: GPU is lost"), "NVML: device 1: memory: GPU is lost"},
  };
  for (const auto& c : kCases) {
    Make(2, true);
    gpus_[1] = c.gpu;
    Step();
    EXPECT_EQ(Reasons(2), (Words{"", c.reason}));
    EXPECT_EQ(health_->States().size(), 2u);  // both have devices to tell of
  }
}

TEST_F(SlotHealthTest, AFaultOfTheMachineIsOfAllItsSlots) {
  Make(2, false);
  free_disk_ = kGib / 4;
  Step();
  const std::string full = "the worker's disk has 0.2 GiB free, at least 0.5 GiB is wanted";
  EXPECT_EQ(Reasons(2), (Words{full, full}));
  free_disk_ = kGib;
  Step(absl::Seconds(1));
  EXPECT_EQ(Reasons(2), (Words{"", ""}));
}

TEST_F(SlotHealthTest, WhatFailedIsCheckedAgainAtGrowingIntervals) {
  Make(1, false);
  self_check_ = absl::InternalError("exit code 127: libtorch.so: cannot open shared object file");
  Step();
  EXPECT_EQ(Reasons(1), (Words{"ursa-task: cannot start, exit code 127: libtorch.so: cannot open shared object file"}));
  for (int second = 0; second < 60; ++second) Step(absl::Seconds(1));
  EXPECT_GE(num_self_checks_, 5);
  EXPECT_LE(num_self_checks_, 9);
  self_check_ = absl::OkStatus();
  Step(absl::Seconds(60));
  EXPECT_EQ(Reasons(1), (Words{""}));
  const int num_before = num_self_checks_;
  for (int minute = 0; minute < 10; ++minute) Step(absl::Minutes(1));
  EXPECT_EQ(num_self_checks_, num_before);
}

TEST_F(SlotHealthTest, ASelfCheckThatHangsIsEnded) {
  Make(1, false);
  health_->TakeTodo(now_);
  health_->OnReading({free_disk_, {}}, now_);
  now_ += absl::Seconds(30);
  EXPECT_TRUE(health_->TakeTodo(now_).end_self_check);
  EXPECT_FALSE(health_->TakeTodo(now_).end_self_check);  // once
  health_->OnSelfCheck(absl::InternalError("signal 9"), now_);
  EXPECT_EQ(Reasons(1), (Words{"ursa-task: cannot start, it did not end within 30s"}));
  EXPECT_TRUE(health_->is_checked());
}

TEST_F(SlotHealthTest, AReadingThatHangsIsAFaultUntilItIsAnswered) {
  Make(1, true);
  is_stuck_ = true;
  Step();
  EXPECT_FALSE(health_->is_checked());
  Step(absl::Seconds(10));
  EXPECT_TRUE(health_->is_checked());
  EXPECT_EQ(Reasons(1), (Words{"the machine was not read within 10s"}));
  Step(absl::Minutes(10));
  EXPECT_EQ(num_readings_, 1);  // a second one would hang as well
  health_->OnReading({free_disk_, gpus_}, now_);
  EXPECT_EQ(Reasons(1), (Words{""}));
}

TEST_F(SlotHealthTest, ACpuSlotIsFreeWhenItsProcessIsGone) {
  Make(1, false);
  Step();
  health_->OnStarted(0);
  health_->OnReaped(0, now_);
  EXPECT_EQ(health_->TakeTodo(now_).released, (Slots{0}));
  health_->OnReaped(0, now_);  // of a process that never had it
  EXPECT_TRUE(health_->TakeTodo(now_).released.empty());
}

TEST_F(SlotHealthTest, ADeviceIsFreeWhenItsMemoryIs) {
  Make(2, true);
  Step();
  health_->OnStarted(1);
  gpus_[1]->used_bytes = 40 * kGib;
  Step(absl::Seconds(30));
  EXPECT_EQ(Reasons(2), (Words{"", ""}));  // it is our task's
  health_->OnReaped(1, now_);
  Step();
  EXPECT_TRUE(released_.empty());
  EXPECT_EQ(Reasons(2), (Words{"", ""}));  // the driver is given a moment
  Step(absl::Milliseconds(100));
  gpus_[1]->used_bytes = 0;
  Step(absl::Milliseconds(100));
  EXPECT_EQ(released_, (Slots{1}));
  EXPECT_EQ(num_readings_, 5);
}

TEST_F(SlotHealthTest, AReadingThatBeganBeforeTheEndTellsNothingOfIt) {
  Make(1, true);
  Step();
  health_->OnStarted(0);
  now_ += absl::Seconds(30);
  ASSERT_TRUE(health_->TakeTodo(now_).read);  // it looked before the task took its memory, say
  health_->OnReaped(0, now_);
  health_->OnReading({free_disk_, gpus_}, now_);
  EXPECT_TRUE(health_->TakeTodo(now_).released.empty());
  Step(absl::Milliseconds(100));
  EXPECT_EQ(released_, (Slots{0}));
}

TEST_F(SlotHealthTest, MemoryThatDoesNotComeBackSetsTheSlotAsideUntilItDoes) {
  Make(1, true);
  Step();
  health_->OnStarted(0);
  gpus_[0]->used_bytes = 3 * kGib;
  health_->OnReaped(0, now_);
  for (int i = 0; i < 99; ++i) Step(absl::Milliseconds(100));
  EXPECT_TRUE(released_.empty());
  Step(absl::Milliseconds(100));
  EXPECT_EQ(released_, (Slots{0}));
  EXPECT_EQ(Reasons(1),
            (Words{"3.0 GiB of the device's memory are in use though no task runs on it, at most 1.0 GiB is "
                   "allowed"}));
  gpus_[0]->used_bytes = 0;
  Step(absl::Seconds(2));
  EXPECT_EQ(Reasons(1), (Words{""}));
}

}  // namespace
}  // namespace ursa
