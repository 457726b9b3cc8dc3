#include "coordinator/core/submission.h"

#include <utility>

#include "base/status_macros.h"

namespace ursa {

Submission::Plan::Plan(v1::ExperimentSpec resolved_recipe)
    : resolved(std::move(resolved_recipe)), search(resolved), operations(search.Start()) {}

namespace {

absl::StatusOr<Submission::Plan> MakePlan(v1::ExperimentSpec checked, const ResolveContext& context) {
  URSA_ASSIGN_OR_RETURN(v1::ExperimentSpec resolved, ResolveChecked(std::move(checked), context));
  return Submission::Plan(std::move(resolved));
}

}  // namespace

void Submission::Prepare(ResolveContext context) {
  plan_ = MakePlan(*checked_, context);
  context_ = std::move(context);
}

absl::StatusOr<Submission::Plan> Submission::Take(const ResolveContext& context) {
  if (plan_ && context == context_) return *std::move(plan_);
  return MakePlan(*std::move(checked_), context);
}

}  // namespace ursa
