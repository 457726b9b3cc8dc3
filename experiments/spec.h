// Recipes (ursa.v1.ExperimentSpec): parsing, checking, and resolving, which writes out every default. A resolved recipe
// says all that decides what an experiment does.
#ifndef URSA_EXPERIMENTS_SPEC_H_
#define URSA_EXPERIMENTS_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "experiments/search/searcher_checks.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa {

// Parses a recipe's text. `subject` starts each error, usually the file's name. Field values are not judged.
// Errors: INVALID_ARGUMENT with line and column, see ParseTextproto.
absl::StatusOr<v1::ExperimentSpec> ParseRecipe(std::string_view subject, std::string_view text);

// Applies `--set` assignments in order, see SetField. Errors: INVALID_ARGUMENT.
absl::Status ApplyOverrides(const std::vector<std::string>& assignments, v1::ExperimentSpec* spec);

// What is known at submit beside the recipe.
struct ResolveContext {
  std::string dataset;    // the version that spec.dataset() names now: "bears@3"
  int64_t num_train = 0;  // its training examples
  int64_t num_valid = 0;
  int64_t num_classes = 0;
  int32_t cluster_slots = 0;  // of all workers of the pool that are alive
  int32_t worker_slots = 1;   // of the machine type that will run it
  int32_t worker_cores = 1;
  std::string device;                        // cpu or cuda
  std::string simd;                          // x86-64-v2, avx2, avx512
  std::string version;                       // of Ursa's binaries
  std::vector<EarlierTrial> earlier_trials;  // of searcher.warm_start.experiment, by number

  friend bool operator==(const ResolveContext& a, const ResolveContext& b);
};

// Checks what a recipe can get wrong by itself, its hyperparameters' values not put in, and writes out the defaults
// that need no cluster. Errors: as ValidateRecipe.
absl::StatusOr<v1::ExperimentSpec> CheckRecipe(const v1::ExperimentSpec& spec);

// Everything that a recipe can get wrong by itself, also with its hyperparameters' values put in. How the batch falls
// onto the slots is judged by ValidateAndResolve: somebody who asks for more slots than there are is told that first.
// Errors: INVALID_ARGUMENT: field path, value, what is allowed (of a search: after the hyperparameter or trial that
// leads to it); FAILED_PRECONDITION: pretrained weights that are not at hand.
absl::Status ValidateRecipe(const v1::ExperimentSpec& spec);

// Validates, then writes out the defaults that need no cluster. Errors: as ValidateRecipe.
absl::StatusOr<v1::ExperimentSpec> ValidateAndFill(const v1::ExperimentSpec& spec);

// Validates, then writes out all defaults, the dataset version and `execution`, and what a warm start takes from an
// earlier experiment. Where trials differ in the model, normalization is left to each trial's recipe.
// Errors: as ValidateRecipe; FAILED_PRECONDITION: more slots than the cluster has, fewer training images than a batch,
// no validation image, fewer than two classes; each with both numbers; nothing to start from in earlier_trials.
absl::StatusOr<v1::ExperimentSpec> ValidateAndResolve(const v1::ExperimentSpec& spec, const ResolveContext& context);
// The same of what CheckRecipe gave, which it takes and completes.
absl::StatusOr<v1::ExperimentSpec> ResolveChecked(v1::ExperimentSpec resolved, const ResolveContext& context);

// The recipe of one trial: a resolved recipe with the trial's values put in, and without the search. Errors:
// INVALID_ARGUMENT, FAILED_PRECONDITION: values that make no valid recipe together (kTrialsCheckedMax says up to which
// trial that is found at submit).
absl::StatusOr<v1::ExperimentSpec> TrialSpec(const v1::ExperimentSpec& resolved, const Hyperparameters& values);

// The same for many trials of one search, without a copy of the recipe for each. Copyable; not thread-safe.
class TrialRecipes {
 public:
  explicit TrialRecipes(const v1::ExperimentSpec& resolved);
  // Good until the next call.
  absl::StatusOr<const v1::ExperimentSpec*> Make(const Hyperparameters& values);

 private:
  v1::ExperimentSpec without_values_;
  std::optional<int32_t> max_epochs_;  // of adaptive_asha
  v1::ExperimentSpec trial_;
};

// Of a resolved recipe: the sizes that a trial's gang may have, largest first: those from min_slots_per_trial to
// slots_per_trial that divide the batch. Not empty.
std::vector<int32_t> GangSizes(const v1::ExperimentSpec& resolved);

// Of a resolved recipe. A training epoch has floor(num_train / batch_size) optimizer steps (the loader drops the last,
// partial batch); epochs and steps count through all phases.
int64_t StepsPerEpoch(const v1::ExperimentSpec& resolved, int64_t num_train);
int32_t NumEpochs(const v1::ExperimentSpec& resolved);
int64_t NumSteps(const v1::ExperimentSpec& resolved, int64_t num_train);

// Whether a smaller value of the metric is the better one: names with "loss" or "error".
bool LowerIsBetter(std::string_view metric);

// Architectures a recipe may name, in the order of recipe.proto.
const std::vector<std::string>& Architectures();

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SPEC_H_
