#include "experiments/splitters.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "experiments/mt19937.h"

namespace ursa {
namespace {

constexpr char kAllowed[] = "allowed: \"random:0.2:seed=42\", \"stratified:0.2:seed=42\", \"folder\", \"column:NAME\"";

absl::string_view View(std::string_view text) { return absl::string_view(text.data(), text.size()); }

absl::Status BadRule(std::string_view text, const std::string& fact) {
  return absl::InvalidArgumentError(absl::StrCat("split \"", View(text), "\": ", fact, "; ", kAllowed));
}

// The part up to the first ':', which is taken off `rest`.
std::string_view TakePart(std::string_view* rest) {
  const size_t colon = rest->find(':');
  const std::string_view part = rest->substr(0, colon);
  *rest = colon == std::string_view::npos ? std::string_view() : rest->substr(colon + 1);
  return part;
}

absl::Status ParseShare(std::string_view text, std::string_view rest, SplitRule* rule) {
  const std::string_view fraction = TakePart(&rest);
  if (!absl::SimpleAtod(View(fraction), &rule->valid_fraction) || !(rule->valid_fraction > 0) ||
      !(rule->valid_fraction < 1)) {
    return BadRule(text,
                   absl::StrCat("the validation share is \"", View(fraction), "\", not a number between 0 and 1"));
  }
  if (rest.empty()) return absl::OkStatus();
  constexpr std::string_view kSeed = "seed=";
  uint64_t seed = 0;
  const std::string_view digits =
      rest.substr(0, kSeed.size()) == kSeed ? rest.substr(kSeed.size()) : std::string_view();
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), seed);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return BadRule(text, absl::StrCat("\"", View(rest), "\" is not seed=N with N from 0 to 2^64 - 1"));
  }
  rule->seed = seed;
  return absl::OkStatus();
}

// The shortest decimal number that reads back as `value`.
std::string ShortestDecimal(double value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  URSA_CHECK(error == std::errc());
  return std::string(buffer, end);
}

// Parts of a path as pathlib sees them: without empty ones and ".".
std::vector<std::string_view> PathParts(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.push_back(part);
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  }
  return parts;
}

std::string PartFromEnd(std::string_view path, size_t from_end) {
  const std::vector<std::string_view> parts = PathParts(path);
  return parts.size() < from_end ? std::string() : std::string(parts[parts.size() - from_end]);
}

// How many of each class become validation: the shares rounded down, and what is missing from `total` by the largest
// remainders.
std::vector<int64_t> DealShares(const std::vector<int64_t>& class_sizes, double valid_fraction, int64_t total) {
  std::vector<int64_t> shares(class_sizes.size());
  std::vector<double> remainders(class_sizes.size());
  int64_t dealt = 0;
  for (size_t i = 0; i < class_sizes.size(); ++i) {
    const double exact = valid_fraction * static_cast<double>(class_sizes[i]);
    shares[i] = std::min(static_cast<int64_t>(exact), class_sizes[i] - 1);
    remainders[i] = exact - static_cast<double>(shares[i]);
    dealt += shares[i];
  }
  std::vector<size_t> order(class_sizes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return remainders[a] > remainders[b]; });
  for (size_t i : order) {
    if (dealt >= total) break;
    if (shares[i] + 1 >= class_sizes[i]) continue;
    ++shares[i];
    ++dealt;
  }
  return shares;
}

}  // namespace

bool IsSplitName(std::string_view name) { return name == kTrainSplit || name == kValidSplit || name == kTestSplit; }

std::string SplitRule::ToString() const {
  if (kind == Kind::kFolder) return "folder";
  if (kind == Kind::kColumn) return absl::StrCat("column:", column);
  return absl::StrCat(kind == Kind::kRandom ? "random:" : "stratified:", ShortestDecimal(valid_fraction),
                      ":seed=", seed);
}

absl::StatusOr<SplitRule> ParseSplitRule(std::string_view text) {
  SplitRule rule;
  std::string_view rest = text;
  const std::string_view kind = TakePart(&rest);
  if (kind == "random" || kind == "stratified") {
    rule.kind = kind == "random" ? SplitRule::Kind::kRandom : SplitRule::Kind::kStratified;
    URSA_RETURN_IF_ERROR(ParseShare(text, rest, &rule));
  } else if (kind == "folder") {
    rule.kind = SplitRule::Kind::kFolder;
    if (text != "folder") return BadRule(text, "folder takes no parameter");
  } else if (kind == "column") {
    rule.kind = SplitRule::Kind::kColumn;
    rule.column = std::string(rest);
    if (rule.column.empty()) return BadRule(text, "the column's name is missing");
  } else {
    return BadRule(text, absl::StrCat("unknown kind \"", View(kind), "\""));
  }
  return rule;
}

SplitIndices RandomSplit(int64_t n, double valid_fraction, uint64_t seed) {
  const std::vector<int64_t> order = TorchMt19937(seed).RandPerm(n);
  const auto cut = static_cast<int64_t>(valid_fraction * static_cast<double>(n));
  URSA_CHECK(cut >= 0 && cut <= n);
  SplitIndices split;
  split.valid.assign(order.begin(), order.begin() + cut);
  split.train.assign(order.begin() + cut, order.end());
  return split;
}

SplitIndices StratifiedSplit(const std::vector<std::string>& labels, double valid_fraction, uint64_t seed) {
  std::map<std::string, std::vector<int64_t>> members;
  for (size_t i = 0; i < labels.size(); ++i) members[labels[i]].push_back(static_cast<int64_t>(i));
  std::vector<int64_t> sizes;
  for (const auto& [label, indices] : members) sizes.push_back(static_cast<int64_t>(indices.size()));
  const auto total = static_cast<int64_t>(valid_fraction * static_cast<double>(labels.size()));
  const std::vector<int64_t> shares = DealShares(sizes, valid_fraction, total);

  SplitIndices split;
  TorchMt19937 generator(seed);
  size_t class_index = 0;
  for (const auto& [label, indices] : members) {
    int64_t left = shares[class_index++];
    for (int64_t position : generator.RandPerm(static_cast<int64_t>(indices.size()))) {
      (left-- > 0 ? split.valid : split.train).push_back(indices[static_cast<size_t>(position)]);
    }
  }
  return split;
}

absl::StatusOr<SplitIndices> NamedSplit(const std::vector<std::string>& names) {
  SplitIndices split;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!IsSplitName(names[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("split of example ", i, " is \"", names[i], "\"; allowed: train, valid, test"));
    }
    (names[i] == kTrainSplit   ? split.train
     : names[i] == kValidSplit ? split.valid
                               : split.test)
        .push_back(static_cast<int64_t>(i));
  }
  return split;
}

absl::StatusOr<std::string> SplitOfColumnValue(std::string_view value) {
  const std::string lower = absl::AsciiStrToLower(absl::StripAsciiWhitespace(View(value)));
  if (IsSplitName(lower)) return lower;
  if (lower == "true" || lower == "1") return std::string(kValidSplit);
  if (lower == "false" || lower == "0") return std::string(kTrainSplit);
  return absl::InvalidArgumentError(absl::StrCat("split column says \"", View(value),
                                                 "\"; allowed: train, valid, test, or true (valid) and false (train)"));
}

std::string ParentFolder(std::string_view source) { return PartFromEnd(source, 2); }

std::string GrandparentFolder(std::string_view source) { return PartFromEnd(source, 3); }

std::vector<std::string> SortedClasses(const std::vector<std::string>& labels) {
  std::vector<std::string> classes = labels;
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  return classes;
}

}  // namespace ursa
