#include "worker/agent/token_bucket.h"

#include "gtest/gtest.h"

namespace ursa {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);

TEST(TokenBucketTest, StartsFullAndFillsWithTime) {
  TokenBucket bucket(/*rate=*/10, /*burst=*/20, kNow);
  EXPECT_TRUE(bucket.Take(20, kNow));
  EXPECT_FALSE(bucket.Take(1, kNow));
  EXPECT_FALSE(bucket.Take(11, kNow + absl::Seconds(1)));
  EXPECT_TRUE(bucket.Take(10, kNow + absl::Seconds(1)));
  EXPECT_FALSE(bucket.Take(1, kNow + absl::Seconds(1)));
}

TEST(TokenBucketTest, HoldsNoMoreThanItsBurst) {
  TokenBucket bucket(10, 20, kNow);
  EXPECT_FALSE(bucket.Take(21, kNow + absl::Hours(1)));
  EXPECT_TRUE(bucket.Take(20, kNow + absl::Hours(1)));
}

TEST(TokenBucketTest, TimeThatGoesBackFillsNothing) {
  TokenBucket bucket(10, 20, kNow);
  EXPECT_TRUE(bucket.Take(20, kNow));
  EXPECT_FALSE(bucket.Take(1, kNow - absl::Seconds(5)));
  EXPECT_FALSE(bucket.Take(6, kNow + absl::Milliseconds(500)));
  EXPECT_TRUE(bucket.Take(5, kNow + absl::Milliseconds(500)));
}

// Over any stretch of time at most burst + rate * time goes through, in whatever sizes it is asked for.
TEST(TokenBucketTest, BoundsWhatGoesThrough) {
  TokenBucket bucket(100, 50, kNow);
  double taken = 0;
  for (int i = 0; i <= 1000; ++i) {
    const double count = 1 + i % 7;
    if (bucket.Take(count, kNow + absl::Milliseconds(10 * i))) taken += count;
  }
  EXPECT_LE(taken, 50 + 100 * 10.0);
  EXPECT_GE(taken, 100 * 10.0 - 7);
}

}  // namespace
}  // namespace ursa
