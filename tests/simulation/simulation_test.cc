// Fixed seeds, some of them twice; and random ones for as long as URSA_SIMULATION_SECONDS says, from
// URSA_SIMULATION_SEED on (default: from the time): small clusters and large ones in turn. A failure ends with the one
// command that replays it.
#include "tests/simulation/simulation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "tests/simulation/campaign.h"

namespace ursa::sim {
namespace {

constexpr uint64_t kFixedSeeds[] = {1, 2, 3, 5, 8, 13, 21, 38, 39, 55};
constexpr uint64_t kFixedLargeSeed = 7;
constexpr int kLargeCluster = 100;  // workers
constexpr absl::Duration kLargeFaultTime = absl::Seconds(600);
constexpr uint64_t kFirstOfMany = 10'000;
constexpr int kManySmall = 500;
constexpr int kManyLarge = 40;
constexpr int kFailuresMax = 3;  // then it is enough

// The number in an environment variable.
uint64_t NumberOr(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return otherwise;
  uint64_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) ADD_FAILURE() << variable << " is \"" << text << "\", not a number";
  return number;
}

SimulationOptions LargeCluster() {
  SimulationOptions options;
  options.num_workers = kLargeCluster;
  options.fault_time = kLargeFaultTime;
  return options;
}

void Print(const char* title, const Campaign& campaign) {
  std::printf("---- %s\n%s", title, campaign.Report().c_str());
  std::fflush(stdout);
}

TEST(SimulationTest, FixedSeedsHoldAndGiveTheSameTraceAgain) {
  Campaign small{SimulationOptions()};
  for (const uint64_t seed : kFixedSeeds) {
    EXPECT_TRUE(small.Run(seed)) << small.failures().back();
    const uint64_t hash = small.last_trace_hash();
    EXPECT_TRUE(small.Run(seed));
    EXPECT_EQ(small.last_trace_hash(), hash) << "seed " << seed << ": another run gives another trace";
  }
  Print("fixed seeds, each twice", small);
  Campaign large(LargeCluster());
  EXPECT_TRUE(large.Run(kFixedLargeSeed)) << large.failures().back();
  const uint64_t hash = large.last_trace_hash();
  EXPECT_TRUE(large.Run(kFixedLargeSeed));
  EXPECT_EQ(large.last_trace_hash(), hash) << "seed " << kFixedLargeSeed << ": another run gives another trace";
  Print("a fixed seed with 100 workers, twice", large);
}

TEST(SimulationTest, ManyFixedSeedsHold) {
  Campaign small{SimulationOptions()};
  Campaign large(LargeCluster());
  for (int i = 0; i < kManySmall; ++i) EXPECT_TRUE(small.Run(kFirstOfMany + i)) << small.failures().back();
  for (int i = 0; i < kManyLarge; ++i) EXPECT_TRUE(large.Run(kFirstOfMany + i)) << large.failures().back();
  Print("small clusters", small);
  Print("100 workers", large);
  std::printf("---- %lld faults in all\n", static_cast<long long>(small.num_faults() + large.num_faults()));
}

TEST(SimulationTest, RandomSeedsHold) {
  const uint64_t seconds = NumberOr("URSA_SIMULATION_SECONDS", 0);
  if (seconds == 0) GTEST_SKIP() << "skipped: URSA_SIMULATION_SECONDS says for how long";
  const absl::Time begin = absl::Now();
  const absl::Time end = begin + absl::Seconds(seconds);
  Campaign small{SimulationOptions()};
  Campaign large(LargeCluster());
  // Each has a sequence of its own, so that it does not depend on the time which seeds meet which cluster.
  uint64_t small_seed = 2 * NumberOr("URSA_SIMULATION_SEED", static_cast<uint64_t>(absl::ToUnixNanos(begin)));
  uint64_t large_seed = small_seed + 1;
  while (absl::Now() < end && small.failures().size() + large.failures().size() < kFailuresMax) {
    const bool is_large = large.cpu_time() < small.cpu_time();
    Campaign& campaign = is_large ? large : small;
    uint64_t& seed = is_large ? large_seed : small_seed;
    EXPECT_TRUE(campaign.Run(seed)) << campaign.failures().back();
    seed += 2;
  }
  Print("random seeds, small clusters", small);
  Print("random seeds, 100 workers", large);
  std::printf("---- %lld faults in all\n", static_cast<long long>(small.num_faults() + large.num_faults()));
}

}  // namespace
}  // namespace ursa::sim
