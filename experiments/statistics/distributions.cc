#include "experiments/statistics/distributions.h"

#include <cmath>

#include "base/log.h"

namespace ursa {
namespace {

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kLogSqrt2Pi = 0.91893853320467274178;
constexpr double kTwoPi = 6.28318530717958647693;

// Acklam's rational approximation of the quantile for p <= 1/2, good to a relative 1.2e-9.
double RoughQuantile(double p) {
  constexpr double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                          1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
                          -1.328068155288572e+01};
  constexpr double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                          -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  constexpr double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  if (p < 0.02425) {
    const double q = std::sqrt(-2 * std::log(p));
    return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
           ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
  }
  const double q = p - 0.5;
  const double r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
         (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

// log(n!) - log of Stirling's formula, for n >= 1.
double StirlingError(double n) {
  if (n <= 15) {
    int sign = 0;
    return lgamma_r(n + 1, &sign) - (n + 0.5) * std::log(n) + n - kLogSqrt2Pi;
  }
  const double square = n * n;
  return (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - 1.0 / 1188 / square) / square) / square) / square) / n;
}

// x log(x / mean) + mean - x without cancellation (Loader's bd0), for x > 0 and mean > 0.
double Deviance(double x, double mean) {
  if (std::abs(x - mean) >= 0.1 * (x + mean)) return x * std::log(x / mean) + mean - x;
  const double v = (x - mean) / (x + mean);
  double sum = (x - mean) * v;
  double term = 2 * x * v;
  for (int j = 1; j < 1000; ++j) {
    term *= v * v;
    const double next = sum + term / (2 * j + 1);
    if (next == sum) break;
    sum = next;
  }
  return sum;
}

// The sum of P(X = k), P(X = k - 1), ... P(X = 0) where these fall, which they do for k at or below the mean; stops
// when the rest is lost in rounding.
double LowerSum(int64_t k, int64_t n, double p) {
  double term = BinomialPmf(k, n, p);
  double sum = 0;
  const double odds = (1 - p) / p;
  for (int64_t i = k; i >= 0; --i) {
    sum += term;
    const double ratio = static_cast<double>(i) / static_cast<double>(n - i + 1) * odds;
    term *= ratio;
    // What is left is less than the geometric series of this ratio, which only falls.
    if (ratio < 1 && term / (1 - ratio) < sum * 1e-17) break;
  }
  return sum;
}

}  // namespace

double NormalCdf(double x) { return 0.5 * std::erfc(-x * kSqrtHalf); }

double NormalSf(double x) { return 0.5 * std::erfc(x * kSqrtHalf); }

double NormalQuantile(double p) {
  URSA_CHECK(p > 0 && p < 1);
  if (p > 0.5) return -NormalQuantile(1 - p);
  double x = RoughQuantile(p);
  // One step of Halley's method makes full precision of it.
  const double error = NormalCdf(x) - p;
  const double step = error * std::sqrt(kTwoPi) * std::exp(x * x / 2);
  x -= step / (1 + x * step / 2);
  return x;
}

double TwoSidedZ(double confidence) {
  URSA_CHECK(confidence > 0 && confidence < 1);
  return -NormalQuantile((1 - confidence) / 2);
}

double BinomialPmf(int64_t k, int64_t n, double p) {
  URSA_CHECK(k >= 0 && k <= n && p >= 0 && p <= 1);
  const double q = 1 - p;
  if (p == 0) return k == 0 ? 1 : 0;
  if (q == 0) return k == n ? 1 : 0;
  const auto size = static_cast<double>(n);
  const auto hits = static_cast<double>(k);
  const double misses = size - hits;
  if (k == 0) return std::exp(size * std::log1p(-p));
  if (k == n) return std::exp(size * std::log(p));
  const double exponent = StirlingError(size) - StirlingError(hits) - StirlingError(misses) - Deviance(hits, size * p) -
                          Deviance(misses, size * q);
  return std::exp(exponent) * std::sqrt(size / (kTwoPi * hits * misses));
}

double BinomialCdf(int64_t k, int64_t n, double p) {
  if (k < 0) return 0;
  if (k >= n) return 1;
  if (p == 0) return 1;
  if (p == 1) return 0;
  if (static_cast<double>(k) <= static_cast<double>(n) * p) return LowerSum(k, n, p);
  return 1 - LowerSum(n - k - 1, n, 1 - p);
}

double BinomialSf(int64_t k, int64_t n, double p) { return BinomialCdf(n - k, n, 1 - p); }

}  // namespace ursa
