#include "experiments/search/median_rule.h"

#include <algorithm>

namespace ursa {
namespace {

// Of a sorted list that is not empty; the mean of the middle two of an even number.
double Median(const std::vector<double>& sorted) {
  const size_t middle = sorted.size() / 2;
  if (sorted.size() % 2 == 1 || sorted[middle - 1] == sorted[middle]) return sorted[middle];
  return (sorted[middle - 1] + sorted[middle]) / 2;
}

}  // namespace

std::optional<double> MedianRule::Judge(int32_t epochs, double best_key, double mean_key) {
  std::vector<double>& means = means_[epochs];
  std::optional<double> missed;
  if (epochs >= min_epochs_ && means.size() >= static_cast<size_t>(min_trials_)) {
    const double median = Median(means);
    if (best_key > median) missed = median;
  }
  means.insert(std::upper_bound(means.begin(), means.end(), mean_key), mean_key);
  return missed;
}

}  // namespace ursa
