// The defaults of recipes. Part of spec.h's implementation.
#ifndef URSA_EXPERIMENTS_SPEC_DEFAULTS_H_
#define URSA_EXPERIMENTS_SPEC_DEFAULTS_H_

#include "ursa/v1/recipe.pb.h"

namespace ursa {

// Sets every field that has a default and is not set, as recipe.proto says. What a recipe must say itself
// (architecture, item transform, schedule) stays as it is. adaptive_asha's max_epochs sets train.fine_tune.epochs.
void FillDefaults(v1::ExperimentSpec* spec);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SPEC_DEFAULTS_H_
