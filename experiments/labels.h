// Labels of workers, "gpu=h100": what they are, as people write them. Client, coordinator and worker share these.
#ifndef URSA_EXPERIMENTS_LABELS_H_
#define URSA_EXPERIMENTS_LABELS_H_

#include <google/protobuf/repeated_field.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa {

inline constexpr int kLabelsMax = 16;  // of one worker, or one recipe

using Labels = google::protobuf::RepeatedPtrField<v1::Label>;

// Reads "NAME=VALUE". Errors: INVALID_ARGUMENT, with the rule that the text breaks.
absl::StatusOr<v1::Label> ParseLabel(std::string_view text);
std::string LabelText(const v1::Label& label);

// Names and values as recipe.proto has them, at most kLabelsMax, each name once. Errors: INVALID_ARGUMENT.
absl::Status CheckLabels(const Labels& labels);

// By name, as they are kept.
void SortLabels(Labels* labels);
// Each as "NAME=VALUE", in order.
std::vector<std::string> LabelTexts(const Labels& labels);

// Adds `granted` to `own`, which stays sorted. INVALID_ARGUMENT: a name has different values in the two; there are more
// than kLabelsMax together.
absl::Status MergeLabels(const Labels& granted, Labels* own);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_LABELS_H_
