// Hashes that name a trained model: its transforms, and the artifact as a whole.
#ifndef URSA_EXPERIMENTS_ARTIFACT_H_
#define URSA_EXPERIMENTS_ARTIFACT_H_

#include <string>
#include <string_view>
#include <vector>

#include "ursa/v1/recipe.pb.h"

namespace ursa {

// SHA-256 over the item and batch transforms of a resolved recipe (see spec.h), normalisation included; batch_size is
// not. 64 lower-case hex digits.
std::string TransformHash(const v1::DataSpec& resolved);

// SHA-256 over weights (their blob's hash), architecture, transforms and classes in order: two versions with the same
// hash predict the same. 64 lower-case hex digits.
std::string ArtifactHash(std::string_view weights_hash, std::string_view architecture, std::string_view transform_hash,
                         const std::vector<std::string>& classes);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_ARTIFACT_H_
