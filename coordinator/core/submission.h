// A submitted recipe on its way into the state.
#ifndef URSA_COORDINATOR_CORE_SUBMISSION_H_
#define URSA_COORDINATOR_CORE_SUBMISSION_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "experiments/search/search.h"
#include "experiments/spec.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa {

// Judges and resolves a recipe outside of the coordinator's lock: that takes some 3 us for each trial of a search, in
// which nobody else could do anything. What it is resolved with has to be looked up in the state, and may be another
// when the lock is taken to write; then it is resolved once more.
class Submission {
 public:
  // What becomes of the recipe.
  struct Plan {
    explicit Plan(v1::ExperimentSpec resolved_recipe);

    v1::ExperimentSpec resolved;
    Search search;                            // started
    std::vector<SearchOperation> operations;  // of its start
  };

  explicit Submission(const v1::ExperimentSpec& recipe) : checked_(CheckRecipe(recipe)) {}

  // What is wrong with the recipe by itself. Errors: as CheckRecipe.
  absl::Status status() const { return checked_.status(); }
  // Whether Prepare is worth a look at the state: not for a single trial, which takes a few us.
  bool is_long() const { return checked_.ok() && checked_->has_searcher(); }
  // Resolves the recipe as it will be if the context stays as it is. status() is OK.
  void Prepare(ResolveContext context);
  // As it is in this context. Once, and status() is OK. Errors: as ResolveChecked.
  absl::StatusOr<Plan> Take(const ResolveContext& context);

 private:
  absl::StatusOr<v1::ExperimentSpec> checked_;
  ResolveContext context_;  // of the plan
  std::optional<absl::StatusOr<Plan>> plan_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_SUBMISSION_H_
