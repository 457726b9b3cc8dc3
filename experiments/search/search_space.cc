#include "experiments/search/search_space.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "experiments/textproto.h"

namespace ursa {
namespace {

// Keeps these draws apart from the loader's, whose substream is the epoch.
constexpr uint32_t kSearchStream = 0x5EA2'C000;

std::string WithDigits(double value, int digits) { return absl::StrFormat("%.*g", digits, value); }

double Number(const std::string& text) {
  double number = 0;
  URSA_CHECK(absl::SimpleAtod(text, &number)) << text;
  return number;
}

// As few digits as read back as the same number: "0.0001". Whole numbers as fields of whole numbers take them:
// "1000000".
std::string Shortest(double value) {
  constexpr double kWholeMax = 0x1p53;
  if (std::abs(value) <= kWholeMax && value == std::trunc(value)) return absl::StrCat(static_cast<int64_t>(value));
  constexpr int kDigitsMax = 17;  // always enough
  for (int digits = 6; digits < kDigitsMax; ++digits) {
    std::string text = WithDigits(value, digits);
    if (Number(text) == value) return text;
  }
  return WithDigits(value, kDigitsMax);
}

// 6 significant digits: what people can read, and no last bit that depends on a machine's exp().
std::string Rounded(double value, double low, double high) {
  std::string text = WithDigits(value, 6);
  const double rounded = Number(text);
  return rounded < low ? Shortest(low) : rounded > high ? Shortest(high) : text;
}

// The value at `position` of the range, 0 (low) to 1 (high).
std::string At(const v1::LogRange& range, double position) {
  if (position == 0) return Shortest(range.low());
  if (position == 1) return Shortest(range.high());
  const double log_low = std::log(range.low());
  return Rounded(std::exp(log_low + position * (std::log(range.high()) - log_low)), range.low(), range.high());
}

std::string At(const v1::UniformRange& range, double position) {
  if (position == 0) return Shortest(range.low());
  if (position == 1) return Shortest(range.high());
  return Rounded(range.low() + position * (range.high() - range.low()), range.low(), range.high());
}

std::string At(const v1::IntRange& range, double position) {
  const double width = static_cast<double>(range.high() - range.low());
  return absl::StrCat(range.low() + std::llround(position * width));
}

int64_t NumElements(const v1::Categorical& list) { return list.values_size() + list.numbers_size(); }

std::string Element(const v1::Categorical& list, int64_t index) {
  const int i = static_cast<int>(index);
  return list.values_size() > 0 ? list.values(i) : Shortest(list.numbers(i));
}

std::string ValueAt(const v1::Hyperparameter& hyperparameter, double position) {
  switch (hyperparameter.distribution_case()) {
    case v1::Hyperparameter::kLog:
      return At(hyperparameter.log(), position);
    case v1::Hyperparameter::kUniform:
      return At(hyperparameter.uniform(), position);
    case v1::Hyperparameter::kInt:
      return At(hyperparameter.int_(), position);
    case v1::Hyperparameter::kCategorical:
    case v1::Hyperparameter::DISTRIBUTION_NOT_SET:
      break;
  }
  URSA_CHECK(false) << "no range: " << hyperparameter.name();
  return "";
}

// Point `index` of the grid, from 0.
std::string Point(const v1::Hyperparameter& hyperparameter, int64_t index) {
  if (hyperparameter.has_categorical()) return Element(hyperparameter.categorical(), index);
  // Exact where a double is not: every whole number of the range.
  if (hyperparameter.has_int_() && !hyperparameter.int_().has_count()) {
    return absl::StrCat(hyperparameter.int_().low() + index);
  }
  return ValueAt(hyperparameter, static_cast<double>(index) / static_cast<double>(NumPoints(hyperparameter) - 1));
}

std::string Draw(const v1::Hyperparameter& hyperparameter, Rng* rng) {
  const int64_t num_points = NumPoints(hyperparameter);
  if (num_points == 0) return ValueAt(hyperparameter, rng->Uniform());
  return Point(hyperparameter, static_cast<int64_t>(rng->Below(static_cast<uint64_t>(num_points))));
}

Hyperparameters GridPoint(const v1::ExperimentSpec& spec, int32_t trial) {
  Hyperparameters values;
  int64_t rest = trial - 1;
  for (int i = spec.hyperparameters_size() - 1; i >= 0; --i) {
    const v1::Hyperparameter& hyperparameter = spec.hyperparameters(i);
    const int64_t num_points = NumPoints(hyperparameter);
    values[hyperparameter.name()] = Point(hyperparameter, rest % num_points);
    rest /= num_points;
  }
  return values;
}

Hyperparameters RandomPoint(const v1::ExperimentSpec& spec, int32_t trial) {
  Hyperparameters values;
  for (int i = 0; i < spec.hyperparameters_size(); ++i) {
    CounterRng rng(static_cast<uint64_t>(spec.seed()), static_cast<uint64_t>(trial),
                   kSearchStream + static_cast<uint32_t>(i));
    values[spec.hyperparameters(i).name()] = Draw(spec.hyperparameters(i), &rng);
  }
  const v1::WarmStart& warm_start = spec.searcher().warm_start();
  if (trial > warm_start.trials_size()) return values;
  for (const std::string& assignment : warm_start.trials(trial - 1).set()) {
    auto [name, value] = SplitAssignment(assignment);
    values[name] = value;
  }
  return values;
}

}  // namespace

std::string HyperparametersText(const Hyperparameters& values) {
  return absl::StrJoin(values, ", ", absl::PairFormatter("="));
}

std::pair<std::string, std::string> SplitAssignment(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  const std::string value = equals == std::string::npos ? "" : assignment.substr(equals + 1);
  return {std::string(absl::StripAsciiWhitespace(assignment.substr(0, equals))),
          std::string(absl::StripAsciiWhitespace(value))};
}

int64_t NumPoints(const v1::Hyperparameter& hyperparameter) {
  switch (hyperparameter.distribution_case()) {
    case v1::Hyperparameter::kLog:
      return hyperparameter.log().count();
    case v1::Hyperparameter::kUniform:
      return hyperparameter.uniform().count();
    case v1::Hyperparameter::kInt:
      return hyperparameter.int_().has_count() ? hyperparameter.int_().count()
                                               : hyperparameter.int_().high() - hyperparameter.int_().low() + 1;
    case v1::Hyperparameter::kCategorical:
      return NumElements(hyperparameter.categorical());
    case v1::Hyperparameter::DISTRIBUTION_NOT_SET:
      break;
  }
  return 0;
}

int32_t NumGridTrials(const v1::ExperimentSpec& spec) {
  int64_t product = 1;
  for (const v1::Hyperparameter& hyperparameter : spec.hyperparameters()) {
    const int64_t num_points = NumPoints(hyperparameter);
    if (num_points > kNumTrialsMax / product) return kNumTrialsMax + 1;
    product *= num_points;
    if (product == 0) return 0;
  }
  return static_cast<int32_t>(product);
}

std::vector<std::string> EndValues(const v1::Hyperparameter& hyperparameter) {
  if (!hyperparameter.has_categorical()) return {ValueAt(hyperparameter, 0), ValueAt(hyperparameter, 1)};
  std::vector<std::string> values;
  for (int64_t i = 0; i < NumElements(hyperparameter.categorical()); ++i) values.push_back(Point(hyperparameter, i));
  return values;
}

std::string CenterValue(const v1::Hyperparameter& hyperparameter) {
  if (hyperparameter.has_categorical()) return Point(hyperparameter, 0);
  const int64_t num_points = NumPoints(hyperparameter);
  return num_points == 0 ? ValueAt(hyperparameter, 0.5) : Point(hyperparameter, num_points / 2);
}

int32_t NumTrials(const v1::ExperimentSpec& spec) {
  switch (spec.searcher().method_case()) {
    case v1::SearcherSpec::kGrid:
      return NumGridTrials(spec);
    case v1::SearcherSpec::kRandom:
      return spec.searcher().random().max_trials();
    case v1::SearcherSpec::kAdaptiveAsha:
      return spec.searcher().adaptive_asha().max_trials();
    case v1::SearcherSpec::METHOD_NOT_SET:
      break;
  }
  return 1;
}

Hyperparameters TrialHyperparameters(const v1::ExperimentSpec& spec, int32_t trial) {
  URSA_CHECK(trial >= 1) << trial;
  if (!spec.has_searcher()) return {};
  return spec.searcher().has_grid() ? GridPoint(spec, trial) : RandomPoint(spec, trial);
}

absl::Status SetHyperparameters(const Hyperparameters& values, v1::ExperimentSpec* spec) {
  for (const auto& [name, value] : values) URSA_RETURN_IF_ERROR(SetFieldInPlace(absl::StrCat(name, "=", value), spec));
  return absl::OkStatus();
}

}  // namespace ursa
