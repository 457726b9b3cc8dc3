#include "base/backoff.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace ursa {
namespace {

TEST(BackoffTest, GrowsToItsLimitWithinTheUpperHalf) {
  SeededRng rng(1);
  Backoff::Options options;
  options.initial = absl::Milliseconds(100);
  options.max = absl::Milliseconds(1000);
  Backoff backoff(options, &rng);
  absl::Duration ceiling = options.initial;
  for (int i = 0; i < 10; ++i) {
    const absl::Duration wait = backoff.Next();
    EXPECT_GE(wait, ceiling / 2) << i;
    EXPECT_LE(wait, ceiling) << i;
    ceiling = std::min(options.max, 2 * ceiling);
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(), options.initial);
}

TEST(BackoffTest, TwoClientsDoNotCallInStep) {
  SeededRng a(1), b(2);
  EXPECT_NE(Backoff({}, &a).Next(), Backoff({}, &b).Next());
}

TEST(BackoffTest, RefusesBadOptions) {
  Backoff::Options options;
  EXPECT_TRUE(options.Validate().ok());
  options.initial = absl::ZeroDuration();
  EXPECT_FALSE(options.Validate().ok());
  options.initial = absl::Seconds(6);
  EXPECT_FALSE(options.Validate().ok());
  options = {};
  options.multiplier = 0.5;
  EXPECT_FALSE(options.Validate().ok());
}

}  // namespace
}  // namespace ursa
