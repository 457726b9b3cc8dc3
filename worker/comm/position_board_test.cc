#include "worker/comm/position_board.h"

#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "worker/comm/thread_collective.h"

namespace ursa {
namespace {

TEST(PositionBoardTest, SaysWhatIsDoneAndForHowLong) {
  FakeClock clock;
  PositionBoard board(&clock);
  board.Enter("waits for a batch");
  board.SetStep(41);
  clock.Advance(absl::Seconds(3));
  PositionBoard::Position position = board.Get();
  EXPECT_EQ(position.step, 41);
  EXPECT_EQ(position.doing, std::string("waits for a batch"));
  EXPECT_EQ(position.duration, absl::Seconds(3));
  EXPECT_FALSE(position.in_collective);
  board.EnterCollective("all-reduce");
  clock.Advance(absl::Seconds(1));
  position = board.Get();
  EXPECT_TRUE(position.in_collective);
  EXPECT_EQ(position.doing, std::string("all-reduce"));
  EXPECT_EQ(position.collectives, 1);
  EXPECT_EQ(position.duration, absl::Seconds(1));
  board.LeaveCollective();
  position = board.Get();
  EXPECT_FALSE(position.in_collective);
  EXPECT_EQ(position.doing, std::string("waits for a batch"));
  EXPECT_EQ(position.collectives, 1);
}

TEST(PositionBoardTest, ARankThatWaitsForAPeerIsInTheCollective) {
  auto group = MakeThreadCollectives(2);
  PositionBoard board(Clock::Real());
  const auto watched = WatchCollective(group[0].get(), &board);
  EXPECT_EQ(watched->rank(), 0);
  EXPECT_EQ(watched->world_size(), 2);
  at::Tensor sum = at::ones({3});
  std::thread rank0([&] { EXPECT_TRUE(watched->AllReduceSum(sum).ok()); });
  while (!board.Get().in_collective) std::this_thread::yield();
  EXPECT_EQ(board.Get().doing, std::string("all-reduce"));
  EXPECT_EQ(board.Get().collectives, 1);
  ASSERT_TRUE(group[1]->AllReduceSum(at::ones({3})).ok());
  rank0.join();
  EXPECT_FALSE(board.Get().in_collective);
  EXPECT_EQ(sum.sum().item<double>(), 6);
  group[1].reset();
  EXPECT_FALSE(watched->Barrier().ok());
  EXPECT_EQ(board.Get().collectives, 2);
  EXPECT_FALSE(board.Get().in_collective);
}

}  // namespace
}  // namespace ursa
