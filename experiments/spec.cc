#include "experiments/spec.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "experiments/spec_checks.h"
#include "experiments/spec_defaults.h"
#include "experiments/textproto.h"

namespace ursa {
namespace {

// What the dataset and the cluster must offer.
absl::Status CheckContext(const v1::ExperimentSpec& filled, const ResolveContext& context) {
  const v1::ResourcesSpec& resources = filled.resources();
  if (resources.min_slots_per_trial() > context.cluster_slots) {
    const bool is_elastic = resources.min_slots_per_trial() < resources.slots_per_trial();
    return absl::FailedPreconditionError(
        absl::StrCat("resources.", is_elastic ? "min_" : "", "slots_per_trial: ", resources.min_slots_per_trial(),
                     " slots asked for, pool \"", resources.pool(), "\" has ", context.cluster_slots));
  }
  URSA_RETURN_IF_ERROR(CheckBatchOnSlots(filled));
  if (context.num_classes < 2) {
    return absl::FailedPreconditionError(
        absl::StrCat("dataset ", context.dataset, ": it has ", context.num_classes, " classes, at least 2 are needed"));
  }
  if (context.num_train < filled.data().batch_size()) {
    return absl::FailedPreconditionError(
        absl::StrCat("data.batch_size: ", filled.data().batch_size(), " images a step, dataset ", context.dataset,
                     " has ", context.num_train, " for training, fewer than one batch (hint: a smaller batch_size)"));
  }
  if (context.num_valid < 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("dataset ", context.dataset, ": it has 0 validation examples, at least 1 is needed"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::ExperimentSpec> ParseRecipe(std::string_view subject, std::string_view text) {
  v1::ExperimentSpec spec;
  URSA_RETURN_IF_ERROR(ParseTextproto(subject, text, &spec));
  return spec;
}

absl::Status ApplyOverrides(const std::vector<std::string>& assignments, v1::ExperimentSpec* spec) {
  for (const std::string& assignment : assignments) URSA_RETURN_IF_ERROR(SetField(assignment, spec));
  return absl::OkStatus();
}

bool operator==(const ResolveContext& a, const ResolveContext& b) {
  const auto tie = [](const ResolveContext& context) {
    return std::tie(context.dataset, context.num_train, context.num_valid, context.num_classes, context.cluster_slots,
                    context.worker_slots, context.worker_cores, context.device, context.simd, context.version,
                    context.earlier_trials);
  };
  return tie(a) == tie(b);
}

absl::StatusOr<v1::ExperimentSpec> CheckRecipe(const v1::ExperimentSpec& spec) {
  if (spec.has_execution()) {
    return absl::InvalidArgumentError("execution: it is set by the server at submit, a recipe cannot say it");
  }
  v1::ExperimentSpec filled = spec;
  FillDefaults(&filled);
  URSA_RETURN_IF_ERROR(CheckValues(filled));
  return filled;
}

absl::Status ValidateRecipe(const v1::ExperimentSpec& spec) { return ValidateAndFill(spec).status(); }

absl::StatusOr<v1::ExperimentSpec> ValidateAndFill(const v1::ExperimentSpec& spec) {
  URSA_ASSIGN_OR_RETURN(v1::ExperimentSpec filled, CheckRecipe(spec));
  TrialRecipes recipes(filled);
  URSA_RETURN_IF_ERROR(
      CheckTrials(filled, [&](const Hyperparameters& values) { return recipes.Make(values).status(); }));
  return filled;
}

absl::StatusOr<v1::ExperimentSpec> ValidateAndResolve(const v1::ExperimentSpec& spec, const ResolveContext& context) {
  URSA_ASSIGN_OR_RETURN(v1::ExperimentSpec checked, CheckRecipe(spec));
  return ResolveChecked(std::move(checked), context);
}

absl::StatusOr<v1::ExperimentSpec> ResolveChecked(v1::ExperimentSpec resolved, const ResolveContext& context) {
  URSA_RETURN_IF_ERROR(CheckContext(resolved, context));
  ResolveConcurrentTrials(context.cluster_slots, &resolved);
  URSA_RETURN_IF_ERROR(ResolveWarmStart(context.earlier_trials, &resolved));
  TrialRecipes recipes(resolved);
  URSA_RETURN_IF_ERROR(CheckTrials(resolved, [&](const Hyperparameters& values) -> absl::Status {
    URSA_ASSIGN_OR_RETURN(const v1::ExperimentSpec* trial, recipes.Make(values));
    return CheckContext(*trial, context);
  }));
  resolved.set_dataset(context.dataset);
  v1::ExecutionSpec* execution = resolved.mutable_execution();
  execution->set_device(context.device);
  execution->set_threads_per_rank(std::max(1, context.worker_cores / std::max(1, context.worker_slots)));
  execution->set_simd(context.simd);
  execution->set_version(context.version);
  return resolved;
}

absl::StatusOr<v1::ExperimentSpec> TrialSpec(const v1::ExperimentSpec& resolved, const Hyperparameters& values) {
  TrialRecipes recipes(resolved);
  URSA_ASSIGN_OR_RETURN(const v1::ExperimentSpec* trial, recipes.Make(values));
  return *trial;
}

TrialRecipes::TrialRecipes(const v1::ExperimentSpec& resolved) : without_values_(resolved) {
  without_values_.clear_searcher();
  without_values_.clear_hyperparameters();
  if (resolved.searcher().has_adaptive_asha()) max_epochs_ = resolved.searcher().adaptive_asha().max_epochs();
}

absl::StatusOr<const v1::ExperimentSpec*> TrialRecipes::Make(const Hyperparameters& values) {
  trial_ = without_values_;  // which keeps its memory
  URSA_RETURN_IF_ERROR(SetHyperparameters(values, &trial_));
  if (max_epochs_) {
    v1::FineTune* fine_tune = trial_.mutable_train()->mutable_fine_tune();
    fine_tune->set_epochs(*max_epochs_ - fine_tune->freeze_epochs());
  }
  FillDefaults(&trial_);
  URSA_RETURN_IF_ERROR(CheckValues(trial_));
  return &trial_;
}

std::vector<int32_t> GangSizes(const v1::ExperimentSpec& resolved) {
  const v1::ResourcesSpec& resources = resolved.resources();
  // Recipes that were resolved before there was a least size have none.
  const int32_t min_size =
      resources.has_min_slots_per_trial() ? resources.min_slots_per_trial() : resources.slots_per_trial();
  std::vector<int32_t> sizes;
  for (int32_t size = resources.slots_per_trial(); size >= min_size; --size) {
    if (resolved.data().batch_size() % size == 0) sizes.push_back(size);
  }
  return sizes;
}

int64_t StepsPerEpoch(const v1::ExperimentSpec& resolved, int64_t num_train) {
  URSA_CHECK(resolved.data().batch_size() >= 1);
  return num_train / resolved.data().batch_size();
}

int32_t NumEpochs(const v1::ExperimentSpec& resolved) {
  return resolved.train().fine_tune().freeze_epochs() + resolved.train().fine_tune().epochs();
}

int64_t NumSteps(const v1::ExperimentSpec& resolved, int64_t num_train) {
  return StepsPerEpoch(resolved, num_train) * NumEpochs(resolved);
}

bool LowerIsBetter(std::string_view metric) {
  return metric.find("loss") != std::string_view::npos || metric.find("error") != std::string_view::npos;
}

const std::vector<std::string>& Architectures() {
  static const auto& names = *new std::vector<std::string>{"efficientnet_lite0", "resnet18", "resnet34", "resnet50"};
  return names;
}

}  // namespace ursa
