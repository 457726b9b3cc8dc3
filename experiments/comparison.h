// Two models on the same examples: paired outcomes, exact tests, and a verdict under gates. Pure.
#ifndef URSA_EXPERIMENTS_COMPARISON_H_
#define URSA_EXPERIMENTS_COMPARISON_H_

#include "absl/status/statusor.h"
#include "experiments/evaluation.h"
#include "experiments/statistics/paired_tests.h"
#include "ursa/v1/comparisons.pb.h"
#include "ursa/v1/registry.pb.h"

namespace ursa {

// A gate's verdict: pass if the lower end of the paired interval of accuracy(candidate) - accuracy(baseline), at the
// gate's confidence, is above -margin; fail if the upper end is below -margin; else need more data. `why` says it in
// one sentence with the numbers. `examples_needed` is 0 unless more data is needed.
struct GateVerdict {
  v1::GateResult result;
  int64_t examples_needed = 0;
};
GateVerdict JudgeGate(const v1::Gate& resolved_gate, const PairedCounts& counts);

// Computes all that a Comparison says about the two models: metrics, counts, p_value (exact McNemar, two-sided),
// difference (95 %), gates, verdict (fail if a gate fails, else need_more_data if one needs it, else pass),
// examples_needed (the largest of the gates that need more), gates_hash, num_examples, example_set_hash. Names, times
// and state are the caller's. The two may list their examples in different order. Errors: as CheckLabelledLogits and
// ResolveGates; INVALID_ARGUMENT (the examples or labels of the two differ).
absl::StatusOr<v1::Comparison> ComputeComparison(const LabelledLogits& candidate, const LabelledLogits& baseline,
                                                 const v1::Gates& gates);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_COMPARISON_H_
