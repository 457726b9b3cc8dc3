// ursa evaluate.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/proto_json.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "experiments/resource_names.h"

namespace ursa::cli {
namespace {

constexpr int kConfusionClassesMax = 20;  // wider tables are for --json

void PrintEvaluation(const v1::Evaluation& evaluation, const std::string& model, const std::string& dataset,
                     Output* out) {
  out->Print(absl::StrCat(model, " on ", Plural(evaluation.num_examples(), "example", "examples"), " of ", dataset,
                          ", split ", Printable(evaluation.split()), " (", evaluation.new_predictions(),
                          " predicted anew)\n\n"));
  Table metrics({"metric", "value", "95 % interval"});
  const std::map<std::string, v1::Estimate> sorted(evaluation.metrics().begin(), evaluation.metrics().end());
  for (const auto& [name, estimate] : sorted)
    metrics.AddRow(
        {name, FormatMetric(estimate.value()), absl::StrFormat("[%.4f, %.4f]", estimate.low(), estimate.high())});
  out->Print(metrics.Render() + "\n");
  if (evaluation.confusion_size() > kConfusionClassesMax) {
    out->Print(absl::StrCat("confusion of ", evaluation.confusion_size(), " classes: --json has it\n"));
    return;
  }
  std::vector<std::string> header = {"actual \\ predicted"};
  for (const std::string& label : evaluation.classes()) header.push_back(Printable(label));
  Table confusion(header);
  for (int row = 0; row < evaluation.confusion_size(); ++row) {
    std::vector<std::string> cells = {row < evaluation.classes_size() ? evaluation.classes(row) : ""};
    for (const int64_t count : evaluation.confusion(row).counts()) cells.push_back(absl::StrCat(count));
    cells.resize(std::min(cells.size(), header.size()));
    confusion.AddRow(cells);
  }
  out->Print(confusion.Render());
}

absl::StatusOr<int> Evaluate(Context& context) {
  URSA_ASSIGN_OR_RETURN(const VersionRef model, ParseModelReference(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(const VersionRef dataset, ParseDatasetReference(context.arg(1)));
  v1::CreateEvaluationRequest request;
  request.set_model(ModelVersionName(model));
  request.set_dataset(DatasetVersionName(dataset));
  request.set_split(context.args().GetOr("split", "valid"));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(v1::Evaluation evaluation, client->CreateEvaluation(request));
  {
    Progress progress(&context.out(), "predicting", "examples", Progress::Unit::kCount);
    const auto on_change = [&progress](const v1::Evaluation& now) {
      progress.Update(now.num_predicted(), std::max(now.num_examples(), now.num_predicted()));
    };
    URSA_ASSIGN_OR_RETURN(evaluation, client->WaitForEvaluation(evaluation.name(), on_change));
  }
  if (evaluation.state() != v1::Evaluation::STATE_COMPLETED)
    return absl::InternalError(absl::StrCat("evaluation ", evaluation.name(), ": failed, ", evaluation.reason()));
  context.out().PrintJson(ToJson(evaluation));
  PrintEvaluation(evaluation, model.ToString(), dataset.ToString(), &context.out());
  return kExitDone;
}

}  // namespace

std::vector<Command> EvaluateCommands() {
  return {{"evaluate",
           "",
           {{"MODEL"}, {"DATASET"}},
           {{"split", "SPLIT", "train, valid or test (default: valid)", false, {"train", "valid", "test"}}},
           "predict a dataset's split and compute exact metrics",
           "Predictions are kept: a second evaluation on the same examples predicts nothing anew.",
           "ursa evaluate bears@1 bears --split valid",
           true,
           &Evaluate}};
}

}  // namespace ursa::cli
