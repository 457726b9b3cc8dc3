#include "experiments/statistics/proportions.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "experiments/statistics/distributions.h"

namespace ursa {

Interval WilsonInterval(double k, double n, double confidence) {
  URSA_CHECK(n > 0 && k >= 0 && k <= n);
  const double z = TwoSidedZ(confidence);
  const double share = k / n;
  const double scale = 1 + z * z / n;
  const double centre = (share + z * z / (2 * n)) / scale;
  const double half = z / scale * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  // At the ends the bound is 0 or 1 by algebra, which rounding would miss.
  return {k == 0 ? 0 : std::max(0.0, centre - half), k == n ? 1 : std::min(1.0, centre + half)};
}

double BinomialTestTwoSided(int64_t k, int64_t n, double p0) {
  URSA_CHECK(n >= 1 && k >= 0 && k <= n && p0 >= 0 && p0 <= 1);
  // Outcomes as likely as k count as "at most as likely", also where rounding says otherwise.
  const double bound = BinomialPmf(k, n, p0) * (1 + 1e-7);
  const double mean = p0 * static_cast<double>(n);
  if (static_cast<double>(k) == mean) return 1;
  if (static_cast<double>(k) < mean) {
    // The probabilities fall above the mean: the first upper outcome within the bound, by bisection.
    int64_t low = static_cast<int64_t>(std::ceil(mean));
    int64_t high = n + 1;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (BinomialPmf(middle, n, p0) <= bound) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return std::min(1.0, BinomialCdf(k, n, p0) + BinomialSf(low, n, p0));
  }
  return BinomialTestTwoSided(n - k, n, 1 - p0);
}

}  // namespace ursa
