// ursa compare.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/proto_json.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/verdict.h"
#include "experiments/gates_text.h"
#include "experiments/resource_names.h"

namespace ursa::cli {

std::string VerdictWord(v1::Verdict verdict) {
  switch (verdict) {
    case v1::VERDICT_PASS:
      return "pass";
    case v1::VERDICT_FAIL:
      return "fail";
    case v1::VERDICT_NEED_MORE_DATA:
      return "need more data";
    default:
      return "-";
  }
}

int ExitStatusOf(v1::Verdict verdict) {
  switch (verdict) {
    case v1::VERDICT_PASS:
      return kExitDone;
    case v1::VERDICT_FAIL:
      return kExitGateFailed;
    case v1::VERDICT_NEED_MORE_DATA:
      return kExitNeedMoreData;
    default:
      return kExitFailed;
  }
}

namespace {

std::string Short(const std::string& resource_name) {
  const absl::StatusOr<VersionRef> ref = ParseModelVersionName(resource_name);
  return Printable(ref.ok() ? ref->ToString() : resource_name);
}

void PrintComparison(const v1::Comparison& comparison, Output* out) {
  out->Print(absl::StrFormat("%s: %s against %s on %s\n\n", Printable(comparison.comparison_id()),
                             Short(comparison.candidate()), Short(comparison.baseline()),
                             Plural(comparison.num_examples(), "example", "examples")));
  Table metrics({"metric", "candidate", "baseline", "difference"});
  const std::map<std::string, v1::MetricPair> sorted(comparison.metrics().begin(), comparison.metrics().end());
  for (const auto& [name, pair] : sorted)
    metrics.AddRow({name, FormatMetric(pair.candidate()), FormatMetric(pair.baseline()),
                    absl::StrFormat("%+.6f", pair.candidate() - pair.baseline())});
  out->Print(metrics.Render() + "\n");
  out->Print(
      absl::StrFormat("right: both %d, candidate alone %d, baseline alone %d, neither %d\n"
                      "difference in accuracy %+.4f, 95 %% interval [%+.4f, %+.4f], exact McNemar p = %.4g\n\n",
                      comparison.both_right(), comparison.candidate_only_right(), comparison.baseline_only_right(),
                      comparison.both_wrong(), comparison.difference().value(), comparison.difference().low(),
                      comparison.difference().high(), comparison.p_value()));
  Table gates({"gate", "verdict", "why"});
  for (const v1::GateResult& gate : comparison.gates())
    gates.AddRow({gate.name(), VerdictWord(gate.verdict()), gate.why()});
  if (gates.num_rows() > 0) out->Print(gates.Render() + "\n");
  out->Print(absl::StrCat("verdict: ", VerdictWord(comparison.verdict()),
                          comparison.examples_needed() > 0
                              ? absl::StrCat(" (about ", Plural(comparison.examples_needed(), "example", "examples"),
                                             " would be needed in all, if the rates stay)")
                              : "",
                          "\n"));
}

absl::StatusOr<int> Compare(Context& context) {
  URSA_ASSIGN_OR_RETURN(const VersionRef candidate, ParseModelReference(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(const VersionRef baseline, ParseModelReference(context.arg(1)));
  URSA_ASSIGN_OR_RETURN(const VersionRef dataset, ParseDatasetReference(context.arg(2)));
  v1::CreateComparisonRequest request;
  request.set_candidate(ModelVersionName(candidate));
  request.set_baseline(ModelVersionName(baseline));
  request.set_dataset(DatasetVersionName(dataset));
  request.set_split(context.args().GetOr("split", "valid"));
  if (const std::optional<std::string> file = context.args().Get("gates")) {
    URSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(*file));
    URSA_ASSIGN_OR_RETURN(*request.mutable_gates(), ParseGates(*file, text));
  }
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(v1::Comparison comparison, client->CreateComparison(request));
  {
    Progress progress(&context.out(), "predicting", "predictions", Progress::Unit::kCount);
    const auto on_change = [&progress](const v1::Comparison& now) {
      progress.Update(now.num_predicted(), std::max(now.num_examples() * 2, now.num_predicted()));
    };
    URSA_ASSIGN_OR_RETURN(comparison, client->WaitForComparison(comparison.name(), on_change));
  }
  if (comparison.state() != v1::Comparison::STATE_COMPLETED)
    return absl::InternalError(
        absl::StrCat("comparison ", comparison.comparison_id(), ": failed, ", comparison.reason()));
  context.out().PrintJson(ToJson(comparison));
  PrintComparison(comparison, &context.out());
  return ExitStatusOf(comparison.verdict());
}

}  // namespace

std::vector<Command> CompareCommands() {
  return {{"compare",
           "",
           {{"CANDIDATE"}, {"BASELINE"}, {"DATASET"}},
           {{"split", "SPLIT", "train, valid or test (default: valid)", false, {"train", "valid", "test"}},
            {"gates",
             "FILE",
             "judge by these gates instead of the model's own; informs, but does not promote",
             false,
             {},
             true}},
           "compare two versions of a model on the same examples",
           "Exit status: 0 pass, 3 fail, 4 need more data.",
           "ursa compare bears@2 bears:champion bears --split valid",
           true,
           &Compare}};
}

}  // namespace ursa::cli
