#include "coordinator/scheduling/waiting_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"

namespace ursa {
namespace {

using Job = WaitingQueue::Job;

SlotsByClass Limits(int64_t at_0, int64_t at_1, int64_t at_2) { return {SlotsByLevel{at_0, at_1, at_2}}; }
const SlotsByClass kAny = Limits(1000, 1000, 1000);
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

SchedulingOptions Options() {
  SchedulingOptions options;
  options.aging_step = absl::Seconds(10);
  return options;
}

class WaitingQueueTest : public testing::Test {
 protected:
  // Submits in the order of the calls.
  int32_t Add(const std::string& user, int32_t priority = 50, int32_t num_ranks = 1, absl::Time since = kStart,
              std::optional<int32_t> experiment_slots_max = std::nullopt) {
    ++num_added_;
    Job job;
    job.id = {experiment_slots_max ? 1 : 100 + num_added_, num_added_};
    job.user = queue_.shares().IndexOf({"", user});
    job.priority = priority;
    job.min_ranks = job.max_ranks = num_ranks;
    job.position = num_added_;
    job.since = since;
    job.experiment_slots_max = experiment_slots_max;
    return queue_.Add(job);
  }
  void Hold(const std::string& user, int64_t num_slots) {
    queue_.shares().AddHeld(queue_.shares().IndexOf({"", user}), num_slots, kStart);
  }

  WaitingQueue queue_{Options()};
  int64_t num_added_ = 0;
};

TEST_F(WaitingQueueTest, PriorityThenShareThenPosition) {
  queue_.SetTime(kStart);
  const int32_t first = Add("ann"), second = Add("ann"), of_bob = Add("bob"), high = Add("ann", 51),
                low = Add("eve", 49);
  Hold("ann", 2);
  Hold("bob", 1);
  EXPECT_EQ(queue_.InOrder(9), (std::vector<int32_t>{high, of_bob, first, second, low}));
  EXPECT_EQ(queue_.FindFirst(kAny), high);
  queue_.Remove(high);
  EXPECT_EQ(queue_.FindFirst(kAny), of_bob);
  queue_.Remove(of_bob);
  EXPECT_EQ(queue_.FindFirst(kAny), first);
}

TEST_F(WaitingQueueTest, TheListTakesTurnsAsStartsWould) {
  queue_.SetTime(kStart);
  const int32_t a1 = Add("ann"), a2 = Add("ann"), a3 = Add("ann"), b1 = Add("bob"), b2 = Add("bob");
  EXPECT_EQ(queue_.InOrder(9), (std::vector<int32_t>{a1, b1, a2, b2, a3}));
  EXPECT_EQ(queue_.InOrder(2), (std::vector<int32_t>{a1, b1}));
}

TEST_F(WaitingQueueTest, WhatDoesNotFitIsPassedOver) {
  const int32_t large = Add("ann", 60, 8), small = Add("ann", 50, 2);
  EXPECT_EQ(queue_.FindFirst(Limits(8, 8, 8)), large);
  EXPECT_EQ(queue_.FindFirst(Limits(7, 7, 7)), small);
  EXPECT_EQ(queue_.FindFirst(Limits(1, 1, 1)), WaitingQueue::kNone);
  EXPECT_EQ(queue_.FindFirst(Limits(0, 9, 9)),
            WaitingQueue::kNone);  // both ask for the lowest level, of which none is free
}

TEST_F(WaitingQueueTest, EachClassOfLabelsHasALimitOfItsOwn) {
  const int32_t any = Add("ann", 50, 4);
  const int32_t added = Add("ann", 60, 2);
  Job job = queue_.job(added);
  queue_.Remove(added);
  job.label_class = 2;
  const int32_t labelled = queue_.Add(job);
  SlotsByClass limits = Limits(4, 4, 4);
  limits.push_back({9, 9, 9});  // of a class that nothing asks for
  limits.push_back({2, 2, 2});
  EXPECT_EQ(queue_.FindFirst(limits), labelled);
  limits[2] = {1, 1, 1};
  EXPECT_EQ(queue_.FindFirst(limits), any);
  limits[0] = {3, 3, 3};
  EXPECT_EQ(queue_.FindFirst(limits), WaitingQueue::kNone);
}

TEST_F(WaitingQueueTest, WaitingRaisesTheLevelByOneForEachStepUpToTheFront) {
  queue_.SetTime(kStart);
  const int32_t low = Add("ann", 10), high = Add("bob", 12);
  EXPECT_EQ(queue_.job(low).level, 10);
  queue_.SetTime(kStart + absl::Seconds(9));
  EXPECT_EQ(queue_.job(low).level, 10);
  queue_.SetTime(kStart + absl::Seconds(10));
  EXPECT_EQ(queue_.job(low).level, 11);
  EXPECT_EQ(queue_.FindFirst(kAny), high);  // which has waited as long
  queue_.SetTime(kStart + absl::Seconds(905));
  EXPECT_EQ(queue_.job(low).level, WaitingQueue::kFrontLevel);
  EXPECT_EQ(queue_.job(high).level, WaitingQueue::kFrontLevel);
  // At the front only the position counts: no new gang, and no share, comes before it.
  const int32_t fresh = Add("eve", 99, 1, kStart + absl::Seconds(905));
  Hold("ann", 100);
  EXPECT_EQ(queue_.InOrder(9), (std::vector<int32_t>{low, high, fresh}));
  EXPECT_EQ(queue_.FindFirst(kAny), low);
}

TEST_F(WaitingQueueTest, TimeDoesNotGoBack) {
  EXPECT_TRUE(queue_.SetTime(kStart));
  EXPECT_FALSE(queue_.SetTime(kStart - absl::Hours(1)));
  EXPECT_FALSE(queue_.SetTime(kStart + absl::Milliseconds(999)));
  EXPECT_EQ(queue_.order_time(), kStart);
  EXPECT_TRUE(queue_.SetTime(kStart + absl::Milliseconds(1000)));
}

TEST(WaitingQueueAgingTest, CanBeTurnedOff) {
  SchedulingOptions options;
  options.aging_step = absl::InfiniteDuration();
  WaitingQueue queue(options);
  Job job;
  job.user = queue.shares().IndexOf({"", "ann"});
  job.priority = 1;
  job.since = kStart;
  const int32_t handle = queue.Add(job);
  queue.SetTime(kStart + absl::Hours(24 * 365));
  EXPECT_EQ(queue.job(handle).level, 1);
}

TEST(WaitingQueueLimitTest, UsersAndWorkspacesAtTheirLimitsArePassedOver) {
  SchedulingOptions options = Options();
  options.user_slots_max = 4;
  options.workspace_slots_max = 6;
  WaitingQueue queue(options);
  const auto add = [&queue](const Owner& owner, int32_t num_ranks, int64_t position) {
    Job job;
    job.id = {position, 1};
    job.user = queue.shares().IndexOf(owner);
    job.min_ranks = num_ranks;
    job.max_ranks = 8;
    job.position = position;
    return queue.Add(job);
  };
  const auto hold = [&queue](const Owner& owner, int64_t num_slots) {
    queue.shares().AddHeld(queue.shares().IndexOf(owner), num_slots, kStart);
  };
  const int32_t ann = add({"vision", "ann"}, 2, 1), bob = add({"vision", "bob"}, 1, 2), eve = add({"", "eve"}, 4, 3);
  EXPECT_EQ(queue.FindFirst(kAny), ann);
  EXPECT_EQ(queue.RanksFor(queue.job(ann), 100), 4);
  hold({"vision", "ann"}, 3);
  EXPECT_EQ(queue.FindFirst(kAny), eve);
  hold({"", "eve"}, 4);
  EXPECT_EQ(queue.FindFirst(kAny), bob);
  EXPECT_EQ(queue.RanksFor(queue.job(bob), 100), 3);
  hold({"vision", "bob"}, 3);
  EXPECT_EQ(queue.FindFirst(kAny), WaitingQueue::kNone);
  EXPECT_EQ(queue.RoomOf(queue.job(bob).user), 0);
}

TEST_F(WaitingQueueTest, AnExperimentsGangsAreHeldBackBeyondItsLimit) {
  std::vector<int32_t> trials;
  for (int i = 0; i < 5; ++i) trials.push_back(Add("ann", 50, 2, kStart, 4));
  EXPECT_FALSE(queue_.job(trials[1]).held_back);
  EXPECT_TRUE(queue_.job(trials[2]).held_back);
  // One starts: as much as before.
  queue_.Remove(trials[0]);
  queue_.AddExperimentHeld(1, 2, 4);
  EXPECT_FALSE(queue_.job(trials[1]).held_back);
  EXPECT_TRUE(queue_.job(trials[2]).held_back);
  EXPECT_EQ(queue_.SlotsOfExperiment(1)->num_held, 2);
  EXPECT_EQ(queue_.InOrder(9), (std::vector<int32_t>{trials[1], trials[2], trials[3], trials[4]}));
  // It ends: room for one more.
  queue_.AddExperimentHeld(1, -2, 4);
  EXPECT_FALSE(queue_.job(trials[2]).held_back);
  EXPECT_TRUE(queue_.job(trials[3]).held_back);
  // One that comes back with its old position goes before those.
  Job again = queue_.job(trials[1]);
  again.id = {1, 99};
  again.position = 0;
  const int32_t first = queue_.Add(again);
  EXPECT_FALSE(queue_.job(first).held_back);
  EXPECT_TRUE(queue_.job(trials[2]).held_back);
  for (const int32_t handle : {first, trials[1], trials[2], trials[3], trials[4]}) queue_.Remove(handle);
  EXPECT_FALSE(queue_.SlotsOfExperiment(1).has_value());
}

TEST_F(WaitingQueueTest, WhatIsHeldBackComesInWhenOneBeforeItIsCanceled) {
  const int32_t first = Add("ann", 50, 3, kStart, 4), large = Add("ann", 50, 4, kStart, 4),
                small = Add("ann", 50, 1, kStart, 4);
  EXPECT_FALSE(queue_.job(first).held_back);
  EXPECT_TRUE(queue_.job(large).held_back);
  EXPECT_TRUE(queue_.job(small).held_back);
  queue_.Remove(large);
  EXPECT_FALSE(queue_.job(small).held_back);
}

}  // namespace
}  // namespace ursa
