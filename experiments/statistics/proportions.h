// Intervals and tests of one proportion.
#ifndef URSA_EXPERIMENTS_STATISTICS_PROPORTIONS_H_
#define URSA_EXPERIMENTS_STATISTICS_PROPORTIONS_H_

#include <cstdint>

namespace ursa {

struct Interval {
  double low = 0;
  double high = 0;
};

// Wilson's score interval of k of n (Wilson 1927), two-sided. n >= 1, 0 <= k <= n, confidence in (0, 1). `k` and `n`
// may be fractions of counts: sample sizes are planned with them.
Interval WilsonInterval(double k, double n, double confidence);

// Exact two-sided binomial test of H0: P = p0; the probability of all outcomes that are at most as likely as k.
double BinomialTestTwoSided(int64_t k, int64_t n, double p0);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_STATISTICS_PROPORTIONS_H_
