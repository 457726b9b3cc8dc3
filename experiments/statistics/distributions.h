// Normal and binomial distributions in float64, to a relative 1e-12 or better, tails included.
#ifndef URSA_EXPERIMENTS_STATISTICS_DISTRIBUTIONS_H_
#define URSA_EXPERIMENTS_STATISTICS_DISTRIBUTIONS_H_

#include <cstdint>

namespace ursa {

// P(Z <= x) and P(Z > x) of the standard normal distribution.
double NormalCdf(double x);
double NormalSf(double x);

// The x with NormalCdf(x) = p, for p in (0, 1).
double NormalQuantile(double p);

// The z of a two-sided interval: NormalQuantile((1 + confidence) / 2), for confidence in (0, 1).
double TwoSidedZ(double confidence);

// P(X = k) for X ~ Binomial(n, p), 0 <= k <= n, p in [0, 1]. Loader's saddle-point expansion (Loader 2000, "Fast and
// Accurate Computation of Binomial Probabilities"), which keeps its precision for any n.
double BinomialPmf(int64_t k, int64_t n, double p);

// P(X <= k) and P(X >= k): the probabilities summed outwards from the end nearer the mean, so that cost grows with
// sqrt(n) only. k may lie outside 0..n.
double BinomialCdf(int64_t k, int64_t n, double p);
double BinomialSf(int64_t k, int64_t n, double p);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_STATISTICS_DISTRIBUTIONS_H_
