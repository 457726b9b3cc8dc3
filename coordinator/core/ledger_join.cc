#include "coordinator/core/ledger_join.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

std::map<std::string, int32_t> ClassIndex(const v1::ModelVersion& model) {
  std::map<std::string, int32_t> index;
  for (int i = 0; i < model.classes_size(); ++i) index[model.classes(i)] = i;
  return index;
}

}  // namespace

absl::StatusOr<SplitExamples> SelectSplit(const v1::Manifest& manifest, const std::string& dataset,
                                          const std::string& split,
                                          const std::vector<records::ModelVersionRecord>& models) {
  SplitExamples examples;
  for (const v1::Example& example : manifest.examples()) {
    if (example.split() != split) continue;
    examples.ids.push_back(example.id());
    examples.labels.push_back(example.label());
  }
  if (examples.ids.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(dataset, ": split ", split, " has no example"));
  }
  for (const records::ModelVersionRecord& model : models) {
    const auto index = ClassIndex(model.version());
    const auto unknown = std::find_if(examples.labels.begin(), examples.labels.end(),
                                      [&index](const std::string& label) { return !index.count(label); });
    if (unknown != examples.labels.end()) {
      return absl::FailedPreconditionError(
          absl::StrCat(model.version().name(), ": does not know the class \"", *unknown, "\" of ", dataset));
    }
  }
  examples.set_hash = ExampleSetHash(examples.ids);
  return examples;
}

PredictionSource SourceOf(const records::ModelVersionRecord& model) {
  return {model.version().artifact_hash(), model.version().transform_hash()};
}

absl::StatusOr<LabelledLogits> JoinLedger(const PredictionLedger& ledger, const KvReader& view,
                                          const records::ModelVersionRecord& model, const SplitExamples& examples) {
  URSA_ASSIGN_OR_RETURN(PredictionLedger::Matrix matrix, ledger.Read(view, SourceOf(model), examples.ids));
  if (matrix.num_outputs != model.version().classes_size()) {
    return absl::DataLossError(absl::StrCat(model.version().name(), ": the ledger has ", matrix.num_outputs,
                                            " logits an example, the model has ", model.version().classes_size(),
                                            " classes"));
  }
  const auto index = ClassIndex(model.version());
  LabelledLogits joined;
  joined.example_ids = examples.ids;
  for (const std::string& label : examples.labels) joined.labels.push_back(index.at(label));
  joined.logits = std::move(matrix.logits);
  joined.num_classes = static_cast<int32_t>(matrix.num_outputs);
  return joined;
}

}  // namespace ursa
