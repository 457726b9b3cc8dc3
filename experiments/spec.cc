#include "experiments/spec.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "experiments/spec_checks.h"
#include "experiments/spec_defaults.h"
#include "experiments/textproto.h"

namespace ursa {
namespace {

absl::StatusOr<v1::ExperimentSpec> FillAndCheck(const v1::ExperimentSpec& spec) {
  if (spec.has_execution()) {
    return absl::InvalidArgumentError("execution: it is set by the server at submit, a recipe cannot say it");
  }
  v1::ExperimentSpec filled = spec;
  FillDefaults(&filled);
  URSA_RETURN_IF_ERROR(CheckValues(filled));
  return filled;
}

// What the dataset and the cluster must offer.
absl::Status CheckContext(const v1::ExperimentSpec& filled, const ResolveContext& context) {
  if (filled.resources().slots_per_trial() > context.cluster_slots) {
    return absl::FailedPreconditionError(
        absl::StrCat("resources.slots_per_trial: ", filled.resources().slots_per_trial(),
                     " slots asked for, the cluster has ", context.cluster_slots));
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

absl::Status ValidateRecipe(const v1::ExperimentSpec& spec) { return FillAndCheck(spec).status(); }

absl::StatusOr<v1::ExperimentSpec> ValidateAndResolve(const v1::ExperimentSpec& spec, const ResolveContext& context) {
  URSA_ASSIGN_OR_RETURN(v1::ExperimentSpec resolved, FillAndCheck(spec));
  URSA_RETURN_IF_ERROR(CheckContext(resolved, context));
  resolved.set_dataset(context.dataset);
  v1::ExecutionSpec* execution = resolved.mutable_execution();
  execution->set_device(context.device);
  execution->set_threads_per_rank(std::max(1, context.worker_cores / std::max(1, context.worker_slots)));
  execution->set_simd(context.simd);
  execution->set_version(context.version);
  return resolved;
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
