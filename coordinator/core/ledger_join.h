// Examples of a split and what models predicted for them, as values that experiments/ computes with.
#ifndef URSA_COORDINATOR_CORE_LEDGER_JOIN_H_
#define URSA_COORDINATOR_CORE_LEDGER_JOIN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/state/entities.h"
#include "experiments/evaluation.h"
#include "storage/prediction_ledger.h"

namespace ursa {

// One split of a dataset version.
struct SplitExamples {
  std::vector<std::string> ids;     // in order of the manifest
  std::vector<std::string> labels;  // of each
  std::string set_hash;             // see ExampleSetHash
};

// The examples of `split`. Errors: FAILED_PRECONDITION (there are none; a model does not know a label, which is named).
absl::StatusOr<SplitExamples> SelectSplit(const v1::Manifest& manifest, const std::string& dataset,
                                          const std::string& split,
                                          const std::vector<records::ModelVersionRecord>& models);

PredictionSource SourceOf(const records::ModelVersionRecord& model);

// A model's stored logits for the examples. Errors: those of PredictionLedger::Read, DATA_LOSS (another number of
// logits than the model has classes).
absl::StatusOr<LabelledLogits> JoinLedger(const PredictionLedger& ledger, const KvReader& view,
                                          const records::ModelVersionRecord& model, const SplitExamples& examples);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_LEDGER_JOIN_H_
