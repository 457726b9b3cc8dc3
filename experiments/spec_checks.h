// The rules of recipes' values. Part of spec.h's implementation.
#ifndef URSA_EXPERIMENTS_SPEC_CHECKS_H_
#define URSA_EXPERIMENTS_SPEC_CHECKS_H_

#include "absl/status/status.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa {

// Checks a recipe in which FillDefaults has set the defaults. Errors: INVALID_ARGUMENT: field path, value, what is
// allowed; FAILED_PRECONDITION: pretrained weights that are not at hand.
absl::Status CheckValues(const v1::ExperimentSpec& filled);

// Checks that the batch is a multiple of the slots, also of the fewest, with at least 2 images a rank. Errors:
// INVALID_ARGUMENT.
absl::Status CheckBatchOnSlots(const v1::ExperimentSpec& filled);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SPEC_CHECKS_H_
