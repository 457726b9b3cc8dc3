#include "experiments/comparison.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "experiments/gates_text.h"

namespace ursa {
namespace {

constexpr double kConfidence = 0.95;

bool IsRight(const LabelledLogits& predictions, int64_t i) {
  return ArgMax(predictions.row(i), predictions.num_classes) == predictions.labels[static_cast<size_t>(i)];
}

// The candidate's row of each of the baseline's examples.
absl::StatusOr<std::vector<int64_t>> MatchRows(const LabelledLogits& candidate, const LabelledLogits& baseline) {
  if (candidate.num_examples() != baseline.num_examples()) {
    return absl::InvalidArgumentError(absl::StrCat("comparison: ", candidate.num_examples(),
                                                   " examples of the candidate, ", baseline.num_examples(),
                                                   " of the baseline"));
  }
  std::unordered_map<std::string_view, int64_t> row_of_id;
  for (int64_t i = 0; i < candidate.num_examples(); ++i) row_of_id[candidate.example_ids[static_cast<size_t>(i)]] = i;
  std::vector<int64_t> rows;
  rows.reserve(static_cast<size_t>(baseline.num_examples()));
  for (int64_t i = 0; i < baseline.num_examples(); ++i) {
    const std::string& id = baseline.example_ids[static_cast<size_t>(i)];
    const auto found = row_of_id.find(id);
    if (found == row_of_id.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("comparison: example ", absl::CEscape(id), " has no prediction of the candidate"));
    }
    if (candidate.labels[static_cast<size_t>(found->second)] != baseline.labels[static_cast<size_t>(i)]) {
      return absl::InvalidArgumentError(absl::StrCat("comparison: example ", absl::CEscape(id), " has two labels, ",
                                                     candidate.labels[static_cast<size_t>(found->second)], " and ",
                                                     baseline.labels[static_cast<size_t>(i)]));
    }
    rows.push_back(found->second);
  }
  return rows;
}

PairedCounts CountPairs(const LabelledLogits& candidate, const LabelledLogits& baseline,
                        const std::vector<int64_t>& candidate_rows) {
  PairedCounts counts;
  for (int64_t i = 0; i < baseline.num_examples(); ++i) {
    const bool candidate_right = IsRight(candidate, candidate_rows[static_cast<size_t>(i)]);
    const bool baseline_right = IsRight(baseline, i);
    counts.both_right += candidate_right && baseline_right;
    counts.candidate_only_right += candidate_right && !baseline_right;
    counts.baseline_only_right += !candidate_right && baseline_right;
    counts.both_wrong += !candidate_right && !baseline_right;
  }
  return counts;
}

std::string IntervalText(const Interval& interval) {
  return absl::StrFormat("[%+.4f, %+.4f]", interval.low, interval.high);
}

v1::Verdict Worst(v1::Verdict a, v1::Verdict b) {
  if (a == v1::VERDICT_FAIL || b == v1::VERDICT_FAIL) return v1::VERDICT_FAIL;
  if (a == v1::VERDICT_NEED_MORE_DATA || b == v1::VERDICT_NEED_MORE_DATA) return v1::VERDICT_NEED_MORE_DATA;
  return v1::VERDICT_PASS;
}

}  // namespace

GateVerdict JudgeGate(const v1::Gate& resolved_gate, const PairedCounts& counts) {
  const double margin = resolved_gate.non_inferiority_margin();
  const double confidence = resolved_gate.confidence();
  const Interval interval = PairedDifferenceInterval(counts, confidence);
  const std::string seen =
      absl::StrFormat("%s differs by %+.4f on %d examples, the %g %% interval %s", resolved_gate.metric(),
                      counts.difference(), counts.total(), 100 * confidence, IntervalText(interval));
  const std::string limit = absl::StrFormat("%+g", margin == 0 ? 0 : -margin);
  GateVerdict verdict;
  verdict.result.set_name(GateName(resolved_gate));
  switch (DecideNonInferiority(interval, margin)) {
    case NonInferiority::kShown:
      verdict.result.set_verdict(v1::VERDICT_PASS);
      verdict.result.set_why(absl::StrCat(seen, " lies above ", limit));
      break;
    case NonInferiority::kRefuted:
      verdict.result.set_verdict(v1::VERDICT_FAIL);
      verdict.result.set_why(absl::StrCat(seen, " lies below ", limit));
      break;
    case NonInferiority::kUndecided:
      verdict.examples_needed = ExamplesNeeded(counts, margin, confidence);
      verdict.result.set_verdict(v1::VERDICT_NEED_MORE_DATA);
      verdict.result.set_why(absl::StrCat(
          seen, " contains ", limit, "; ",
          verdict.examples_needed == kExamplesNeededMax
              ? "the difference lies on the margin itself, no number of examples would decide"
              : absl::StrCat("about ", verdict.examples_needed, " examples would decide if the rates stay")));
      break;
  }
  return verdict;
}

absl::StatusOr<v1::Comparison> ComputeComparison(const LabelledLogits& candidate, const LabelledLogits& baseline,
                                                 const v1::Gates& gates) {
  URSA_ASSIGN_OR_RETURN(const v1::Gates resolved, ResolveGates(gates));
  URSA_ASSIGN_OR_RETURN(const auto candidate_metrics, ComputeMetrics(candidate));
  URSA_ASSIGN_OR_RETURN(const auto baseline_metrics, ComputeMetrics(baseline));
  URSA_ASSIGN_OR_RETURN(const std::vector<int64_t> candidate_rows, MatchRows(candidate, baseline));
  const PairedCounts counts = CountPairs(candidate, baseline, candidate_rows);

  v1::Comparison comparison;
  for (const auto& [name, estimate] : candidate_metrics) {
    v1::MetricPair& pair = (*comparison.mutable_metrics())[name];
    pair.set_candidate(estimate.value());
    pair.set_baseline(baseline_metrics.at(name).value());
  }
  comparison.set_both_right(counts.both_right);
  comparison.set_candidate_only_right(counts.candidate_only_right);
  comparison.set_baseline_only_right(counts.baseline_only_right);
  comparison.set_both_wrong(counts.both_wrong);
  comparison.set_num_examples(counts.total());
  comparison.set_example_set_hash(ExampleSetHash(baseline.example_ids));
  comparison.set_p_value(McNemar(counts.candidate_only_right, counts.baseline_only_right).exact_p);
  const Interval interval = PairedDifferenceInterval(counts, kConfidence);
  comparison.mutable_difference()->set_value(counts.difference());
  comparison.mutable_difference()->set_low(interval.low);
  comparison.mutable_difference()->set_high(interval.high);

  v1::Verdict overall = v1::VERDICT_PASS;
  int64_t examples_needed = 0;
  for (const v1::Gate& gate : resolved.gates()) {
    const GateVerdict verdict = JudgeGate(gate, counts);
    overall = Worst(overall, verdict.result.verdict());
    examples_needed = std::max(examples_needed, verdict.examples_needed);
    *comparison.add_gates() = verdict.result;
  }
  comparison.set_verdict(overall);
  // A failed gate is a verdict, whatever others still lack.
  comparison.set_examples_needed(overall == v1::VERDICT_NEED_MORE_DATA ? examples_needed : 0);
  comparison.set_gates_hash(GatesHash(resolved));
  return comparison;
}

}  // namespace ursa
