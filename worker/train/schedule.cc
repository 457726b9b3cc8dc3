#include "worker/train/schedule.h"

#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace ursa {

double AnnealCosine(double start, double end, double t) {
  return start + (1 + std::cos(M_PI * (1 - t))) * (end - start) / 2;
}
double AnnealLinear(double start, double end, double t) { return start + t * (end - start); }
double AnnealExponential(double start, double end, double t) { return start * std::pow(end / start, t); }
double AnnealPolynomial(double start, double end, double t, double power) {
  return start + (end - start) * std::pow(t, power);
}

std::vector<double> GeometricSteps(double start, double stop, int n) {
  URSA_CHECK(n >= 1 && start > 0 && stop > 0);
  if (n == 1) return {stop};
  const double step = std::pow(stop / start, 1.0 / (n - 1));
  std::vector<double> values;
  for (int i = 0; i < n; ++i) values.push_back(start * std::pow(step, i));
  return values;
}

PartPosition LocateInParts(const std::vector<double>& fractions, double position) {
  // torch.cumsum of float32: summed in float64, each boundary rounded. The position enters as a float32 too.
  std::vector<float> boundaries = {0.0f};
  double sum = 0;
  for (const double fraction : fractions) {
    sum += static_cast<float>(fraction);
    boundaries.push_back(static_cast<float>(sum));
  }
  const auto at = static_cast<float>(position);
  size_t part = 0;
  while (part + 1 < fractions.size() && at >= boundaries[part + 1]) ++part;
  const float t = (at - boundaries[part]) / (boundaries[part + 1] - boundaries[part]);
  return {static_cast<int>(part), t};
}

double CombinedCosine(double fraction, double start, double middle, double end, double position) {
  const PartPosition at = LocateInParts({fraction, 1 - fraction}, position);
  return at.part == 0 ? AnnealCosine(start, middle, at.t) : AnnealCosine(middle, end, at.t);
}

std::vector<double> LearningRate::PerGroup(int num_groups) const {
  if (first) return GeometricSteps(*first, maximum, num_groups);
  std::vector<double> rates(static_cast<size_t>(num_groups), tenth_for_others ? maximum / 10 : maximum);
  rates.back() = maximum;
  return rates;
}

absl::Status LearningRate::Validate() const {
  if (!(maximum > 0) || !std::isfinite(maximum) || (first && !(*first > 0 && std::isfinite(*first)))) {
    return absl::InvalidArgumentError(absl::StrCat("learning rate: must be > 0 and finite, it is ", maximum,
                                                   first ? absl::StrCat(" from ", *first) : ""));
  }
  if (first && tenth_for_others) {
    return absl::InvalidArgumentError("learning rate: a first value and a tenth for others exclude each other");
  }
  return absl::OkStatus();
}

double Schedule::LearningRateAt(double position, double maximum) const {
  switch (kind) {
    case Kind::kConstant:
      return maximum;
    case Kind::kOneCycle:
      return CombinedCosine(pct_start, maximum / div, maximum, maximum / div_final, position);
    case Kind::kFlatCosine:
      return CombinedCosine(pct_start, maximum, maximum, maximum / div_final, position);
    case Kind::kCosineRestarts:
      return AnnealCosine(maximum, 0, LocateInParts(restart_fractions, position).t);
  }
  return maximum;
}

double Schedule::MomentumAt(double position) const {
  if (kind != Kind::kOneCycle) return constant_momentum;
  return CombinedCosine(pct_start, momenta[0], momenta[1], momenta[2], position);
}

absl::Status Schedule::Validate() const {
  if (!(pct_start > 0 && pct_start < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("schedule: pct_start must be in (0, 1), it is ", pct_start));
  }
  if (!(div > 0) || !(div_final > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("schedule: div and div_final must be > 0, they are ", div, " and ", div_final));
  }
  const double total = std::accumulate(restart_fractions.begin(), restart_fractions.end(), 0.0);
  if (kind == Kind::kCosineRestarts && std::abs(total - 1) > 1e-9) {
    return absl::InvalidArgumentError(absl::StrCat("schedule: restart_fractions must sum to 1, they sum to ", total));
  }
  for (const double momentum : {momenta[0], momenta[1], momenta[2], constant_momentum}) {
    if (!(momentum >= 0 && momentum < 1)) {
      return absl::InvalidArgumentError(absl::StrCat("schedule: momentum must be in [0, 1), it is ", momentum));
    }
  }
  return absl::OkStatus();
}

double SchedulePosition(int64_t epoch, int64_t epochs, int64_t step, int64_t steps) {
  double position = static_cast<double>(epoch) / static_cast<double>(epochs);
  const double increment = 1.0 / static_cast<double>(steps * epochs);
  for (int64_t i = 0; i < step; ++i) position += increment;
  return position;
}

}  // namespace ursa
