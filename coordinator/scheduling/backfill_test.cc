#include "coordinator/scheduling/backfill.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"

namespace ursa {
namespace {

SizeCounts Counts(const std::vector<int32_t>& sizes) {
  SizeCounts counts;
  for (const int32_t size : sizes) counts.Add(size, 1);
  return counts;
}

TEST(LeastSumTest, Examples) {
  EXPECT_EQ(LeastSumAtLeast(Counts({}), 1), -1);
  EXPECT_EQ(LeastSumAtLeast(Counts({3, 2}), 2), 2);
  EXPECT_EQ(LeastSumAtLeast(Counts({3, 2}), 4), 5);
  EXPECT_EQ(LeastSumAtLeast(Counts({3, 2}), 6), -1);
  EXPECT_EQ(LeastSumAtLeast(Counts({7, 5, 5}), 8), 10);
  EXPECT_EQ(LeastSumAtLeast(Counts({7, 5, 5}), 11), 12);
  EXPECT_EQ(LeastSumAtLeast(Counts(std::vector<int32_t>(1000, 8)), 4001), 4008);
}

TEST(LeastSumTest, AgreesWithTryingAllSubsets) {
  SeededRng rng(11);
  for (int round = 0; round < 3000; ++round) {
    std::vector<int32_t> sizes(rng.Below(9));
    for (int32_t& size : sizes) size = static_cast<int32_t>(1 + rng.Below(round % 2 ? 6 : 90));
    const auto least = static_cast<int64_t>(1 + rng.Below(round % 2 ? 30 : 300));
    int64_t expected = -1;
    for (size_t subset = 0; subset < (size_t{1} << sizes.size()); ++subset) {
      int64_t sum = 0;
      for (size_t i = 0; i < sizes.size(); ++i) sum += subset >> i & 1 ? sizes[i] : 0;
      if (sum >= least && (expected < 0 || sum < expected)) expected = sum;
    }
    ASSERT_EQ(LeastSumAtLeast(Counts(sizes), least), expected) << "round " << round;
  }
}

// After how many of these ends so many slots are free; more than there are: never.
size_t WhenFree(int64_t num_free, const std::vector<int32_t>& ends, int64_t num_needed) {
  size_t i = 0;
  while (num_free < num_needed && i < ends.size()) num_free += ends[i++];
  return num_free < num_needed ? ends.size() + 1 : i;
}

TEST(BackfillTest, NeverDelaysTheHeadInWhateverOrderGangsEndAndIsNoStricterThanThat) {
  SeededRng rng(13);
  int num_allowed = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<int32_t> running(1 + rng.Below(5));
    for (int32_t& size : running) size = static_cast<int32_t>(1 + rng.Below(6));
    const auto num_free = static_cast<int64_t>(rng.Below(6));
    int64_t total = num_free;
    for (const int32_t size : running) total += size;
    const int64_t num_needed = num_free + 1 + static_cast<int64_t>(rng.Below(static_cast<uint64_t>(total - num_free)));
    const int64_t allowance = BackfillAllowance(Counts(running), num_needed - num_free, 1000);
    std::sort(running.begin(), running.end());
    bool is_one_more_harmless = true;
    do {
      ASSERT_EQ(WhenFree(num_free - allowance, running, num_needed), WhenFree(num_free, running, num_needed));
      is_one_more_harmless &=
          WhenFree(num_free - allowance - 1, running, num_needed) == WhenFree(num_free, running, num_needed);
    } while (std::next_permutation(running.begin(), running.end()));
    ASSERT_FALSE(is_one_more_harmless);
    num_allowed += allowance > 0 ? 1 : 0;
  }
  EXPECT_GT(num_allowed, 500);
}

TEST(BackfillTest, WhatStartedAsBackfillUsesUpTheAllowanceAndNoMore) {
  SeededRng rng(17);
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> running(1 + rng.Below(6));
    for (int32_t& size : running) size = static_cast<int32_t>(1 + rng.Below(12));
    const auto num_missing = static_cast<int64_t>(1 + rng.Below(20));
    const int64_t allowance = BackfillAllowance(Counts(running), num_missing, 1000);
    if (allowance == 0) continue;
    const auto taken = static_cast<int32_t>(1 + rng.Below(static_cast<uint64_t>(allowance)));
    running.push_back(taken);
    ASSERT_EQ(BackfillAllowance(Counts(running), num_missing + taken, 1000), allowance - taken);
  }
}

TEST(BackfillTest, AHeadThatMissesTooManyIsNotOvertaken) {
  EXPECT_EQ(BackfillAllowance(Counts({100}), 50, 50), 50);
  EXPECT_EQ(BackfillAllowance(Counts({100}), 51, 50), 0);
}

}  // namespace
}  // namespace ursa
