// Searches for tests.
#ifndef URSA_EXPERIMENTS_SEARCH_SEARCH_TESTLIB_H_
#define URSA_EXPERIMENTS_SEARCH_SEARCH_TESTLIB_H_

#include <string>
#include <vector>

#include "experiments/search/search.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa {

// A recipe of 1 frozen and 3 further epochs that tries base_lr from 1e-4 to 1e-1, with `searcher` (textproto of a
// SearcherSpec) and `overrides` as `--set` takes them.
v1::ExperimentSpec SearchRecipe(const std::string& searcher, const std::vector<std::string>& overrides = {});

// The same, resolved on a cluster of 1000 slots. Ends the test with its error if the recipe is bad.
v1::ExperimentSpec ResolvedSearch(const std::string& searcher, const std::vector<std::string>& overrides = {});

SearchFact Validated(int32_t trial, int32_t epochs, double value);
SearchFact Ended(int32_t trial);
SearchFact Failed(int32_t trial);

// Operations as text, without the values of new trials.
std::vector<std::string> Texts(const std::vector<SearchOperation>& operations);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SEARCH_SEARCH_TESTLIB_H_
