#include "experiments/manifest.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "experiments/splitters.h"

namespace ursa {
namespace {

absl::Status Invalid(const std::string& text) { return absl::InvalidArgumentError(text); }

absl::Status CheckText(const std::string& subject, const char* what, const std::string& text, size_t bytes_max) {
  if (text.size() > bytes_max) {
    return Invalid(absl::StrCat(subject, ": ", what, " has ", text.size(), " bytes, at most ", bytes_max));
  }
  if (!IsPrintableUtf8(text)) {
    return Invalid(
        absl::StrCat(subject, ": ", what, " \"", absl::CEscape(text), "\" is not UTF-8 without control characters"));
  }
  return absl::OkStatus();
}

absl::Status CheckCandidate(int64_t index, const v1::Candidate& candidate, const ManifestLimits& limits) {
  const std::string number = absl::StrCat("candidate ", index);
  if (candidate.source().empty()) return Invalid(absl::StrCat(number, ": source is empty"));
  URSA_RETURN_IF_ERROR(CheckText(number, "source", candidate.source(), limits.source_bytes_max));
  const std::string subject = absl::StrCat(number, " \"", candidate.source(), "\"");
  URSA_RETURN_IF_ERROR(CheckText(subject, "label", candidate.label(), limits.label_bytes_max));
  if (!candidate.split().empty() && !IsSplitName(candidate.split())) {
    return Invalid(absl::StrCat(subject, ": split \"", absl::CEscape(candidate.split()),
                                "\"; allowed: train, valid, test, or none"));
  }
  if (!candidate.refused().empty()) return absl::OkStatus();
  if (!IsDigestHex(candidate.hash())) return Invalid(absl::StrCat(subject, ": hash is not 64 lower-case hex digits"));
  if (candidate.size() < 0) return Invalid(absl::StrCat(subject, ": size ", candidate.size(), " is negative"));
  return absl::OkStatus();
}

bool TakesSplitFromSource(const SplitRule& rule) {
  return rule.kind == SplitRule::Kind::kFolder || rule.kind == SplitRule::Kind::kColumn;
}

// Why each candidate is not in the version; empty for those that are, and for duplicates.
class Sieve {
 public:
  Sieve(const v1::CandidateList& list, std::vector<std::string> reasons) : list_(list), reasons_(std::move(reasons)) {}

  void RefuseWithoutLabelOrSplit(bool split_from_source) {
    for (int i = 0; i < list_.candidates_size(); ++i) {
      const v1::Candidate& candidate = list_.candidates(i);
      if (!reasons_[i].empty()) continue;
      if (candidate.label().empty()) {
        reasons_[i] = "it has no label";
      } else if (split_from_source && candidate.split().empty()) {
        reasons_[i] = "the source does not say its split (train, valid or test)";
      }
    }
  }

  // Finds candidates of equal bytes. Returns the indices of those that stay, in order.
  std::vector<int> Deduplicate(int64_t* num_duplicates) {
    std::unordered_map<std::string_view, int> first_of_hash;
    std::unordered_map<std::string_view, int> rival_of_hash;  // the first one with another label than the very first
    for (int i = 0; i < list_.candidates_size(); ++i) {
      if (!reasons_[i].empty()) continue;
      const v1::Candidate& candidate = list_.candidates(i);
      const int first = first_of_hash.emplace(candidate.hash(), i).first->second;
      if (list_.candidates(first).label() != candidate.label()) rival_of_hash.emplace(candidate.hash(), i);
    }
    std::vector<int> kept;
    for (int i = 0; i < list_.candidates_size(); ++i) {
      if (!reasons_[i].empty()) continue;
      const v1::Candidate& candidate = list_.candidates(i);
      const int first = first_of_hash.at(candidate.hash());
      const auto rival = rival_of_hash.find(candidate.hash());
      if (rival != rival_of_hash.end()) {
        const bool like_first = list_.candidates(first).label() == candidate.label();
        const v1::Candidate& other = list_.candidates(like_first ? rival->second : first);
        reasons_[i] = absl::StrCat("labelled \"", candidate.label(), "\", but it has the same bytes as \"",
                                   other.source(), "\", labelled \"", other.label(), "\"");
      } else if (first == i) {
        kept.push_back(i);
      } else {
        ++*num_duplicates;
      }
    }
    return kept;
  }

  const std::vector<std::string>& reasons() const { return reasons_; }

 private:
  const v1::CandidateList& list_;
  std::vector<std::string> reasons_;
};

absl::Status NothingAccepted(const v1::CandidateList& list, const std::vector<std::string>& reasons) {
  std::string text = absl::StrCat("import: none of ", list.candidates_size(), " files was accepted");
  for (int i = 0; i < list.candidates_size(); ++i) {
    if (reasons[i].empty()) continue;
    absl::StrAppend(&text, "; the first, \"", list.candidates(i).source(), "\": ", reasons[i]);
    break;
  }
  return Invalid(text);
}

absl::Status AssignSplits(const SplitRule& rule, const v1::CandidateList& list, const std::vector<int>& kept,
                          v1::Manifest* manifest) {
  SplitIndices split;
  if (rule.kind == SplitRule::Kind::kRandom) {
    split = RandomSplit(static_cast<int64_t>(kept.size()), rule.valid_fraction, rule.seed);
  } else if (rule.kind == SplitRule::Kind::kStratified) {
    std::vector<std::string> labels;
    for (int i : kept) labels.push_back(list.candidates(i).label());
    split = StratifiedSplit(labels, rule.valid_fraction, rule.seed);
  } else {
    std::vector<std::string> names;
    for (int i : kept) names.push_back(list.candidates(i).split());
    URSA_ASSIGN_OR_RETURN(split, NamedSplit(names));
  }
  for (int64_t i : split.train) manifest->mutable_examples(static_cast<int>(i))->set_split(kTrainSplit);
  for (int64_t i : split.valid) manifest->mutable_examples(static_cast<int>(i))->set_split(kValidSplit);
  for (int64_t i : split.test) manifest->mutable_examples(static_cast<int>(i))->set_split(kTestSplit);
  return absl::OkStatus();
}

void CountSplits(const v1::Manifest& manifest, v1::DatasetVersion* summary) {
  int64_t num_train = 0;
  int64_t num_valid = 0;
  for (const v1::Example& example : manifest.examples()) {
    num_train += example.split() == kTrainSplit;
    num_valid += example.split() == kValidSplit;
  }
  summary->set_num_examples(manifest.examples_size());
  summary->set_num_train(num_train);
  summary->set_num_valid(num_valid);
  summary->set_num_test(manifest.examples_size() - num_train - num_valid);
}

absl::Status CheckSplitSizes(const SplitRule& rule, const v1::DatasetVersion& summary) {
  const bool random = !TakesSplitFromSource(rule);
  if (summary.num_train() == 0) {
    return Invalid(absl::StrCat("split \"", rule.ToString(), "\": no training example among ", summary.num_examples(),
                                random ? " (hint: a smaller validation share)" : ""));
  }
  if (summary.num_valid() == 0 && summary.num_test() == 0) {
    return Invalid(absl::StrCat("split \"", rule.ToString(), "\": no validation example among ", summary.num_examples(),
                                random ? " (hint: a larger validation share, or more examples)" : ""));
  }
  return absl::OkStatus();
}

// Classes are what training can learn; an example of any other label could never be predicted right.
absl::Status SetClasses(const SplitRule& rule, const ManifestLimits& limits, v1::Manifest* manifest) {
  std::unordered_set<std::string_view> trained;
  for (const v1::Example& example : manifest->examples()) {
    if (example.split() == kTrainSplit) trained.insert(example.label());
  }
  for (const v1::Example& example : manifest->examples()) {
    if (trained.count(example.label())) continue;
    return Invalid(absl::StrCat("split \"", rule.ToString(), "\": label \"", example.label(),
                                "\" has no training example, only \"", example.source(), "\" in ", example.split(),
                                TakesSplitFromSource(rule)
                                    ? ""
                                    : " (hint: more pictures of it, or a stratified split, which keeps one of each "
                                      "class in training)"));
  }
  if (static_cast<int64_t>(trained.size()) > limits.num_classes_max) {
    return Invalid(absl::StrCat("import: ", trained.size(), " classes, at most ", limits.num_classes_max));
  }
  std::vector<std::string> labels(trained.begin(), trained.end());
  for (std::string& label : SortedClasses(labels)) manifest->add_classes(std::move(label));
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCandidates(const v1::CandidateList& list, const ManifestLimits& limits) {
  if (list.candidates_size() > limits.num_candidates_max) {
    return Invalid(
        absl::StrCat("candidate list: ", list.candidates_size(), " files, at most ", limits.num_candidates_max));
  }
  for (int i = 0; i < list.candidates_size(); ++i) {
    URSA_RETURN_IF_ERROR(CheckCandidate(i, list.candidates(i), limits));
    if (i > 0 && !(list.candidates(i - 1).source() < list.candidates(i).source())) {
      return Invalid(absl::StrCat("candidate ", i, " \"", list.candidates(i).source(), "\": not after \"",
                                  list.candidates(i - 1).source(), "\" in bytewise order"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BuiltManifest> BuildManifest(const v1::CandidateList& list, const std::vector<std::string>& refusals,
                                            std::string_view split, int64_t num_ignored, const ManifestLimits& limits) {
  URSA_CHECK(static_cast<int>(refusals.size()) == list.candidates_size());
  URSA_ASSIGN_OR_RETURN(const SplitRule rule, ParseSplitRule(split));

  std::vector<std::string> reasons = refusals;
  for (int i = 0; i < list.candidates_size(); ++i) {
    if (!list.candidates(i).refused().empty()) reasons[i] = list.candidates(i).refused();
  }
  BuiltManifest built;
  int64_t num_duplicates = 0;
  Sieve sieve(list, std::move(reasons));
  sieve.RefuseWithoutLabelOrSplit(TakesSplitFromSource(rule));
  const std::vector<int> kept = sieve.Deduplicate(&num_duplicates);
  if (kept.empty()) return NothingAccepted(list, sieve.reasons());

  built.manifest.mutable_examples()->Reserve(static_cast<int>(kept.size()));
  bool one_label = true;
  for (int i : kept) {
    const v1::Candidate& candidate = list.candidates(i);
    v1::Example* example = built.manifest.add_examples();
    example->set_id(candidate.hash());
    example->set_source(candidate.source());
    example->set_label(candidate.label());
    one_label = one_label && candidate.label() == list.candidates(kept[0]).label();
  }
  if (one_label) {
    return Invalid(absl::StrCat("import: all ", kept.size(), " accepted files have the label \"",
                                list.candidates(kept[0]).label(),
                                "\", a classifier needs at least 2 (hint: one folder a class)"));
  }
  URSA_RETURN_IF_ERROR(AssignSplits(rule, list, kept, &built.manifest));
  CountSplits(built.manifest, &built.summary);
  URSA_RETURN_IF_ERROR(CheckSplitSizes(rule, built.summary));
  URSA_RETURN_IF_ERROR(SetClasses(rule, limits, &built.manifest));

  *built.summary.mutable_classes() = built.manifest.classes();
  built.summary.set_num_duplicates(num_duplicates);
  built.summary.set_num_ignored(num_ignored);
  built.summary.set_split(rule.ToString());
  built.summary.set_manifest_hash(ManifestHash(built.manifest));
  for (int i = 0; i < list.candidates_size(); ++i) {
    if (sieve.reasons()[i].empty()) continue;
    v1::RefusedFile* refused = built.summary.add_refused();
    refused->set_source(list.candidates(i).source());
    refused->set_reason(sieve.reasons()[i]);
  }
  return built;
}

std::string ManifestHash(const v1::Manifest& manifest) {
  std::vector<const v1::Example*> examples;
  examples.reserve(static_cast<size_t>(manifest.examples_size()));
  for (const v1::Example& example : manifest.examples()) examples.push_back(&example);
  std::sort(examples.begin(), examples.end(), [](const v1::Example* a, const v1::Example* b) {
    if (a->id() != b->id()) return a->id() < b->id();
    return a->label() != b->label() ? a->label() < b->label() : a->split() < b->split();
  });
  // Each part goes in with its length before it, so that no two manifests give the same bytes.
  Sha256 hash;
  hash.Update("ursa manifest 1\n");
  for (const v1::Example* example : examples) {
    for (const std::string* part : {&example->id(), &example->label(), &example->split()}) {
      hash.Update(absl::StrCat(part->size(), ":", *part));
    }
  }
  return hash.FinishHex();
}

}  // namespace ursa
