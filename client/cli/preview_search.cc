#include "client/cli/preview_search.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "client/cli/context.h"
#include "client/cli/json.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "experiments/search/preview.h"
#include "experiments/spec.h"

namespace ursa::cli {
namespace {

Json PreviewJson(const SearchPreview& preview) {
  Json brackets = Json::Array();
  for (const SearchPreview::Bracket& bracket : preview.brackets) {
    Json rungs = Json::Array();
    for (const SearchPreview::Rung& rung : bracket.rungs) {
      rungs.Append(Json::Object().Set("epochs", rung.epochs).Set("trials", rung.num_trials));
    }
    brackets.Append(Json::Object().Set("trials", bracket.num_trials).Set("rungs", std::move(rungs)));
  }
  Json samples = Json::Array();
  for (const SearchPreview::Sample& sample : preview.samples) {
    Json values = Json::Object();
    for (const auto& [name, value] : sample.hyperparameters) values.Set(name, value);
    samples.Append(Json::Object().Set("trial", sample.trial).Set("hyperparameters", std::move(values)));
  }
  return Json::Object()
      .Set("method", preview.method)
      .Set("metric", preview.metric)
      .Set("smaller_is_better", preview.smaller_is_better)
      .Set("trials", preview.num_trials)
      .Set("max_concurrent_trials", preview.max_concurrent_trials > 0 ? Json(preview.max_concurrent_trials) : Json())
      .Set("brackets", std::move(brackets))
      .Set("total_epochs", preview.total_epochs)
      .Set("total_epochs_max", preview.total_epochs_max)
      .Set("samples", std::move(samples));
}

// One line a rung: how many trials train until when.
std::string BracketsTable(const SearchPreview& preview) {
  Table table({"bracket", "trials", "until epoch"});
  for (size_t i = 0; i < preview.brackets.size(); ++i) {
    for (const SearchPreview::Rung& rung : preview.brackets[i].rungs) {
      table.AddRow({absl::StrCat(i + 1), absl::StrCat(rung.num_trials), absl::StrCat(rung.epochs)});
    }
  }
  return table.Render();
}

std::string SamplesTable(const SearchPreview& preview) {
  std::vector<std::string> header = {"trial"};
  for (const auto& [name, value] : preview.samples.front().hyperparameters) header.push_back(name);
  Table table(std::move(header));
  for (const SearchPreview::Sample& sample : preview.samples) {
    std::vector<std::string> cells = {absl::StrCat(sample.trial)};
    for (const auto& [name, value] : sample.hyperparameters) cells.push_back(value);
    table.AddRow(std::move(cells));
  }
  return table.Render();
}

std::string PreviewText(const SearchPreview& preview) {
  std::string text = absl::StrCat(
      preview.method, ": ", Plural(preview.num_trials, "trial", "trials"), ", ",
      preview.max_concurrent_trials > 0 ? absl::StrCat("at most ", preview.max_concurrent_trials)
                                        : "as many as fit the cluster",
      " at once, judged by ", preview.metric, " (", preview.smaller_is_better ? "smaller" : "larger", " is better)\n",
      "about ", FormatCount(preview.total_epochs), " epochs in all, ", FormatCount(preview.total_epochs_max),
      " if each trial went all the way\n\n", BracketsTable(preview));
  if (!preview.samples.empty()) absl::StrAppend(&text, "\n", SamplesTable(preview));
  return text;
}

absl::StatusOr<int> Preview(Context& context) {
  const std::string& file = context.arg(0);
  URSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  URSA_ASSIGN_OR_RETURN(v1::ExperimentSpec spec, ParseRecipe(file, text));
  URSA_RETURN_IF_ERROR(ApplyOverrides(context.args().All("set"), &spec));
  URSA_ASSIGN_OR_RETURN(const SearchPreview preview, PreviewSearch(spec));
  context.out().PrintJson(PreviewJson(preview));
  context.out().Print(PreviewText(preview));
  return kExitDone;
}

}  // namespace

Command PreviewSearchCommand() {
  return {
      "experiment",
      "preview-search",
      {{"RECIPE", Arity::kOne, /*is_path=*/true}},
      {{"set", "PATH=VALUE", "replace one field of the recipe; quotes around text are optional", /*repeated=*/true}},
      "what a recipe's search will do: trials, epochs, first values",
      "Needs no server. Metrics decide which trials go on, so the epochs of adaptive_asha are an estimate.",
      "ursa experiment preview-search search.textproto",
      false,
      &Preview};
}

}  // namespace ursa::cli
