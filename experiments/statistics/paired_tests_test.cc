#include "experiments/statistics/paired_tests.h"

#include <cmath>
#include <vector>

#include "experiments/statistics/distributions.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

// The definition, term by term, in long double.
double McNemarByDefinition(int64_t b, int64_t c) {
  const int64_t n = b + c;
  long double sum = 0;
  for (int64_t k = 0; k <= std::min(b, c); ++k) {
    long double term = 1;
    for (int64_t i = 0; i < k; ++i) term = term * static_cast<long double>(n - i) / static_cast<long double>(i + 1);
    sum += term * std::pow(0.5L, static_cast<long double>(n));
  }
  return std::min(1.0, static_cast<double>(2 * sum));
}

TEST(McNemarTest, AgreesWithTheDefinition) {
  for (int64_t b = 0; b <= 60; b += 3) {
    for (int64_t c = 0; c <= 60; ++c) {
      const double expected = McNemarByDefinition(b, c);
      EXPECT_NEAR(McNemar(b, c).exact_p, expected, 1e-12 * expected) << b << " " << c;
    }
  }
}

TEST(McNemarTest, LargeCountsAgreeWithTheNormalApproximation) {
  // With continuity correction, which is good to a relative 1e-4 at this size.
  const int64_t n = 100'000'000;
  const int64_t shift = 10'000;
  const double p = McNemar(n / 2 - shift, n / 2 + shift).exact_p;
  const double z = (2.0 * shift - 1) / std::sqrt(static_cast<double>(n));
  EXPECT_NEAR(p, 2 * NormalSf(z), 1e-4 * p);
}

TEST(McNemarTest, FarTailsDoNotVanish) {
  EXPECT_NEAR(McNemar(0, 1000).exact_p, std::pow(2.0, -999), 1e-10 * std::pow(2.0, -999));
}

TEST(McNemarTest, MidPIsSmallerThanExact) {
  EXPECT_LT(McNemar(3, 10).mid_p, McNemar(3, 10).exact_p);
  EXPECT_EQ(McNemar(0, 0).mid_p, 1);
  EXPECT_EQ(McNemar(5, 5).mid_p, 1);
}

TEST(DistributionsTest, QuantileInvertsTheDistribution) {
  for (double p = 1e-300; p < 0.5; p *= 3) EXPECT_NEAR(NormalCdf(NormalQuantile(p)), p, 1e-10 * p) << p;
  for (double p = 0.5; p < 1; p += 0.01) EXPECT_NEAR(NormalCdf(NormalQuantile(p)), p, 1e-14);
  EXPECT_NEAR(TwoSidedZ(0.95), 1.959963984540054, 1e-14);
}

TEST(DistributionsTest, BinomialProbabilitiesSumToOne) {
  for (double p : {0.0, 1e-9, 0.03, 0.5, 0.9, 1.0}) {
    double sum = 0;
    for (int64_t k = 0; k <= 40; ++k) {
      sum += BinomialPmf(k, 40, p);
      EXPECT_NEAR(BinomialCdf(k, 40, p), sum, 1e-13) << k << " " << p;
      EXPECT_NEAR(BinomialSf(k + 1, 40, p), 1 - sum, 1e-13) << k << " " << p;
    }
    EXPECT_NEAR(sum, 1, 1e-13);
  }
  EXPECT_EQ(BinomialCdf(-1, 10, 0.5), 0);
  EXPECT_EQ(BinomialCdf(10, 10, 0.5), 1);
}

TEST(WilsonIntervalTest, HoldsTheShareAndGrowsWithConfidence) {
  for (int n : {1, 2, 10, 83, 1000}) {
    for (int k = 0; k <= n; k += 1 + n / 10) {
      const Interval narrow = WilsonInterval(k, n, 0.9);
      const Interval wide = WilsonInterval(k, n, 0.99);
      const double share = static_cast<double>(k) / n;
      EXPECT_TRUE(narrow.low <= share && share <= narrow.high) << k << " of " << n;
      EXPECT_TRUE(wide.low <= narrow.low && narrow.high <= wide.high);
      EXPECT_TRUE(wide.low >= 0 && wide.high <= 1);
    }
  }
}

TEST(BinomialTestTest, IsSymmetric) {
  EXPECT_EQ(BinomialTestTwoSided(5, 10, 0.5), 1);
  EXPECT_NEAR(BinomialTestTwoSided(3, 200, 0.05), BinomialTestTwoSided(197, 200, 0.95), 1e-12);
}

TEST(PairedDifferenceIntervalTest, SwappingTheModelsMirrorsIt) {
  for (const PairedCounts& counts :
       std::vector<PairedCounts>{{80, 3, 7, 29}, {36, 12, 2, 0}, {0, 1, 0, 0}, {0, 0, 5, 5}, {54, 0, 0, 0}}) {
    const PairedCounts swapped = {counts.both_right, counts.baseline_only_right, counts.candidate_only_right,
                                  counts.both_wrong};
    const Interval interval = PairedDifferenceInterval(counts, 0.95);
    const Interval mirror = PairedDifferenceInterval(swapped, 0.95);
    EXPECT_NEAR(interval.low, -mirror.high, 1e-15);
    EXPECT_NEAR(interval.high, -mirror.low, 1e-15);
    EXPECT_TRUE(interval.low <= counts.difference() && counts.difference() <= interval.high);
    EXPECT_LT(interval.low, interval.high);
  }
}

TEST(DecideNonInferiorityTest, ByTheIntervalsEnds) {
  EXPECT_EQ(DecideNonInferiority({-0.005, 0.02}, 0.01), NonInferiority::kShown);
  EXPECT_EQ(DecideNonInferiority({-0.05, -0.02}, 0.01), NonInferiority::kRefuted);
  EXPECT_EQ(DecideNonInferiority({-0.05, 0.02}, 0.01), NonInferiority::kUndecided);
  EXPECT_EQ(DecideNonInferiority({-0.01, 0.02}, 0.01), NonInferiority::kUndecided);
  EXPECT_EQ(DecideNonInferiority({0.001, 0.02}, 0), NonInferiority::kShown);
}

// Scaled-up counts; rounding moves each by at most a half.
PairedCounts Grown(const PairedCounts& counts, int64_t total) {
  const double factor = static_cast<double>(total) / static_cast<double>(counts.total());
  const auto grow = [factor](int64_t count) { return std::llround(static_cast<double>(count) * factor); };
  return {grow(counts.both_right), grow(counts.candidate_only_right), grow(counts.baseline_only_right),
          grow(counts.both_wrong)};
}

TEST(ExamplesNeededTest, ThatManyDecide) {
  for (const PairedCounts& counts :
       std::vector<PairedCounts>{{75, 3, 2, 3}, {70, 2, 6, 5}, {83, 0, 0, 0}, {75, 0, 0, 8}, {60, 10, 10, 3}}) {
    const int64_t needed = ExamplesNeeded(counts, 0.01, 0.95);
    EXPECT_GT(needed, counts.total());
    // A little more than that, for the rounding of the counts.
    const Interval interval = PairedDifferenceInterval(Grown(counts, needed + needed / 50 + 1), 0.95);
    EXPECT_NE(DecideNonInferiority(interval, 0.01), NonInferiority::kUndecided) << needed;
  }
}

// Without a discordant pair what counts is how sure n examples make us that discordance is rare.
TEST(ExamplesNeededTest, IdenticalPredictions) {
  EXPECT_EQ(ExamplesNeeded({83, 0, 0, 0}, 0.01, 0.95), 381);
  EXPECT_EQ(DecideNonInferiority(PairedDifferenceInterval({381, 0, 0, 0}, 0.95), 0.01), NonInferiority::kShown);
  EXPECT_EQ(DecideNonInferiority(PairedDifferenceInterval({380, 0, 0, 0}, 0.95), 0.01), NonInferiority::kUndecided);
}

// The power that the answer promises, from the normal approximation of the paired difference.
TEST(ExamplesNeededTest, HasTheStatedPower) {
  const PairedCounts observed = {800, 45, 40, 115};
  const int64_t needed = ExamplesNeeded(observed, 0.01, 0.95);
  const auto n = static_cast<double>(observed.total());
  const double psi = 85 / n;
  const double margin_distance = observed.difference() + 0.01;
  const double standard_error = std::sqrt((psi - std::pow(observed.difference(), 2)) / static_cast<double>(needed));
  EXPECT_NEAR(NormalCdf(margin_distance / standard_error - TwoSidedZ(0.95)), 0.8, 0.02);
}

TEST(ExamplesNeededTest, FinerGatesNeedMore) {
  const PairedCounts counts = {70, 4, 4, 5};
  EXPECT_LT(ExamplesNeeded(counts, 0.02, 0.95), ExamplesNeeded(counts, 0.01, 0.95));
  EXPECT_LT(ExamplesNeeded(counts, 0.01, 0.9), ExamplesNeeded(counts, 0.01, 0.95));
  EXPECT_GT(ExamplesNeeded(counts, 0.0001, 0.9999), 1'000'000);
}

TEST(ExamplesNeededTest, OnTheMarginItself) {
  EXPECT_EQ(ExamplesNeeded({98, 0, 1, 1}, 0.01, 0.95), kExamplesNeededMax);
  EXPECT_EQ(ExamplesNeeded({95, 2, 2, 1}, 0, 0.95), kExamplesNeededMax);
}

}  // namespace
}  // namespace ursa
