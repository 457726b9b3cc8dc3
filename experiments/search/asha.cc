#include "experiments/search/asha.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"

namespace ursa {
namespace {

int64_t Power(int64_t base, int32_t exponent) {
  int64_t power = 1;
  for (int32_t i = 0; i < exponent; ++i) power *= base;
  return power;
}

// floor(log_base(value)), value >= 1.
int32_t FloorLog(int64_t value, int64_t base) {
  int32_t log = 0;
  for (int64_t rest = value; rest >= base; rest /= base) ++log;
  return log;
}

int32_t FewestRungs(const std::string& mode, int32_t num_rungs) {
  if (mode == "aggressive") return num_rungs;
  return mode == "standard" ? (num_rungs - 1) / 2 + 1 : 1;
}

std::vector<Bracket> BracketsOf(const v1::AdaptiveAshaSearch& resolved, int32_t num_rungs) {
  const int64_t divisor = resolved.divisor();
  const int32_t fewest = FewestRungs(resolved.mode(), num_rungs);
  const auto weight = [&](int32_t rungs) { return static_cast<double>(Power(divisor, rungs - 1)) / rungs; };
  double sum = 0;
  for (int32_t rungs = fewest; rungs <= num_rungs; ++rungs) sum += weight(rungs);
  std::vector<Bracket> brackets;
  int32_t rest = resolved.max_trials();
  for (int32_t rungs = num_rungs; rungs >= fewest; --rungs) {
    Bracket bracket;
    for (int32_t k = rungs - 1; k >= 0; --k) {
      bracket.rung_epochs.push_back(static_cast<int32_t>(resolved.max_epochs() / Power(divisor, k)));
    }
    bracket.num_trials = std::max(1, static_cast<int32_t>(std::floor(resolved.max_trials() * weight(rungs) / sum)));
    rest -= bracket.num_trials;
    brackets.push_back(std::move(bracket));
  }
  brackets.front().num_trials += rest;
  return brackets;
}

}  // namespace

std::vector<Bracket> AshaBrackets(const v1::AdaptiveAshaSearch& resolved) {
  const int32_t divisor = resolved.divisor();
  URSA_CHECK(divisor >= 2 && resolved.max_trials() >= 1 && resolved.max_epochs() >= 1) << "the search is not resolved";
  int32_t num_rungs = std::min({resolved.max_rungs(), FloorLog(resolved.max_epochs(), divisor) + 1,
                                FloorLog(resolved.max_trials(), divisor) + 1});
  for (;; --num_rungs) {
    std::vector<Bracket> brackets = BracketsOf(resolved, num_rungs);
    const bool all_reach_the_end = std::all_of(brackets.begin(), brackets.end(), [&](const Bracket& bracket) {
      return bracket.num_trials >= Power(divisor, static_cast<int32_t>(bracket.rung_epochs.size()) - 1);
    });
    if (all_reach_the_end) return brackets;
  }
}

void Rung::Arrive(int32_t trial, double key) {
  const Place place = {key, trial, std::isfinite(key)};
  const auto before = [](const Place& a, const Place& b) { return a.key != b.key ? a.key < b.key : a.trial < b.trial; };
  places_.insert(std::upper_bound(places_.begin(), places_.end(), place, before), place);
}

void Rung::Leave(int32_t trial) {
  for (Place& place : places_) {
    if (place.trial == trial) place.waits = false;
  }
}

std::optional<int32_t> Rung::BestPromotable(int32_t divisor) const {
  const size_t num_best = places_.size() / static_cast<size_t>(divisor);
  for (size_t i = 0; i < num_best; ++i) {
    if (places_[i].waits) return places_[i].trial;
  }
  return std::nullopt;
}

std::vector<int32_t> Rung::Hopeless(int64_t num_arrivals_max, int32_t divisor) const {
  std::vector<int32_t> trials;
  for (size_t i = static_cast<size_t>(num_arrivals_max / divisor); i < places_.size(); ++i) {
    if (places_[i].waits) trials.push_back(places_[i].trial);
  }
  return trials;
}

}  // namespace ursa
