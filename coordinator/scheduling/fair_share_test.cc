#include "coordinator/scheduling/fair_share.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "absl/time/time.h"

namespace ursa {
namespace {

constexpr absl::Duration kHalfLife = absl::Hours(24);
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

TEST(DecayedUseTest, HalvesAfterEachHalfLife) {
  DecayedUse use{1000, kStart};
  use = Charge(use, 0, kStart + kHalfLife, kHalfLife);
  EXPECT_NEAR(use.slot_seconds, 500, 1e-9);
  use = Charge(use, 0, kStart + 3 * kHalfLife, kHalfLife);
  EXPECT_NEAR(use.slot_seconds, 125, 1e-9);
}

TEST(DecayedUseTest, IsTheIntegralOfWhatWasHeld) {
  // Sums over small steps against the closed form.
  const double rate = std::log(2.0) / absl::ToDoubleSeconds(kHalfLife);
  const double step_seconds = 60;
  double expected = 700;
  DecayedUse use{700, kStart};
  absl::Time now = kStart;
  for (const int64_t num_slots : {4, 0, 16, 1}) {
    for (int step = 0; step < 300; ++step) {
      const double decay = std::exp(-rate * step_seconds);
      expected = expected * decay + static_cast<double>(num_slots) * step_seconds * std::exp(-rate * step_seconds / 2);
    }
    now += absl::Seconds(300 * step_seconds);
    use = Charge(use, num_slots, now, kHalfLife);
  }
  EXPECT_NEAR(use.slot_seconds / expected, 1, 1e-6);
}

TEST(DecayedUseTest, ChargingInPartsIsTheSame) {
  const DecayedUse whole = Charge({50, kStart}, 8, kStart + absl::Hours(30), kHalfLife);
  DecayedUse parts{50, kStart};
  for (int hour = 1; hour <= 30; ++hour) parts = Charge(parts, 8, kStart + absl::Hours(hour), kHalfLife);
  EXPECT_NEAR(parts.slot_seconds / whole.slot_seconds, 1, 1e-12);
}

TEST(DecayedUseTest, HeldForEverItIsTheNumberOfSlots) {
  const DecayedUse use = Charge({0, kStart}, 8, kStart + 60 * kHalfLife, kHalfLife);
  EXPECT_NEAR(AverageSlots(use, kHalfLife), 8, 1e-9);
}

TEST(DecayedUseTest, AClockThatWasSetBackChangesNothing) {
  const DecayedUse use{10, kStart};
  EXPECT_EQ(Charge(use, 5, kStart - absl::Hours(1), kHalfLife), use);
}

TEST(DecayedUseTest, NothingUsedYetIsNothing) { EXPECT_EQ(Charge(DecayedUse(), 0, kStart, kHalfLife).slot_seconds, 0); }

std::vector<std::string> UsersInOrder(const FairShares& shares) {
  std::vector<std::string> names;
  for (const auto& [workspace_score, workspace] : shares.workspaces_in_order()) {
    for (const auto& [score, user] : shares.users_in_order(workspace)) names.push_back(shares.user(user).owner.user);
  }
  return names;
}

TEST(FairSharesTest, LessUsedComesFirst) {
  FairShares shares(kHalfLife);
  const int32_t ann = shares.IndexOf({"", "ann"}), bob = shares.IndexOf({"", "bob"}), eve = shares.IndexOf({"", "eve"});
  for (const int32_t user : {ann, bob, eve}) shares.AddWaiting(user, 2);
  shares.SetOrderTime(kStart);
  shares.AddHeld(ann, 4, kStart);
  shares.AddHeld(bob, 2, kStart);
  EXPECT_EQ(UsersInOrder(shares), (std::vector<std::string>{"eve", "bob", "ann"}));
  // After a day ann has a past, and only bob holds anything.
  shares.SetOrderTime(kStart + kHalfLife);
  shares.AddHeld(ann, -4, kStart + kHalfLife);
  EXPECT_EQ(shares.user(ann).score(), 2 * FairShares::kMicros);  // half of 4 slots
  EXPECT_EQ(shares.user(bob).score(), 3 * FairShares::kMicros);
  EXPECT_EQ(UsersInOrder(shares), (std::vector<std::string>{"eve", "ann", "bob"}));
  // And long after, it counts for nothing.
  shares.SetOrderTime(kStart + 40 * kHalfLife);
  EXPECT_EQ(shares.user(ann).score(), 0);
  EXPECT_EQ(shares.user(bob).score(), 4 * FairShares::kMicros);
}

TEST(FairSharesTest, TheWorkspaceCountsBeforeTheUser) {
  FairShares shares(kHalfLife);
  const int32_t ann = shares.IndexOf({"vision", "ann"}), bob = shares.IndexOf({"vision", "bob"}),
                eve = shares.IndexOf({"speech", "eve"});
  for (const int32_t user : {ann, bob, eve}) shares.AddWaiting(user, 1);
  shares.AddHeld(ann, 5, kStart);
  shares.AddHeld(eve, 4, kStart);
  EXPECT_EQ(UsersInOrder(shares), (std::vector<std::string>{"eve", "bob", "ann"}));
  shares.AddWaiting(eve, -1);
  EXPECT_EQ(UsersInOrder(shares), (std::vector<std::string>{"bob", "ann"}));
}

TEST(FairSharesTest, SaysWhoseUseIsToBeWritten) {
  FairShares shares(kHalfLife);
  const int32_t ann = shares.IndexOf({"", "ann"}), bob = shares.IndexOf({"", "bob"});
  shares.AddHeld(bob, 1, kStart);
  shares.AddHeld(ann, 1, kStart);
  shares.AddHeld(bob, -1, kStart + absl::Seconds(1));
  EXPECT_EQ(shares.TakeChanged(), (std::vector<int32_t>{bob, ann}));
  EXPECT_TRUE(shares.TakeChanged().empty());
}

TEST(FairSharesTest, AUseIsForgottenWhenItAddsNothingToAScore) {
  FairShares shares(kHalfLife);
  const int32_t ann = shares.IndexOf({"", "ann"}), bob = shares.IndexOf({"", "bob"});
  shares.AddWaiting(ann, 1);
  shares.AddHeld(ann, 1, kStart);
  shares.AddHeld(bob, 1, kStart);
  shares.AddHeld(ann, -1, kStart + kHalfLife);  // an average of half a slot: 0.5 * 2^-n rounds to 0 from n = 20 on
  EXPECT_EQ(shares.TakeChanged(), (std::vector<int32_t>{ann, bob}));
  shares.SetOrderTime(kStart + 20 * kHalfLife);
  EXPECT_EQ(shares.user(ann).score(), 1);
  EXPECT_TRUE(shares.TakeChanged().empty());
  shares.SetOrderTime(kStart + 21 * kHalfLife);
  EXPECT_EQ(shares.TakeChanged(), (std::vector<int32_t>{ann}));  // bob, who holds what he has, is not forgotten
  EXPECT_EQ(shares.user(ann).use, DecayedUse());
  EXPECT_FALSE(shares.user(bob).use == DecayedUse());
  EXPECT_EQ(UsersInOrder(shares), (std::vector<std::string>{"ann"}));
  shares.SetOrderTime(kStart + 22 * kHalfLife);
  EXPECT_TRUE(shares.TakeChanged().empty());
  // A record of it that is still there says no more either, and one that has just been made need not be kept.
  shares.SetUse(ann, {1, kStart});
  EXPECT_EQ(shares.user(ann).use, DecayedUse());
  EXPECT_EQ(shares.TakeChanged(), (std::vector<int32_t>{ann}));
  shares.AddHeld(ann, 1, kStart + 22 * kHalfLife);
  shares.AddHeld(ann, -1, kStart + 22 * kHalfLife);
  EXPECT_EQ(shares.TakeChanged(), (std::vector<int32_t>{ann}));
  EXPECT_EQ(shares.user(ann).use, DecayedUse());
}

// A start counts at once: what is in one hand does not all start before the other's.
TEST(FairSharesTest, AFreshStartOfTwoUsersTakesTurns) {
  FairShares shares(kHalfLife);
  const int32_t ann = shares.IndexOf({"", "ann"}), bob = shares.IndexOf({"", "bob"});
  for (const int32_t user : {ann, bob}) shares.AddWaiting(user, 10);
  std::vector<int64_t> held(2);
  for (int start = 0; start < 10; ++start) {
    const int32_t next = shares.users_in_order(0).front().second;
    shares.AddHeld(next, 1, kStart);
    ++held[static_cast<size_t>(next)];
  }
  EXPECT_EQ(held, (std::vector<int64_t>{5, 5}));
}

}  // namespace
}  // namespace ursa
