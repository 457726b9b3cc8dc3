// Early stopping across trials by Vizier's median rule (Golovin, Solnik, Moitra, Kochanski, Karro, Sculley, "Google
// Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.2).
#ifndef URSA_EXPERIMENTS_SEARCH_MEDIAN_RULE_H_
#define URSA_EXPERIMENTS_SEARCH_MEDIAN_RULE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace ursa {

// A trial is to end after epoch s when its best key up to s is more than the median of the means of keys 1..s of the
// other trials that have come to s. (Vizier counts completed trials only; here those that still train count too, so
// that the rule works with as many trials at once as there are.) Keys: smaller is better. A value type; not
// thread-safe.
class MedianRule {
 public:
  // No verdict before `min_epochs` epochs, nor with fewer than `min_trials` others.
  MedianRule(int32_t min_epochs, int32_t min_trials) : min_epochs_(min_epochs), min_trials_(min_trials) {}

  // Takes in a trial's best and mean key up to epoch `epochs`, from 1; once a trial and epoch. The median that it fails
  // to reach, or nothing: it may go on.
  std::optional<double> Judge(int32_t epochs, double best_key, double mean_key);

 private:
  int32_t min_epochs_;
  int32_t min_trials_;
  std::map<int32_t, std::vector<double>> means_;  // epoch -> of all trials that have come to it, sorted
};

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SEARCH_MEDIAN_RULE_H_
