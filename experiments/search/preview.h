// What a search will do, without running it.
#ifndef URSA_EXPERIMENTS_SEARCH_PREVIEW_H_
#define URSA_EXPERIMENTS_SEARCH_PREVIEW_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "experiments/search/search_space.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa {

inline constexpr int32_t kPreviewSamplesMax = 10;

struct SearchPreview {
  struct Rung {
    int32_t epochs = 0;      // of a bracket's only rung: the most of any trial
    int32_t num_trials = 0;  // that are expected to come to it
  };
  struct Bracket {
    int32_t num_trials = 0;
    std::vector<Rung> rungs;
  };
  struct Sample {
    int32_t trial = 0;
    Hyperparameters hyperparameters;
  };
  std::string method;  // single, grid, random, adaptive_asha
  std::string metric;
  bool smaller_is_better = true;
  int32_t num_trials = 0;
  int32_t max_concurrent_trials = 0;  // 0: as many as fit the cluster
  std::vector<Bracket> brackets;
  int64_t total_epochs = 0;      // expected, of all trials together
  int64_t total_epochs_max = 0;  // if each trained to its end
  std::vector<Sample> samples;   // the first ones, at most kPreviewSamplesMax; those that a server alone knows left out
};

// Runs the search itself on a made-up metric: each trial keeps one value, drawn at random from the recipe's seed, and
// all train equally fast. How many are promoted depends on the order in which good trials come, so counts of a real
// search differ by a few. Median stopping is not foreseen: it can only save epochs. Errors: as ValidateRecipe.
absl::StatusOr<SearchPreview> PreviewSearch(const v1::ExperimentSpec& recipe);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SEARCH_PREVIEW_H_
