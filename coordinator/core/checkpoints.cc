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
std::vector<int> ByMetric(const records::ExperimentRecord& experiment) {
  const std::string& metric = experiment.spec().checkpoint().best_metric();
  const bool lower_is_better = LowerIsBetter(metric);
  std::vector<std::pair<double, int>> ranked;
  for (int i = 0; i < experiment.checkpoints_size(); ++i) {
    const records::CheckpointRecord& checkpoint = experiment.checkpoints(i);
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

void AddCheckpoint(records::CheckpointRecord checkpoint, int64_t num_checkpoints_max,
                   records::ExperimentRecord* experiment) {
  auto* all = experiment->mutable_checkpoints();
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

  const records::ExperimentRecord& read = *experiment;
  const int size = read.checkpoints_size();
  const auto limited = [&](int64_t asked) { return std::min<int64_t>({asked, size, num_checkpoints_max}); };
  std::set<int> kept;
  const std::vector<int> by_metric = ByMetric(read);
  const int64_t num_best =
      std::min<int64_t>(limited(read.spec().checkpoint().keep_best()), static_cast<int64_t>(by_metric.size()));
  kept.insert(by_metric.begin(), by_metric.begin() + num_best);
  const int64_t num_latest = std::max<int64_t>(1, limited(read.spec().checkpoint().keep_latest()));
  for (int64_t i = 0; i < num_latest; ++i) kept.insert(size - 1 - static_cast<int>(i));

  google::protobuf::RepeatedPtrField<records::CheckpointRecord> survivors;
  for (int i = 0; i < size; ++i) {
    if (!kept.count(i)) continue;
    records::CheckpointRecord* survivor = survivors.Add();
    *survivor = read.checkpoints(i);
    survivor->set_best(!by_metric.empty() && i == by_metric[0]);
  }
  experiment->mutable_checkpoints()->Swap(&survivors);
}

const records::CheckpointRecord* LatestCheckpoint(const records::ExperimentRecord& experiment) {
  return experiment.checkpoints_size() == 0 ? nullptr : &experiment.checkpoints(experiment.checkpoints_size() - 1);
}

absl::StatusOr<records::CheckpointRecord> FindCheckpoint(const records::ExperimentRecord& experiment,
                                                         const std::string& which) {
  const std::string subject = absl::StrCat("experiment ", ExperimentId(experiment.id()).ToString(), ": ");
  const auto id = CheckpointId::Parse(which);
  if (!which.empty() && which != "best" && which != "last" && !id) {
    return absl::InvalidArgumentError(
        absl::StrCat(subject, "checkpoint \"", which, "\" is neither best, last nor an id as k9"));
  }
  if (experiment.checkpoints_size() == 0) return absl::NotFoundError(absl::StrCat(subject, "it has no checkpoint"));
  for (const records::CheckpointRecord& checkpoint : experiment.checkpoints()) {
    if (id ? checkpoint.id() == id->number() : which != "last" && checkpoint.best()) return checkpoint;
  }
  if (id) return absl::NotFoundError(absl::StrCat(subject, "checkpoint ", which, " not found or no longer kept"));
  return *LatestCheckpoint(experiment);
}

}  // namespace ursa
