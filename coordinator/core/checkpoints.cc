#include "coordinator/core/checkpoints.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "experiments/spec.h"

namespace ursa {
namespace {

bool SameMetrics(const records::CheckpointRecord& a, const records::CheckpointRecord& b) {
  return a.metrics_size() == b.metrics_size() &&
         std::all_of(a.metrics().begin(), a.metrics().end(), [&b](const auto& metric) {
           const auto it = b.metrics().find(metric.first);
           return it != b.metrics().end() && it->second == metric.second;
         });
}

// Indices of the checkpoints that may be the best, best first.
std::vector<int> ByMetric(const records::TrialRecord& trial, const std::string& metric) {
  const bool lower_is_better = LowerIsBetter(metric);
  std::vector<std::pair<double, int>> ranked;
  for (int i = 0; i < trial.checkpoints_size(); ++i) {
    const records::CheckpointRecord& checkpoint = trial.checkpoints(i);
    const auto it = checkpoint.metrics().find(metric);
    if (!checkpoint.validated() || it == checkpoint.metrics().end() || std::isnan(it->second)) continue;
    ranked.emplace_back(lower_is_better ? it->second : -it->second, i);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<int> indices;
  for (const auto& [value, index] : ranked) indices.push_back(index);
  return indices;
}

}  // namespace

void AddCheckpoint(records::CheckpointRecord checkpoint, const v1::CheckpointSpec& spec, int64_t num_checkpoints_max,
                   records::TrialRecord* trial) {
  auto* all = trial->mutable_checkpoints();
  auto at = std::lower_bound(all->begin(), all->end(), checkpoint.step(),
                             [](const records::CheckpointRecord& c, int64_t step) { return c.step() < step; });
  // The newest one before it is always kept, so the comparison tells whether there was a validation in between.
  checkpoint.set_validated(checkpoint.metrics_size() > 0 &&
                           (at == all->begin() || !SameMetrics(*std::prev(at), checkpoint)));
  if (at != all->end() && at->step() == checkpoint.step()) {
    checkpoint.set_id(at->id());
    *at = std::move(checkpoint);
  } else {
    const int index = static_cast<int>(at - all->begin());
    *all->Add() = std::move(checkpoint);
    std::rotate(all->begin() + index, all->end() - 1, all->end());
  }

  const records::TrialRecord& read = *trial;
  const int size = read.checkpoints_size();
  const auto limited = [&](int64_t asked) { return std::min<int64_t>({asked, size, num_checkpoints_max}); };
  std::set<int> kept;
  const std::vector<int> by_metric = ByMetric(read, spec.best_metric());
  const int64_t num_best = std::min<int64_t>(limited(spec.keep_best()), static_cast<int64_t>(by_metric.size()));
  kept.insert(by_metric.begin(), by_metric.begin() + num_best);
  const int64_t num_latest = std::max<int64_t>(1, limited(spec.keep_latest()));
  for (int64_t i = 0; i < num_latest; ++i) kept.insert(size - 1 - static_cast<int>(i));

  google::protobuf::RepeatedPtrField<records::CheckpointRecord> survivors;
  for (int i = 0; i < size; ++i) {
    if (!kept.count(i)) continue;
    records::CheckpointRecord* survivor = survivors.Add();
    *survivor = read.checkpoints(i);
    survivor->set_best(!by_metric.empty() && i == by_metric[0]);
  }
  trial->mutable_checkpoints()->Swap(&survivors);
}

const records::CheckpointRecord* LatestCheckpoint(const records::TrialRecord& trial) {
  return trial.checkpoints_size() == 0 ? nullptr : &trial.checkpoints(trial.checkpoints_size() - 1);
}

namespace {

// The trial whose best checkpoint is the best of all; where none has been validated, the first that has any.
const records::TrialRecord* BestTrial(const std::vector<const records::TrialRecord*>& trials,
                                      const std::string& metric) {
  const bool lower_is_better = LowerIsBetter(metric);
  const records::TrialRecord* best = nullptr;
  const records::TrialRecord* first = nullptr;
  double best_value = 0;
  for (const records::TrialRecord* trial : trials) {
    if (trial->checkpoints_size() == 0) continue;
    if (first == nullptr) first = trial;
    const std::vector<int> by_metric = ByMetric(*trial, metric);
    if (by_metric.empty()) continue;
    const double value = trial->checkpoints(by_metric[0]).metrics().at(metric);
    if (best == nullptr || (lower_is_better ? value < best_value : value > best_value)) {
      best = trial;
      best_value = value;
    }
  }
  return best != nullptr ? best : first;
}

}  // namespace

absl::StatusOr<FoundCheckpoint> FindCheckpoint(int64_t experiment_id,
                                               const std::vector<const records::TrialRecord*>& trials,
                                               const std::string& metric, const std::string& which) {
  const std::string subject = absl::StrCat("experiment ", ExperimentId(experiment_id).ToString(), ": ");
  const auto id = CheckpointId::Parse(which);
  if (!which.empty() && which != "best" && which != "last" && !id) {
    return absl::InvalidArgumentError(
        absl::StrCat(subject, "checkpoint \"", which, "\" is neither best, last nor an id as k9"));
  }
  if (id) {
    for (const records::TrialRecord* trial : trials) {
      for (const records::CheckpointRecord& checkpoint : trial->checkpoints()) {
        if (checkpoint.id() == id->number()) return FoundCheckpoint{trial, &checkpoint};
      }
    }
    return absl::NotFoundError(absl::StrCat(subject, "checkpoint ", which, " not found or no longer kept"));
  }
  const records::TrialRecord* trial = BestTrial(trials, metric);
  if (trial == nullptr) return absl::NotFoundError(absl::StrCat(subject, "it has no checkpoint"));
  if (which != "last") {
    for (const records::CheckpointRecord& checkpoint : trial->checkpoints()) {
      if (checkpoint.best()) return FoundCheckpoint{trial, &checkpoint};
    }
  }
  return FoundCheckpoint{trial, LatestCheckpoint(*trial)};
}

}  // namespace ursa
