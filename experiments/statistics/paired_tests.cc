#include "experiments/statistics/paired_tests.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "experiments/statistics/distributions.h"

namespace ursa {
namespace {

// The paired table as real numbers: sample sizes are planned with counts scaled up.
struct Table {
  double both_right;
  double candidate_only;
  double baseline_only;
  double both_wrong;
};

Table Scaled(const PairedCounts& counts, double factor) {
  return {static_cast<double>(counts.both_right) * factor, static_cast<double>(counts.candidate_only_right) * factor,
          static_cast<double>(counts.baseline_only_right) * factor, static_cast<double>(counts.both_wrong) * factor};
}

// Newcombe's phi: the correlation of the two outcomes, which carries the pairing into the interval. The continuity
// correction applies to positive correlation only.
double Phi(const Table& table, double n) {
  const double candidate_right = table.both_right + table.candidate_only;
  const double baseline_right = table.both_right + table.baseline_only;
  const double product = candidate_right * (n - candidate_right) * baseline_right * (n - baseline_right);
  if (product <= 0) return 0;
  double numerator = table.both_right * table.both_wrong - table.candidate_only * table.baseline_only;
  if (numerator > 0) numerator = std::max(numerator - n / 2, 0.0);
  return numerator / std::sqrt(product);
}

Interval NewcombeInterval(const Table& table, double confidence) {
  const double n = table.both_right + table.candidate_only + table.baseline_only + table.both_wrong;
  const double candidate_right = std::min(n, table.both_right + table.candidate_only);
  const double baseline_right = std::min(n, table.both_right + table.baseline_only);
  const Interval candidate = WilsonInterval(candidate_right, n, confidence);
  const Interval baseline = WilsonInterval(baseline_right, n, confidence);
  const double candidate_below = candidate_right / n - candidate.low;
  const double candidate_above = candidate.high - candidate_right / n;
  const double baseline_below = baseline_right / n - baseline.low;
  const double baseline_above = baseline.high - baseline_right / n;
  const double phi = Phi(table, n);
  const auto reach = [phi](double a, double b) { return std::sqrt(std::max(0.0, a * a - 2 * phi * a * b + b * b)); };
  const double difference = (table.candidate_only - table.baseline_only) / n;
  return {std::max(-1.0, difference - reach(candidate_below, baseline_above)),
          std::min(1.0, difference + reach(candidate_above, baseline_below))};
}

// The number of examples at which the interval decides when all counts grow in proportion.
double ExamplesForInterval(const PairedCounts& counts, double margin, double confidence) {
  const auto n = static_cast<double>(counts.total());
  const auto decides = [&](double examples) {
    const Interval interval = NewcombeInterval(Scaled(counts, examples / n), confidence);
    return DecideNonInferiority(interval, margin) != NonInferiority::kUndecided;
  };
  double low = n;
  double high = n;
  while (!decides(high)) {
    if (high >= static_cast<double>(kExamplesNeededMax)) return static_cast<double>(kExamplesNeededMax);
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const double middle = std::floor((low + high) / 2);
    (decides(middle) ? high : low) = middle;
  }
  return std::ceil(high);
}

constexpr double kPower = 0.8;

}  // namespace

McNemarResult McNemar(int64_t candidate_only_right, int64_t baseline_only_right) {
  URSA_CHECK(candidate_only_right >= 0 && baseline_only_right >= 0);
  const int64_t n = candidate_only_right + baseline_only_right;
  if (n == 0 || candidate_only_right == baseline_only_right) return {1, 1};
  const int64_t fewer = std::min(candidate_only_right, baseline_only_right);
  const double tails = 2 * BinomialCdf(fewer, n, 0.5);
  return {std::min(1.0, tails), std::min(1.0, tails - BinomialPmf(fewer, n, 0.5))};
}

Interval PairedDifferenceInterval(const PairedCounts& counts, double confidence) {
  URSA_CHECK(counts.total() >= 1);
  return NewcombeInterval(Scaled(counts, 1), confidence);
}

NonInferiority DecideNonInferiority(const Interval& difference, double margin) {
  if (difference.low > -margin) return NonInferiority::kShown;
  if (difference.high < -margin) return NonInferiority::kRefuted;
  return NonInferiority::kUndecided;
}

double McNemarSampleSize(double rate_a, double rate_b, double alpha, double power) {
  const double discordance = rate_a + rate_b;
  const double difference = std::abs(rate_a - rate_b);
  const double root = TwoSidedZ(1 - alpha) * std::sqrt(discordance) +
                      NormalQuantile(power) * std::sqrt(std::max(0.0, discordance - difference * difference));
  return root * root / (difference * difference);
}

double McNemarPower(double rate_a, double rate_b, double alpha, double n) {
  const double discordance = rate_a + rate_b;
  const double difference = std::abs(rate_a - rate_b);
  return NormalCdf((difference * std::sqrt(n) - TwoSidedZ(1 - alpha) * std::sqrt(discordance)) /
                   std::sqrt(discordance - difference * difference));
}

int64_t ExamplesNeeded(const PairedCounts& counts, double margin, double confidence) {
  URSA_CHECK(counts.total() >= 1);
  const auto n = static_cast<double>(counts.total());
  const double difference = counts.difference();
  const double distance = difference + margin;
  const double discordance = static_cast<double>(counts.candidate_only_right + counts.baseline_only_right) / n;
  double needed = ExamplesForInterval(counts, margin, confidence);
  if (distance != 0) {
    // Connor's formula, its variance under the observed rates and its distance measured from the margin.
    const double spread = std::sqrt(std::max(0.0, discordance - difference * difference));
    const double root = TwoSidedZ(confidence) * std::sqrt(discordance) + NormalQuantile(kPower) * spread;
    needed = std::max(needed, std::ceil(root * root / (distance * distance)));
  }
  needed = std::min(std::max(needed, n + 1), static_cast<double>(kExamplesNeededMax));
  return static_cast<int64_t>(needed);
}

}  // namespace ursa
