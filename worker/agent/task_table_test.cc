#include "worker/agent/task_table.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using worker::v1::DesiredState;
using worker::v1::TaskOrder;

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);

// A task of as many ranks as slots; none: an auxiliary one with rank 0.
TaskOrder Order(const std::string& id, int64_t epoch, const std::vector<int>& slots, bool stop = false) {
  TaskOrder order;
  order.mutable_assignment()->set_task_id(id);
  order.mutable_assignment()->set_epoch(epoch);
  order.set_stop(stop);
  for (size_t i = 0; i < slots.size(); ++i) {
    order.mutable_assignment()->add_ranks(static_cast<int>(i));
    order.add_slots(slots[i]);
  }
  if (slots.empty()) order.mutable_assignment()->add_ranks(0);
  return order;
}

DesiredState Desired(const std::vector<TaskOrder>& orders) {
  DesiredState desired;
  for (const TaskOrder& order : orders) *desired.add_orders() = order;
  return desired;
}

// "start t1/1/0 slot 1; kill ...": what the table asked for.
std::string Text(const std::vector<TaskTable::Action>& actions) {
  std::string text;
  for (const auto& action : actions) {
    if (!text.empty()) text += "; ";
    if (const auto* start = std::get_if<TaskTable::Start>(&action)) {
      absl::StrAppend(&text, "start ", start->key.ToString(), " on ", start->assignment.device_index());
      EXPECT_EQ(start->assignment.rank(), start->key.rank);
    } else if (const auto* stop = std::get_if<TaskTable::TellStop>(&action)) {
      absl::StrAppend(&text, "stop ", stop->key.ToString());
    } else if (const auto* reform = std::get_if<TaskTable::Reform>(&action)) {
      absl::StrAppend(&text, "reform ", reform->key.ToString(), " at ", reform->epoch);
      EXPECT_GT(reform->world_size, 0);
    } else if (const auto* kill = std::get_if<TaskTable::Kill>(&action)) {
      absl::StrAppend(&text, kill->unwanted ? "kill unwanted " : "kill ", kill->key.ToString());
    } else {
      absl::StrAppend(&text, "refuse ", std::get<TaskTable::Refuse>(action).key.ToString());
    }
  }
  return text;
}

class TaskTableTest : public testing::Test {
 protected:
  std::string Reconcile(absl::Time now = kNow) { return Text(table_.Reconcile(now)); }
  void Run(const std::vector<TaskOrder>& orders) {
    table_.SetDesired(Desired(orders));
    for (const auto& action : table_.Reconcile(kNow)) {
      if (const auto* start = std::get_if<TaskTable::Start>(&action)) table_.OnStarted(start->key);
    }
  }
  TaskTable table_{2, TaskTable::Options()};
};

TEST_F(TaskTableTest, StartsEachRankOnItsSlotOnce) {
  table_.SetDesired(Desired({Order("t1", 1, {1, 0})}));
  EXPECT_EQ(Reconcile(), "start t1/1/0 on 1; start t1/1/1 on 0");
  EXPECT_EQ(Reconcile(), "");
  table_.SetDesired(Desired({Order("t1", 1, {1, 0})}));
  EXPECT_EQ(Reconcile(), "");
}

TEST_F(TaskTableTest, DoesNotStartAgainWhatHasEnded) {
  Run({Order("t1", 1, {0})});
  table_.OnEnded({"t1", 1, 0});
  EXPECT_EQ(Reconcile(), "");
  table_.SetDesired(Desired({Order("t1", 2, {0})}));
  EXPECT_EQ(Reconcile(), "start t1/2/0 on 0");
}

TEST_F(TaskTableTest, NewEpochWaitsForTheOldProcess) {
  Run({Order("t1", 1, {0})});
  table_.SetDesired(Desired({Order("t1", 2, {1})}));
  EXPECT_EQ(Reconcile(), "kill unwanted t1/1/0");
  EXPECT_EQ(Reconcile(), "");
  table_.OnEnded({"t1", 1, 0});
  EXPECT_EQ(Reconcile(), "start t1/2/0 on 1");
}

TEST_F(TaskTableTest, EpochNeverGoesBack) {
  Run({Order("t1", 5, {0})});
  table_.SetDesired(Desired({Order("t1", 4, {0})}));
  EXPECT_EQ(Reconcile(), "kill unwanted t1/5/0");
  table_.OnEnded({"t1", 5, 0});
  EXPECT_EQ(Reconcile(), "");
}

TEST_F(TaskTableTest, TakenSlotIsWaitedFor) {
  Run({Order("t1", 1, {0})});
  table_.SetDesired(Desired({Order("t2", 1, {0})}));
  EXPECT_EQ(Reconcile(), "kill unwanted t1/1/0");
  table_.OnEnded({"t1", 1, 0});
  EXPECT_EQ(Reconcile(), "start t2/1/0 on 0");
}

TEST_F(TaskTableTest, AuxiliaryTaskNeedsNoSlot) {
  Run({Order("t1", 1, {0, 1})});
  table_.SetDesired(Desired({Order("t1", 1, {0, 1}), Order("a4", 1, {})}));
  EXPECT_EQ(Reconcile(), "start a4/1/0 on 0");
}

TEST_F(TaskTableTest, StopIsToldOnceAndEnforced) {
  Run({Order("t1", 1, {0})});
  table_.SetDesired(Desired({Order("t1", 1, {0}, true)}));
  EXPECT_EQ(Reconcile(), "stop t1/1/0");
  EXPECT_EQ(Reconcile(kNow + absl::Seconds(119)), "");
  EXPECT_EQ(table_.NextWakeup(), kNow + absl::Seconds(120));
  EXPECT_EQ(Reconcile(kNow + absl::Seconds(120)), "kill t1/1/0");
  EXPECT_EQ(table_.NextWakeup(), absl::InfiniteFuture());
  EXPECT_EQ(Reconcile(kNow + absl::Seconds(500)), "");
}

TEST_F(TaskTableTest, ARankThatLivesGoesOnInTheNewGroup) {
  Run({Order("t1", 1, {0, 1})});
  table_.OnEnded({"t1", 1, 1});
  TaskOrder reformed = Order("t1", 2, {0, 1});
  reformed.mutable_assignment()->set_world_size(2);
  reformed.mutable_assignment()->add_rank_epochs(1);
  reformed.mutable_assignment()->add_rank_epochs(2);
  table_.SetDesired(Desired({reformed}));
  EXPECT_EQ(Reconcile(), "reform t1/1/0 at 2; start t1/2/1 on 1");
  EXPECT_EQ(Reconcile(), "");
  // The one that was started dies before it was heard of, and is started again; the first one is told of each group.
  table_.OnEnded({"t1", 2, 1});
  reformed.mutable_assignment()->set_epoch(3);
  reformed.mutable_assignment()->set_rank_epochs(1, 3);
  table_.SetDesired(Desired({reformed}));
  EXPECT_EQ(Reconcile(), "reform t1/1/0 at 3; start t1/3/1 on 1");
  // A process that has ended is not started again, whatever the group.
  table_.OnEnded({"t1", 1, 0});
  reformed.mutable_assignment()->set_epoch(4);
  table_.SetDesired(Desired({reformed}));
  EXPECT_EQ(Reconcile(), "reform t1/3/1 at 4");
  // What the order no longer names is killed, and waited for.
  reformed.mutable_assignment()->set_epoch(5);
  reformed.mutable_assignment()->set_rank_epochs(0, 5);
  reformed.mutable_assignment()->set_rank_epochs(1, 5);
  table_.SetDesired(Desired({reformed}));
  EXPECT_EQ(Reconcile(), "kill unwanted t1/3/1");
  table_.OnEnded({"t1", 3, 1});
  EXPECT_EQ(Reconcile(), "start t1/5/0 on 0; start t1/5/1 on 1");
}

TEST_F(TaskTableTest, SaysWhereAProcessWasAndHowLongAgoItSaidSo) {
  Run({Order("t1", 1, {0, 1})});
  worker::v1::RankPosition position;
  position.set_step(7);
  table_.OnPosition({"t1", 1, 1}, position, kNow);
  table_.OnPosition({"t2", 1, 0}, position, kNow);  // does not run here
  const auto running = table_.Running(kNow + absl::Seconds(3));
  ASSERT_EQ(running.size(), 2u);
  EXPECT_FALSE(running[0].has_position());
  EXPECT_EQ(running[1].position().step(), 7);
  EXPECT_EQ(running[1].silent_millis(), 3000);
}

TEST_F(TaskTableTest, OrderThatStopsBeforeItsStartIsReportedAsEnded) {
  table_.SetDesired(Desired({Order("t1", 1, {0}, true)}));
  EXPECT_EQ(Reconcile(), "refuse t1/1/0");
  EXPECT_EQ(Reconcile(), "");
}

TEST_F(TaskTableTest, ImpossibleOrdersAreRefused) {
  TaskOrder lacking = Order("t3", 1, {0, 1});
  lacking.mutable_slots()->RemoveLast();
  table_.SetDesired(Desired({Order("t1", 1, {2}), Order("t2", 1, {1, 1}), lacking}));
  EXPECT_EQ(Reconcile(), "refuse t1/1/0; refuse t2/1/0; refuse t2/1/1; refuse t3/1/0; refuse t3/1/1");
}

TEST_F(TaskTableTest, FinishedTaskMayEndByItselfAlsoWhenNoLongerWanted) {
  Run({Order("t1", 1, {0})});
  table_.OnFinished({"t1", 1, 0}, kNow);
  table_.SetDesired(Desired({}));
  EXPECT_EQ(Reconcile(kNow + absl::Seconds(4)), "");
  EXPECT_EQ(Reconcile(kNow + absl::Seconds(5)), "kill t1/1/0");
}

TEST_F(TaskTableTest, ShutdownStopsAllAndStartsNothing) {
  Run({Order("t1", 1, {0}), Order("a1", 1, {})});
  table_.BeginShutdown();
  table_.SetDesired(Desired({Order("t1", 1, {0}), Order("a1", 1, {}), Order("t2", 1, {1})}));
  EXPECT_EQ(Reconcile(), "stop a1/1/0; stop t1/1/0");
  EXPECT_EQ(Reconcile(kNow + absl::Seconds(5)), "kill a1/1/0");
  table_.KillAll();
  EXPECT_EQ(Reconcile(kNow + absl::Seconds(6)), "kill t1/1/0");
}

}  // namespace
}  // namespace ursa
