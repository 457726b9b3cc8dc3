// The rules of a recipe's searcher and hyperparameters, and what is written into them at submit. Part of spec.h's
// implementation.
#ifndef URSA_EXPERIMENTS_SEARCH_SEARCHER_CHECKS_H_
#define URSA_EXPERIMENTS_SEARCH_SEARCHER_CHECKS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "experiments/search/search_space.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa {

inline constexpr int32_t kConcurrentTrialsMax = 1000;
inline constexpr int kHyperparametersMax = 32;
// So many trials are checked at submit, which takes about 3 microseconds a trial.
inline constexpr int32_t kTrialsCheckedMax = 1000;

// Checks the searcher and each hyperparameter by itself, in a recipe whose defaults are set. `metrics`: what a
// validation yields. Errors: INVALID_ARGUMENT: field path, value, what is allowed.
absl::Status CheckSearcher(const v1::ExperimentSpec& filled, const std::vector<std::string>& metrics);

// Judges one trial's values put into the recipe.
using TrialCheck = std::function<absl::Status(const Hyperparameters& values)>;

// Checks what the hyperparameters can make of the recipe: each end of each range and each element of each list, the
// other hyperparameters at their center; then the first kTrialsCheckedMax trials. Errors: of `check`, with the
// hyperparameter and its value, or the trial and its values, before them.
absl::Status CheckTrials(const v1::ExperimentSpec& filled, const TrialCheck& check);

// A trial of an earlier experiment, for a warm start.
struct EarlierTrial {
  Hyperparameters hyperparameters;
  std::map<std::string, double> metrics;  // of its best or last validation

  friend bool operator==(const EarlierTrial& a, const EarlierTrial& b) {
    return a.hyperparameters == b.hyperparameters && a.metrics == b.metrics;
  }
};

// Sets max_concurrent_trials where the recipe does not: as many gangs of slots_per_trial as fit into `cluster_slots`
// and max_slots, at least 1, at most kConcurrentTrialsMax and the number of trials.
void ResolveConcurrentTrials(int32_t cluster_slots, v1::ExperimentSpec* filled);

// Writes out the values that warm_start.experiment gives, unless the recipe has values already; `earlier` are its
// trials, by number. Of a trial's values those count that are hyperparameters here; ties go to the earlier trial.
// Errors: FAILED_PRECONDITION: none of them has the metric and a hyperparameter of this recipe.
absl::Status ResolveWarmStart(const std::vector<EarlierTrial>& earlier, v1::ExperimentSpec* filled);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SEARCH_SEARCHER_CHECKS_H_
