#include "experiments/search/search_testlib.h"

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "experiments/spec.h"

namespace ursa {

v1::ExperimentSpec SearchRecipe(const std::string& searcher, const std::vector<std::string>& overrides) {
  const auto recipe = ParseRecipe("test", absl::StrCat(R"(
    name: "x"
    dataset: "bears"
    model { architecture: "resnet18" }
    data { item_transforms { resize { size: 64 } } }
    train { fine_tune { epochs: 3 } }
    hyperparameters { name: "train.fine_tune.base_lr" log { low: 1e-4 high: 1e-1 } }
    searcher { )",
                                                       searcher, " }"));
  URSA_CHECK_OK(recipe.status());
  v1::ExperimentSpec spec = *recipe;
  URSA_CHECK_OK(ApplyOverrides(overrides, &spec));
  return spec;
}

v1::ExperimentSpec ResolvedSearch(const std::string& searcher, const std::vector<std::string>& overrides) {
  ResolveContext context;
  context.dataset = "bears@1";
  context.num_train = 1000;
  context.num_valid = 100;
  context.num_classes = 3;
  context.cluster_slots = 1000;
  const auto resolved = ValidateAndResolve(SearchRecipe(searcher, overrides), context);
  URSA_CHECK_OK(resolved.status());
  return *resolved;
}

SearchFact Validated(int32_t trial, int32_t epochs, double value) {
  return {SearchFact::Kind::kValidated, trial, epochs, value};
}

SearchFact Ended(int32_t trial) { return {SearchFact::Kind::kEnded, trial, 0, 0}; }

SearchFact Failed(int32_t trial) { return {SearchFact::Kind::kFailed, trial, 0, 0}; }

std::vector<std::string> Texts(const std::vector<SearchOperation>& operations) {
  std::vector<std::string> texts;
  for (const SearchOperation& operation : operations) {
    const bool is_new = operation.kind == SearchOperation::Kind::kCreateTrial;
    texts.push_back(is_new ? absl::StrCat("create ", operation.trial) : operation.ToString());
  }
  return texts;
}

}  // namespace ursa
