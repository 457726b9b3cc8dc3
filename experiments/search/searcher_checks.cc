#include "experiments/search/searcher_checks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "experiments/textproto.h"
#include "experiments/value_checks.h"

namespace ursa {
namespace {

using google::protobuf::FieldDescriptor;

constexpr int32_t kEpochsMax = 10'000;
constexpr int kWarmTrialsMax = 100;
constexpr int kCategoriesMax = 100;
// Whole numbers up to here are doubles too.
constexpr int64_t kIntMax = int64_t{1} << 53;

// ---- the method

// The settings that all methods share.
template <typename Method>
absl::Status CheckCommon(const std::string& path, const Method& method, const std::vector<std::string>& metrics) {
  URSA_RETURN_IF_ERROR(CheckChoice(path + ".metric", method.metric(), metrics));
  if (!method.has_max_concurrent_trials()) return absl::OkStatus();
  return CheckInt(path + ".max_concurrent_trials", method.max_concurrent_trials(), 1, kConcurrentTrialsMax);
}

template <typename Method>
absl::Status CheckMedianStopping(const std::string& path, const Method& method) {
  if (!method.has_median_stopping()) return absl::OkStatus();
  const std::string rule = path + ".median_stopping";
  URSA_RETURN_IF_ERROR(CheckInt(rule + ".min_epochs", method.median_stopping().min_epochs(), 1, kEpochsMax));
  return CheckInt(rule + ".min_trials", method.median_stopping().min_trials(), 1, kNumTrialsMax);
}

absl::Status CheckGrid(const v1::ExperimentSpec& filled, const std::vector<std::string>& metrics) {
  const std::string path = "searcher.grid";
  URSA_RETURN_IF_ERROR(CheckCommon(path, filled.searcher().grid(), metrics));
  return CheckMedianStopping(path, filled.searcher().grid());
}

absl::Status CheckRandom(const v1::ExperimentSpec& filled, const std::vector<std::string>& metrics) {
  const std::string path = "searcher.random";
  const v1::RandomSearch& random = filled.searcher().random();
  URSA_RETURN_IF_ERROR(CheckCommon(path, random, metrics));
  URSA_RETURN_IF_ERROR(CheckInt(path + ".max_trials", random.max_trials(), 1, kNumTrialsMax));
  return CheckMedianStopping(path, random);
}

absl::Status CheckAdaptiveAsha(const v1::ExperimentSpec& filled, const std::vector<std::string>& metrics) {
  constexpr int32_t kDivisorMax = 100;
  constexpr int32_t kRungsMax = 20;
  const std::string path = "searcher.adaptive_asha";
  const v1::AdaptiveAshaSearch& asha = filled.searcher().adaptive_asha();
  URSA_RETURN_IF_ERROR(CheckCommon(path, asha, metrics));
  URSA_RETURN_IF_ERROR(CheckInt(path + ".max_trials", asha.max_trials(), 1, kNumTrialsMax));
  const int64_t freeze_epochs = filled.train().fine_tune().freeze_epochs();
  if (asha.max_epochs() <= freeze_epochs || asha.max_epochs() > freeze_epochs + kEpochsMax) {
    return BadValue(path + ".max_epochs", absl::StrCat(asha.max_epochs()),
                    absl::StrCat(freeze_epochs + 1, " to ", freeze_epochs + kEpochsMax, ", of which ", freeze_epochs,
                                 " are train.fine_tune.freeze_epochs"));
  }
  URSA_RETURN_IF_ERROR(CheckInt(path + ".divisor", asha.divisor(), 2, kDivisorMax));
  URSA_RETURN_IF_ERROR(CheckInt(path + ".max_rungs", asha.max_rungs(), 1, kRungsMax));
  return CheckChoice(path + ".mode", asha.mode(), {"conservative", "standard", "aggressive"});
}

absl::Status CheckMethod(const v1::ExperimentSpec& filled, const std::vector<std::string>& metrics) {
  switch (filled.searcher().method_case()) {
    case v1::SearcherSpec::kGrid:
      return CheckGrid(filled, metrics);
    case v1::SearcherSpec::kRandom:
      return CheckRandom(filled, metrics);
    case v1::SearcherSpec::kAdaptiveAsha:
      return CheckAdaptiveAsha(filled, metrics);
    case v1::SearcherSpec::METHOD_NOT_SET:
      break;
  }
  return MissingValue("searcher", "grid, random, adaptive_asha (hint: searcher { random { max_trials: 10 } })");
}

absl::Status CheckWarmTrial(const v1::ExperimentSpec& filled, int index) {
  std::set<std::string> seen;
  const v1::TrialValues& trial = filled.searcher().warm_start().trials(index);
  for (int i = 0; i < trial.set_size(); ++i) {
    const std::string path = absl::StrCat("searcher.warm_start.trials[", index, "].set[", i, "]");
    const std::string quoted = absl::StrCat("\"", absl::CEscape(trial.set(i)), "\"");
    const std::string name = SplitAssignment(trial.set(i)).first;
    std::vector<std::string> names;
    for (const v1::Hyperparameter& hyperparameter : filled.hyperparameters()) names.push_back(hyperparameter.name());
    if (trial.set(i).find('=') == std::string::npos) return BadValue(path, quoted, "HYPERPARAMETER=VALUE");
    URSA_RETURN_IF_ERROR(CheckChoice(path, name, names));
    if (!seen.insert(name).second) return BadValue(path, quoted, "each hyperparameter once");
  }
  return absl::OkStatus();
}

absl::Status CheckWarmStart(const v1::ExperimentSpec& filled) {
  const std::string path = "searcher.warm_start";
  const v1::WarmStart& warm_start = filled.searcher().warm_start();
  if (filled.searcher().has_grid()) {
    return absl::InvalidArgumentError(path + ": a grid tries all its points; allowed: with random or adaptive_asha");
  }
  if (!warm_start.has_experiment() && warm_start.trials_size() == 0) {
    return MissingValue(path, "experiment or trials (hint: warm_start { experiment: \"e12\" })");
  }
  if (warm_start.has_experiment() && !ExperimentId::Parse(warm_start.experiment())) {
    return BadValue(path + ".experiment", absl::StrCat("\"", absl::CEscape(warm_start.experiment()), "\""),
                    "an experiment's id as e12");
  }
  const int num_trials_max = std::min(kWarmTrialsMax, NumTrials(filled));
  URSA_RETURN_IF_ERROR(CheckInt(path + ".num_trials", warm_start.num_trials(), 1, num_trials_max));
  if (warm_start.trials_size() > num_trials_max) {
    return BadValue(path + ".trials", absl::StrCat(warm_start.trials_size(), " trials"),
                    absl::StrCat("at most ", num_trials_max));
  }
  for (int i = 0; i < warm_start.trials_size(); ++i) URSA_RETURN_IF_ERROR(CheckWarmTrial(filled, i));
  return absl::OkStatus();
}

// ---- hyperparameters

// The fields on a path, all of them single and the last one a value; nothing for any other path.
std::vector<const FieldDescriptor*> FieldsOnPath(const std::string& name) {
  std::vector<const FieldDescriptor*> fields;
  const google::protobuf::Descriptor* type = v1::ExperimentSpec::descriptor();
  for (absl::string_view part : absl::StrSplit(name, '.')) {
    const FieldDescriptor* field = type == nullptr ? nullptr : type->FindFieldByName(std::string(part));
    if (field == nullptr || field->is_repeated()) return {};
    fields.push_back(field);
    type = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE ? field->message_type() : nullptr;
  }
  return type == nullptr ? fields : std::vector<const FieldDescriptor*>();
}

absl::Status CheckPath(const std::string& path, const v1::ExperimentSpec& filled, const std::string& name) {
  const std::string quoted = absl::StrCat("\"", absl::CEscape(name), "\"");
  const std::string root = name.substr(0, name.find('.'));
  if (root != "model" && root != "data" && root != "train" && name != "seed") {
    return name.empty() ? MissingValue(path, "a field in model, data, train, or seed")
                        : BadValue(path, quoted, "a field in model, data, train, or seed");
  }
  if (filled.searcher().has_adaptive_asha() && name == "train.fine_tune.epochs") {
    return BadValue(path, quoted, "a field other than epochs, which searcher.adaptive_asha.max_epochs decides");
  }
  if (!FieldsOnPath(name).empty()) return absl::OkStatus();
  // Names what is wrong with the path, if that is the mistake.
  v1::ExperimentSpec scratch;
  const absl::Status status = SetField(absl::StrCat(name, "=0"), &scratch);
  if (absl::StrContains(status.message(), "unknown field")) return At(path, status);
  return BadValue(path, quoted, "a single number, word, or true and false");
}

absl::Status CheckCount(const std::string& path, bool has_count, int32_t count, int64_t high, bool is_grid) {
  if (has_count) return CheckInt(path + ".count", count, 2, high);
  if (!is_grid) return absl::OkStatus();
  return MissingValue(path + ".count", absl::StrCat("2 to ", high, ", points for searcher.grid"));
}

template <typename Range>
absl::Status CheckRealRange(const std::string& path, const FieldDescriptor& field, const Range& range, double above,
                            bool is_grid) {
  constexpr double kDoubleMax = std::numeric_limits<double>::max() / 4;  // the width is a double too
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE) {
    return BadValue(path, absl::StrCat("the field is ", field.type_name()), "of a double (hint: int or categorical)");
  }
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".low", range.low(), above, kDoubleMax, Ends::kNone));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".high", range.high(), range.low(), kDoubleMax, Ends::kNone));
  return CheckCount(path, range.has_count(), range.count(), kNumTrialsMax, is_grid);
}

bool IsWhole(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_INT32 || field.cpp_type() == FieldDescriptor::CPPTYPE_INT64;
}

absl::Status CheckIntRange(const std::string& path, const FieldDescriptor& field, const v1::IntRange& range) {
  if (!IsWhole(field)) {
    return BadValue(path, absl::StrCat("the field is ", field.type_name()), "of a whole number");
  }
  URSA_RETURN_IF_ERROR(CheckInt(path + ".low", range.low(), -kIntMax, kIntMax - 1));
  URSA_RETURN_IF_ERROR(CheckInt(path + ".high", range.high(), range.low() + 1, kIntMax));
  return CheckCount(path, range.has_count(), range.count(),
                    std::min<int64_t>(kNumTrialsMax, range.high() - range.low() + 1), /*is_grid=*/false);
}

absl::Status CheckCategorical(const std::string& path, const FieldDescriptor& field, const v1::Categorical& list) {
  const bool is_number = IsWhole(field) || field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE;
  const char* wanted = is_number ? "numbers" : "values";
  if ((is_number ? list.values_size() : list.numbers_size()) > 0) {
    return BadValue(path, absl::StrCat("the field is ", field.type_name()), absl::StrCat("only `", wanted, "`"));
  }
  const int size = list.values_size() + list.numbers_size();
  if (size == 0) return MissingValue(absl::StrCat(path, ".", wanted), "at least one");
  if (size > kCategoriesMax) {
    return BadValue(absl::StrCat(path, ".", wanted), absl::StrCat(size, " of them"),
                    absl::StrCat("at most ", kCategoriesMax));
  }
  std::set<std::string> seen;
  v1::Hyperparameter scratch;
  *scratch.mutable_categorical() = list;
  const std::vector<std::string> elements = EndValues(scratch);
  for (int i = 0; i < size; ++i) {
    if (!seen.insert(elements[static_cast<size_t>(i)]).second) {
      return BadValue(absl::StrCat(path, ".", wanted, "[", i, "]"), elements[static_cast<size_t>(i)], "each once");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDistribution(const std::string& path, const v1::Hyperparameter& hyperparameter, bool is_grid) {
  const FieldDescriptor& field = *FieldsOnPath(hyperparameter.name()).back();
  switch (hyperparameter.distribution_case()) {
    case v1::Hyperparameter::kLog:
      return CheckRealRange(path + ".log", field, hyperparameter.log(), 0, is_grid);
    case v1::Hyperparameter::kUniform:
      return CheckRealRange(path + ".uniform", field, hyperparameter.uniform(), -std::numeric_limits<double>::max() / 4,
                            is_grid);
    case v1::Hyperparameter::kInt:
      return CheckIntRange(path + ".int", field, hyperparameter.int_());
    case v1::Hyperparameter::kCategorical:
      return CheckCategorical(path + ".categorical", field, hyperparameter.categorical());
    case v1::Hyperparameter::DISTRIBUTION_NOT_SET:
      break;
  }
  return MissingValue(path, "log, uniform, int, categorical");
}

// Two values of which the second would take the first out of the recipe: members of one oneof.
bool Exclude(const std::string& one, const std::string& other) {
  const auto a = FieldsOnPath(one), b = FieldsOnPath(other);
  const size_t length = std::min(a.size(), b.size());
  for (size_t i = 0; i < length; ++i) {
    if (a[i] != b[i])
      return a[i]->real_containing_oneof() && a[i]->real_containing_oneof() == b[i]->real_containing_oneof();
  }
  return false;
}

absl::Status CheckHyperparameters(const v1::ExperimentSpec& filled) {
  if (filled.hyperparameters_size() == 0 || filled.hyperparameters_size() > kHyperparametersMax) {
    return BadValue("hyperparameters", absl::StrCat(filled.hyperparameters_size(), " of them"),
                    absl::StrCat("1 to ", kHyperparametersMax, " with a searcher"));
  }
  for (int i = 0; i < filled.hyperparameters_size(); ++i) {
    const std::string path = absl::StrCat("hyperparameters[", i, "]");
    const v1::Hyperparameter& hyperparameter = filled.hyperparameters(i);
    URSA_RETURN_IF_ERROR(CheckPath(path + ".name", filled, hyperparameter.name()));
    for (int j = 0; j < i; ++j) {
      const std::string& earlier = filled.hyperparameters(j).name();
      if (earlier == hyperparameter.name() || Exclude(earlier, hyperparameter.name())) {
        return BadValue(path + ".name", absl::StrCat("\"", hyperparameter.name(), "\""),
                        absl::StrCat("a field that hyperparameters[", j, "], \"", earlier, "\", leaves alone"));
      }
    }
    URSA_RETURN_IF_ERROR(CheckDistribution(path, hyperparameter, filled.searcher().has_grid()));
  }
  if (filled.searcher().has_grid() && NumGridTrials(filled) > kNumTrialsMax) {
    return absl::InvalidArgumentError(absl::StrCat("searcher.grid: the hyperparameters have more than ", kNumTrialsMax,
                                                   " combinations; allowed: at most ", kNumTrialsMax,
                                                   " (hint: a smaller count)"));
  }
  return absl::OkStatus();
}

// ---- resolving

template <typename Method>
void SetConcurrentTrials(int32_t num_fitting, Method* method) {
  if (!method->has_max_concurrent_trials()) method->set_max_concurrent_trials(num_fitting);
}

// The best of the earlier trials that have anything to say, best first.
std::vector<const EarlierTrial*> Ranked(const std::vector<EarlierTrial>& earlier, const std::string& metric,
                                        bool smaller_is_better, const std::set<std::string>& names) {
  std::vector<std::pair<double, const EarlierTrial*>> ranked;
  for (const EarlierTrial& trial : earlier) {
    const auto found = trial.metrics.find(metric);
    const bool is_about_this = std::any_of(trial.hyperparameters.begin(), trial.hyperparameters.end(),
                                           [&](const auto& value) { return names.count(value.first) != 0; });
    if (found == trial.metrics.end() || !std::isfinite(found->second) || !is_about_this) continue;
    ranked.emplace_back(smaller_is_better ? found->second : -found->second, &trial);
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<const EarlierTrial*> trials;
  for (const auto& [key, trial] : ranked) trials.push_back(trial);
  return trials;
}

}  // namespace

absl::Status CheckSearcher(const v1::ExperimentSpec& filled, const std::vector<std::string>& metrics) {
  if (!filled.has_searcher()) {
    if (filled.hyperparameters_size() == 0) return absl::OkStatus();
    return BadValue("hyperparameters", absl::StrCat(filled.hyperparameters_size(), " of them"),
                    "none without a searcher (hint: searcher { random { max_trials: 10 } })");
  }
  URSA_RETURN_IF_ERROR(CheckMethod(filled, metrics));
  URSA_RETURN_IF_ERROR(CheckHyperparameters(filled));
  return filled.searcher().has_warm_start() ? CheckWarmStart(filled) : absl::OkStatus();
}

absl::Status CheckTrials(const v1::ExperimentSpec& filled, const TrialCheck& check) {
  if (!filled.has_searcher()) return absl::OkStatus();
  Hyperparameters center;
  for (const v1::Hyperparameter& hyperparameter : filled.hyperparameters()) {
    center[hyperparameter.name()] = CenterValue(hyperparameter);
  }
  for (int i = 0; i < filled.hyperparameters_size(); ++i) {
    const v1::Hyperparameter& hyperparameter = filled.hyperparameters(i);
    for (const std::string& value : EndValues(hyperparameter)) {
      Hyperparameters values = center;
      values[hyperparameter.name()] = value;
      const absl::Status status = check(values);
      if (status.ok()) continue;
      return At(absl::StrCat("hyperparameters[", i, "]: ", hyperparameter.name(), "=", absl::CEscape(value)), status);
    }
  }
  for (int32_t trial = 1; trial <= std::min(NumTrials(filled), kTrialsCheckedMax); ++trial) {
    const Hyperparameters values = TrialHyperparameters(filled, trial);
    const absl::Status status = check(values);
    if (status.ok()) continue;
    return At(absl::StrCat("trial ", trial, " (", absl::CEscape(HyperparametersText(values)), ")"), status);
  }
  return absl::OkStatus();
}

void ResolveConcurrentTrials(int32_t cluster_slots, v1::ExperimentSpec* filled) {
  if (!filled->has_searcher()) return;
  const v1::ResourcesSpec& resources = filled->resources();
  const int32_t slots = resources.has_max_slots() ? std::min(cluster_slots, resources.max_slots()) : cluster_slots;
  const int32_t num_fitting =
      std::clamp(slots / resources.slots_per_trial(), 1, std::min(kConcurrentTrialsMax, NumTrials(*filled)));
  v1::SearcherSpec* searcher = filled->mutable_searcher();
  if (searcher->has_grid()) SetConcurrentTrials(num_fitting, searcher->mutable_grid());
  if (searcher->has_random()) SetConcurrentTrials(num_fitting, searcher->mutable_random());
  if (searcher->has_adaptive_asha()) SetConcurrentTrials(num_fitting, searcher->mutable_adaptive_asha());
}

absl::Status ResolveWarmStart(const std::vector<EarlierTrial>& earlier, v1::ExperimentSpec* filled) {
  if (!filled->searcher().has_warm_start() || filled->searcher().warm_start().trials_size() > 0)
    return absl::OkStatus();
  std::set<std::string> names;
  for (const v1::Hyperparameter& hyperparameter : filled->hyperparameters()) names.insert(hyperparameter.name());
  v1::WarmStart* warm_start = filled->mutable_searcher()->mutable_warm_start();
  const v1::SearcherSpec& searcher = filled->searcher();
  const std::string& metric = searcher.has_random() ? searcher.random().metric() : searcher.adaptive_asha().metric();
  const bool smaller_is_better =
      searcher.has_random() ? searcher.random().smaller_is_better() : searcher.adaptive_asha().smaller_is_better();
  for (const EarlierTrial* trial : Ranked(earlier, metric, smaller_is_better, names)) {
    if (warm_start->trials_size() == warm_start->num_trials()) break;
    v1::TrialValues* values = warm_start->add_trials();
    for (const auto& [name, value] : trial->hyperparameters) {
      if (names.count(name) != 0) values->add_set(absl::StrCat(name, "=", value));
    }
  }
  if (warm_start->trials_size() > 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("searcher.warm_start.experiment: none of the ", earlier.size(),
                                                    " trials of ", warm_start->experiment(), " has \"", metric,
                                                    "\" and a hyperparameter of this recipe"));
}

}  // namespace ursa
