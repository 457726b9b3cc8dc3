#include "coordinator/scheduling/victims.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/rng.h"

namespace ursa {
namespace {

constexpr int64_t kExactMax = 1024;

VictimCandidate Candidate(int64_t id, int32_t priority, int64_t num_slots, int64_t lost_millis, int64_t start = 0) {
  return {{id, 1}, priority, num_slots, lost_millis, absl::FromUnixSeconds(start)};
}
using Indexes = std::vector<int32_t>;

TEST(VictimsTest, Examples) {
  const struct {
    const char* what;
    std::vector<VictimCandidate> candidates;
    int64_t num_missing;
    Indexes victims;
  } kCases[] = {
      {"none if all together are too few", {Candidate(1, 10, 2, 0), Candidate(2, 10, 1, 0)}, 4, {}},
      {"the lowest priority", {Candidate(1, 20, 2, 0), Candidate(2, 10, 2, 900)}, 2, {1}},
      {"of equal ones the least lost work", {Candidate(1, 10, 2, 500), Candidate(2, 10, 2, 400)}, 2, {1}},
      {"of equal losses the latest start", {Candidate(1, 10, 2, 5, 100), Candidate(2, 10, 2, 5, 200)}, 1, {1}},
      {"several low ones before a higher one",
       {Candidate(1, 20, 4, 0), Candidate(2, 10, 2, 9), Candidate(3, 10, 2, 9)},
       4,
       {1, 2}},
      {"not one too many", {Candidate(1, 10, 1, 0), Candidate(2, 10, 4, 100), Candidate(3, 10, 1, 5)}, 4, {1}},
      {"one that loses less than four small ones",
       {Candidate(1, 10, 1, 10), Candidate(2, 10, 1, 10), Candidate(3, 10, 1, 10), Candidate(4, 10, 1, 10),
        Candidate(5, 10, 4, 15)},
       4,
       {4}},
      {"what a higher one gives is not taken from lower ones too",
       {Candidate(1, 10, 2, 0), Candidate(2, 10, 1, 0), Candidate(3, 20, 3, 0)},
       4,
       {1, 2}},
  };
  for (const auto& test : kCases) {
    EXPECT_EQ(ChooseVictims(test.candidates, test.num_missing, kExactMax), test.victims) << test.what;
  }
}

// By priority from the highest: work lost, number of gangs, their slots. Less is better, the first one counts most.
using Cost = std::vector<std::array<int64_t, 3>>;

Cost CostOf(const std::vector<VictimCandidate>& candidates, size_t subset) {
  Cost cost(100);
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!(subset >> i & 1)) continue;
    std::array<int64_t, 3>& of_priority = cost[99 - static_cast<size_t>(candidates[i].priority)];
    of_priority[0] += candidates[i].lost_millis;
    of_priority[1] += 1;
    of_priority[2] += candidates[i].num_slots;
  }
  return cost;
}

int64_t SlotsOf(const std::vector<VictimCandidate>& candidates, size_t subset) {
  int64_t sum = 0;
  for (size_t i = 0; i < candidates.size(); ++i) sum += subset >> i & 1 ? candidates[i].num_slots : 0;
  return sum;
}

size_t SubsetOf(const Indexes& indexes) {
  size_t subset = 0;
  for (const int32_t i : indexes) subset |= size_t{1} << i;
  return subset;
}

std::vector<VictimCandidate> RandomCandidates(SeededRng* rng, size_t num_max) {
  std::vector<VictimCandidate> candidates;
  const size_t num = 1 + rng->Below(num_max);
  for (size_t i = 0; i < num; ++i) {
    candidates.push_back(Candidate(static_cast<int64_t>(i + 1), static_cast<int32_t>(1 + rng->Below(3)),
                                   static_cast<int64_t>(1 + rng->Below(5)), static_cast<int64_t>(rng->Below(4)),
                                   static_cast<int64_t>(rng->Below(3))));
  }
  return candidates;
}

TEST(VictimsTest, NoSetOfVictimsIsBetter) {
  SeededRng rng(19);
  int num_chosen = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::vector<VictimCandidate> candidates = RandomCandidates(&rng, 8);
    const auto num_missing = static_cast<int64_t>(1 + rng.Below(12));
    const size_t all = (size_t{1} << candidates.size()) - 1;
    const Indexes victims = ChooseVictims(candidates, num_missing, kExactMax);
    if (SlotsOf(candidates, all) < num_missing) {
      ASSERT_TRUE(victims.empty());
      continue;
    }
    ++num_chosen;
    const size_t chosen = SubsetOf(victims);
    ASSERT_GE(SlotsOf(candidates, chosen), num_missing);
    const Cost cost = CostOf(candidates, chosen);
    for (size_t subset = 1; subset <= all; ++subset) {
      if (SlotsOf(candidates, subset) < num_missing) continue;
      ASSERT_LE(cost, CostOf(candidates, subset)) << "round " << round;
    }
  }
  EXPECT_GT(num_chosen, 1500);
}

// With and without exactness: what is chosen is enough, of as low priorities as possible, and none of it can be spared.
TEST(VictimsTest, NoneCanBeSpared) {
  SeededRng rng(23);
  for (int round = 0; round < 2000; ++round) {
    const std::vector<VictimCandidate> candidates = RandomCandidates(&rng, 30);
    const auto num_missing = static_cast<int64_t>(1 + rng.Below(40));
    const Indexes victims = ChooseVictims(candidates, num_missing, round % 2 ? 0 : kExactMax);
    if (victims.empty()) continue;
    int64_t num_slots = 0;
    int32_t highest = 0;
    for (const int32_t i : victims) {
      num_slots += candidates[static_cast<size_t>(i)].num_slots;
      highest = std::max(highest, candidates[static_cast<size_t>(i)].priority);
    }
    ASSERT_GE(num_slots, num_missing);
    for (const int32_t i : victims) {
      ASSERT_LT(num_slots - candidates[static_cast<size_t>(i)].num_slots, num_missing);
    }
    int64_t num_below = 0;
    for (const VictimCandidate& candidate : candidates)
      num_below += candidate.priority < highest ? candidate.num_slots : 0;
    ASSERT_LT(num_below, num_missing);
  }
}

TEST(VictimsTest, TenThousandGangsAreNoMatter) {
  std::vector<VictimCandidate> candidates;
  for (int64_t i = 0; i < 10'000; ++i) candidates.push_back(Candidate(i, 10, 1 + i % 16, i * 37 % 1001, i));
  for (const int64_t num_missing : {int64_t{7}, int64_t{512}, int64_t{40'000}}) {
    int64_t num_slots = 0;
    for (const int32_t i : ChooseVictims(candidates, num_missing, kExactMax)) {
      num_slots += candidates[static_cast<size_t>(i)].num_slots;
    }
    EXPECT_GE(num_slots, num_missing);
    EXPECT_LT(num_slots, num_missing + 16);
  }
}

}  // namespace
}  // namespace ursa
