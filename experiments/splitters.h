// Splits of a dataset into train, valid and test, as pure functions. What people write ("random:0.2:seed=42") is parsed
// here, and applied here.
#ifndef URSA_EXPERIMENTS_SPLITTERS_H_
#define URSA_EXPERIMENTS_SPLITTERS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ursa {

inline constexpr char kTrainSplit[] = "train";
inline constexpr char kValidSplit[] = "valid";
inline constexpr char kTestSplit[] = "test";

// Whether `name` is train, valid or test.
bool IsSplitName(std::string_view name);

// How a dataset is split.
struct SplitRule {
  enum class Kind {
    kRandom,      // a share of all examples
    kStratified,  // the same share of each class
    kFolder,      // by the folder above the label's: train/cat/1.jpg
    kColumn,      // by a column of the source's table
  };
  Kind kind = Kind::kRandom;
  double valid_fraction = 0.2;  // kRandom, kStratified: in (0, 1)
  uint64_t seed = 42;           // kRandom, kStratified
  std::string column;           // kColumn

  // As people write it, with every parameter: "random:0.2:seed=42". ParseSplitRule reads it back.
  std::string ToString() const;
};

// Reads "random:0.2:seed=42", "stratified:0.2:seed=42", "folder", "column:NAME"; the seed may be left out (42).
// Errors: INVALID_ARGUMENT, which quotes the part that is wrong and names what is allowed.
absl::StatusOr<SplitRule> ParseSplitRule(std::string_view text);

// Indices into the examples that were split; each index is in exactly one list.
struct SplitIndices {
  std::vector<int64_t> train;
  std::vector<int64_t> valid;
  std::vector<int64_t> test;
};

// fastai's RandomSplitter(valid_fraction, seed): of torch's permutation of 0 .. n-1 the first floor(valid_fraction *
// n), computed in double, are validation, the rest training, both in permuted order. n >= 0, valid_fraction in [0, 1].
SplitIndices RandomSplit(int64_t n, double valid_fraction, uint64_t seed);

// The validation share is drawn within each class: floor(valid_fraction * n) examples in all, dealt to the classes by
// largest remainder (ties to the class whose label sorts first), but never all of a class. One generator permutes the
// classes one after the other, in order of their labels; the first of each permutation are validation.
// `labels` has one label an example.
SplitIndices StratifiedSplit(const std::vector<std::string>& labels, double valid_fraction, uint64_t seed);

// Takes the split from names given by the source, one an example.
// Errors: INVALID_ARGUMENT (a name that is none of train, valid, test, with its index).
absl::StatusOr<SplitIndices> NamedSplit(const std::vector<std::string>& names);

// What a table's split column says: train, valid, test, or as fastai's `is_valid` column true / 1 (valid) and
// false / 0 (train), in any case. Errors: INVALID_ARGUMENT, which quotes the value.
absl::StatusOr<std::string> SplitOfColumnValue(std::string_view value);

// The folder that holds the file, fastai's parent_label: "black" of "train/black/1.jpg", empty in the root. Parts are
// as those of a POSIX path: repeated slashes, a slash at the end and "." count for nothing.
std::string ParentFolder(std::string_view source);

// The folder above it, which fastai's GrandparentSplitter looks at: "train" of "train/black/1.jpg", empty without one.
std::string GrandparentFolder(std::string_view source);

// The different labels, sorted bytewise, which for UTF-8 is by code point: fastai's CategoryMap.
std::vector<std::string> SortedClasses(const std::vector<std::string>& labels);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SPLITTERS_H_
