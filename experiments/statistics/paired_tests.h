// Two classifiers on the same examples: tests and intervals of the paired 2x2 table.
#ifndef URSA_EXPERIMENTS_STATISTICS_PAIRED_TESTS_H_
#define URSA_EXPERIMENTS_STATISTICS_PAIRED_TESTS_H_

#include <cstdint>

#include "experiments/statistics/proportions.h"

namespace ursa {

// How often which of the two was right.
struct PairedCounts {
  int64_t both_right = 0;
  int64_t candidate_only_right = 0;
  int64_t baseline_only_right = 0;
  int64_t both_wrong = 0;

  int64_t total() const { return both_right + candidate_only_right + baseline_only_right + both_wrong; }
  // accuracy(candidate) - accuracy(baseline); total() >= 1.
  double difference() const {
    return static_cast<double>(candidate_only_right - baseline_only_right) / static_cast<double>(total());
  }
};

// McNemar's test of equal accuracy, from the two discordant counts, two-sided; 1 without a discordant pair.
struct McNemarResult {
  double exact_p = 1;  // binomial, for any count
  double mid_p = 1;    // less conservative (Lancaster 1961)
};
McNemarResult McNemar(int64_t candidate_only_right, int64_t baseline_only_right);

// Interval of the difference: Newcombe's paired hybrid score interval (Newcombe 1998, Statistics in Medicine 17:2635,
// method 10), two-sided. It is never a point: without any discordant pair it still has the width that n examples allow,
// where the Wald interval would be [0, 0]. total() >= 1, confidence in (0, 1).
Interval PairedDifferenceInterval(const PairedCounts& counts, double confidence);

// Whether the candidate is not worse than the baseline by `margin` or more.
enum class NonInferiority { kShown, kRefuted, kUndecided };

// kShown if the interval's lower end is above -margin, kRefuted if its upper end is below -margin. margin in [0, 1].
NonInferiority DecideNonInferiority(const Interval& difference, double margin);

inline constexpr int64_t kExamplesNeededMax = 1'000'000'000'000;

// How many examples in all an undecided comparison would need for a decision if the observed rates stay: the larger of
//   - the number at which the interval, with all four counts scaled up, leaves -margin out;
//   - Connor's (1987) paired sample size for distance |difference + margin| at a power of 80 %.
// More than total(), at most kExamplesNeededMax (reached where the difference lies on -margin itself).
int64_t ExamplesNeeded(const PairedCounts& counts, double margin, double confidence);

// Connor's sample size of McNemar's test: pairs for a power to find |rate_a - rate_b|, where rate_a and rate_b are the
// rates of the two kinds of discordant pairs; alpha is two-sided. Not rounded.
double McNemarSampleSize(double rate_a, double rate_b, double alpha, double power);

// Its inverse: the power with n pairs.
double McNemarPower(double rate_a, double rate_b, double alpha, double n);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_STATISTICS_PAIRED_TESTS_H_
