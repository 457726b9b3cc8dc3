// Names: which are allowed, how people write them (`bears`, `bears@3`, `bears:champion`), and the resource names of the
// API that they stand for (`datasets/bears/versions/3`). Client and coordinator share these, so that they cannot
// differ.
#ifndef URSA_EXPERIMENTS_RESOURCE_NAMES_H_
#define URSA_EXPERIMENTS_RESOURCE_NAMES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ursa {

inline constexpr size_t kNameLengthMax = 64;
inline constexpr char kChampionAlias[] = "champion";

// Checks a dataset's, model's or experiment's name, or an alias: [a-z0-9][a-z0-9._-]{0,63}. `noun` starts the error
// text: `dataset "Bears": ...`. Errors: INVALID_ARGUMENT, with the rule and the first character that breaks it.
absl::Status CheckName(std::string_view noun, std::string_view name);

// A version of a dataset or a model: by number, by alias, or the latest when neither is set.
struct VersionRef {
  std::string name;                // "bears"
  std::optional<int64_t> version;  // >= 1
  std::string alias;               // "champion"; models only

  // As people write it: "bears", "bears@3", "bears:champion".
  std::string ToString() const;
};

// Reads what people write. Errors: INVALID_ARGUMENT (a bad name, a version that is no number >= 1, an alias of a
// dataset).
absl::StatusOr<VersionRef> ParseDatasetReference(std::string_view text);
absl::StatusOr<VersionRef> ParseModelReference(std::string_view text);

// The resource name: "datasets/bears/versions/3" or ".../versions/latest".
std::string DatasetVersionName(const VersionRef& ref);
// "models/bears/versions/2", ".../versions/latest" or "models/bears/aliases/champion".
std::string ModelVersionName(const VersionRef& ref);

// Reads resource names. Errors: INVALID_ARGUMENT, which shows the form that is expected.
absl::StatusOr<VersionRef> ParseDatasetVersionName(std::string_view resource_name);
absl::StatusOr<VersionRef> ParseModelVersionName(std::string_view resource_name);

// "models/bears" <-> "bears".
std::string ModelName(std::string_view model);
absl::StatusOr<std::string> ParseModelName(std::string_view resource_name);

// "models/bears/gates".
std::string ModelGatesName(std::string_view model);

// Resources that are named by an id: "experiments/e17", "imports/i3", "evaluations/v4", "comparisons/c5", "workers/w1".
// `letter` is the id's. IdName gives "experiments/e17" for ("experiments", 17, 'e'); ParseIdName reads it, and also the
// bare "e17" that people type. Errors: INVALID_ARGUMENT, which shows the form that is expected.
std::string IdName(std::string_view collection, char letter, int64_t number);
absl::StatusOr<int64_t> ParseIdName(std::string_view collection, char letter, std::string_view text);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_RESOURCE_NAMES_H_
