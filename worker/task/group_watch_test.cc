#include "worker/task/group_watch.h"

#include <gtest/gtest.h>

#include <thread>

namespace ursa {
namespace {

worker::v1::ReformDirective Group(int64_t epoch) {
  worker::v1::ReformDirective group;
  group.set_epoch(epoch);
  group.set_world_size(2);
  return group;
}

TEST(GroupWatchTest, AGroupIsOverWhenANewerOneIsFormed) {
  GroupWatch watch;
  watch.EnterGroup(3);
  watch.TellReform(Group(3));  // its own
  std::thread teller([&] { watch.TellReform(Group(4)); });
  EXPECT_TRUE(watch.AwaitOver(absl::InfiniteDuration()));
  teller.join();
  EXPECT_EQ(watch.AwaitNewer(3)->epoch(), 4);
}

TEST(GroupWatchTest, NotWhenItWasLeftFirst) {
  GroupWatch watch;
  watch.EnterGroup(3);
  std::thread leaver([&] { watch.LeaveGroup(); });
  EXPECT_FALSE(watch.AwaitOver(absl::InfiniteDuration()));
  leaver.join();
}

TEST(GroupWatchTest, ATaskThatIsToldToStopGivesItsGroupTime) {
  GroupWatch watch;
  watch.EnterGroup(3);
  worker::v1::StopDirective stop;
  stop.set_keeps_state(true);
  EXPECT_FALSE(watch.keeps_state());
  watch.TellStop(stop);
  EXPECT_TRUE(watch.keeps_state());
  EXPECT_TRUE(watch.AwaitOver(absl::Milliseconds(1))) << "the group did not end of it";
  std::thread leaver([&] { watch.LeaveGroup(); });
  EXPECT_FALSE(watch.AwaitOver(absl::InfiniteDuration())) << "it did";
  leaver.join();
  EXPECT_FALSE(watch.AwaitNewer(3).has_value()) << "told to stop: no group will be formed";
}

}  // namespace
}  // namespace ursa
