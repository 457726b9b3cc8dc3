// The hyperparameters of a recipe as a space of values: its grid, draws from it, and the recipe with values put in.
// What a trial gets depends on the recipe (its seed included) and the trial's number alone, never on what other trials
// did before it was made.
#ifndef URSA_EXPERIMENTS_SEARCH_SEARCH_SPACE_H_
#define URSA_EXPERIMENTS_SEARCH_SEARCH_SPACE_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa {

inline constexpr int32_t kNumTrialsMax = 10'000;

// Values of one trial: the hyperparameter's name -> a literal as `--set` takes it. Numbers are the shortest text that
// reads back as the same number.
using Hyperparameters = std::map<std::string, std::string>;

// "train.fine_tune.base_lr=0.003, train.weight_decay=0.1".
std::string HyperparametersText(const Hyperparameters& values);

// "name=value" -> (name, value), without space around them.
std::pair<std::string, std::string> SplitAssignment(const std::string& assignment);

// Points of one hyperparameter's grid; 0: a range without `count`.
int64_t NumPoints(const v1::Hyperparameter& hyperparameter);

// Combinations of all points; kNumTrialsMax + 1 if there are more than kNumTrialsMax.
int32_t NumGridTrials(const v1::ExperimentSpec& spec);

// Trials that the searcher makes in all; 1 without a searcher.
int32_t NumTrials(const v1::ExperimentSpec& spec);

// What the checks try beside the trials themselves. Ends: low and high of a range, all elements of a list. Center: the
// middle of a range (geometric for `log`) or of its points, the first element of a list.
std::vector<std::string> EndValues(const v1::Hyperparameter& hyperparameter);
std::string CenterValue(const v1::Hyperparameter& hyperparameter);

// The values of trial `trial`, from 1, of a recipe that passes the checks.
//   grid: trial - 1, read as a number whose digits are the hyperparameters' points, the last one the lowest digit.
//   others: hyperparameter i is drawn from CounterRng(seed, trial, kSearchStream + i): log exp(U(ln low, ln high)),
//   uniform U(low, high), int and lists evenly; a range with `count` draws one of its points. Draws of `log` and
//   `uniform` are rounded to 6 significant digits. The first trials have the values of `warm_start.trials`.
// No searcher: no values.
Hyperparameters TrialHyperparameters(const v1::ExperimentSpec& spec, int32_t trial);

// Puts values into a recipe; an error leaves it with some of them. Errors: INVALID_ARGUMENT, as SetField.
absl::Status SetHyperparameters(const Hyperparameters& values, v1::ExperimentSpec* spec);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SEARCH_SEARCH_SPACE_H_
