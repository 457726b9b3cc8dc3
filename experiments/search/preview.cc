#include "experiments/search/preview.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>
#include <utility>

#include "base/rng.h"
#include "base/status_macros.h"
#include "experiments/search/search.h"
#include "experiments/spec.h"

namespace ursa {
namespace {

// A cluster that nobody has asked yet.
constexpr int32_t kConcurrentTrialsAssumed = 8;
constexpr uint32_t kPreviewStream = 0x5EA2'D000;

template <typename Method>
void Describe(const char* name, const Method& method, SearchPreview* preview) {
  preview->method = name;
  preview->metric = method.metric();
  preview->smaller_is_better = method.smaller_is_better();
  preview->max_concurrent_trials = method.max_concurrent_trials();
}

void DescribeMethod(const v1::ExperimentSpec& filled, SearchPreview* preview) {
  const v1::SearcherSpec& searcher = filled.searcher();
  switch (searcher.method_case()) {
    case v1::SearcherSpec::kGrid:
      return Describe("grid", searcher.grid(), preview);
    case v1::SearcherSpec::kRandom:
      return Describe("random", searcher.random(), preview);
    case v1::SearcherSpec::kAdaptiveAsha:
      return Describe("adaptive_asha", searcher.adaptive_asha(), preview);
    case v1::SearcherSpec::METHOD_NOT_SET:
      break;
  }
  preview->method = "single";
  preview->metric = filled.checkpoint().best_metric();
  preview->smaller_is_better = LowerIsBetter(preview->metric);
  preview->max_concurrent_trials = 1;
}

// The search after all its trials, each of which has trained at one epoch a unit of time.
Search Simulate(const v1::ExperimentSpec& resolved) {
  Search search(resolved);
  // When a trial comes to its rung; at one time the lower number first.
  using Arrival = std::pair<int64_t, int32_t>;
  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<Arrival>> arrivals;
  int64_t now = 0;
  const auto take = [&](const std::vector<SearchOperation>& operations) {
    for (const SearchOperation& operation : operations) {
      if (operation.kind != SearchOperation::Kind::kTrainTrial) continue;
      const int32_t done = search.trials()[static_cast<size_t>(operation.trial) - 1].epochs;
      arrivals.emplace(now + operation.until_epochs - done, operation.trial);
    }
  };
  take(search.Start());
  while (!arrivals.empty()) {
    int32_t trial = 0;
    std::tie(now, trial) = arrivals.top();
    arrivals.pop();
    SearchFact fact;
    fact.trial = trial;
    fact.epochs = search.trials()[static_cast<size_t>(trial) - 1].until_epochs;
    fact.value =
        CounterRng(static_cast<uint64_t>(resolved.seed()), static_cast<uint64_t>(trial), kPreviewStream).Uniform();
    take(search.Apply(fact));
  }
  return search;
}

void CountEpochs(const Search& search, SearchPreview* preview) {
  for (const Bracket& plan : search.brackets()) {
    SearchPreview::Bracket bracket;
    bracket.num_trials = plan.num_trials;
    for (const int32_t epochs : plan.rung_epochs) bracket.rungs.push_back({epochs, 0});
    if (bracket.rungs.size() == 1) bracket.rungs.front().epochs = 0;  // each trial may have a number of its own
    preview->brackets.push_back(std::move(bracket));
  }
  for (const SearchTrial& trial : search.trials()) {
    std::vector<SearchPreview::Rung>& rungs = preview->brackets[static_cast<size_t>(trial.bracket)].rungs;
    for (size_t i = 0; i <= static_cast<size_t>(trial.rung); ++i) ++rungs[i].num_trials;
    if (rungs.size() == 1) rungs.front().epochs = std::max(rungs.front().epochs, trial.total_epochs);
    preview->total_epochs += trial.epochs;
    preview->total_epochs_max += trial.total_epochs;
  }
}

}  // namespace

absl::StatusOr<SearchPreview> PreviewSearch(const v1::ExperimentSpec& recipe) {
  URSA_ASSIGN_OR_RETURN(v1::ExperimentSpec filled, ValidateAndFill(recipe));
  SearchPreview preview;
  DescribeMethod(filled, &preview);
  ResolveConcurrentTrials(kConcurrentTrialsAssumed * filled.resources().slots_per_trial(), &filled);
  const Search search = Simulate(filled);
  preview.num_trials = search.num_trials();
  CountEpochs(search, &preview);
  if (!filled.has_searcher()) return preview;
  // What an earlier experiment gives is known to the server alone.
  const v1::WarmStart& warm_start = filled.searcher().warm_start();
  const int32_t num_unknown = warm_start.trials_size() == 0 ? warm_start.num_trials() : 0;
  const int32_t last = std::min(search.num_trials(), num_unknown + kPreviewSamplesMax);
  for (int32_t trial = num_unknown + 1; trial <= last; ++trial) {
    preview.samples.push_back({trial, TrialHyperparameters(filled, trial)});
  }
  return preview;
}

}  // namespace ursa
