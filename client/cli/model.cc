// ursa model ...
#include <regex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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
namespace {

std::string Time(const google::protobuf::Timestamp& time) {
  return LocalTimeText(absl::FromUnixSeconds(time.seconds()));
}

absl::StatusOr<std::string> ModelResource(const std::string& model) {
  URSA_RETURN_IF_ERROR(CheckName("model", model));
  return ModelName(model);
}

// People's name stands in `name`; the API's is in `resource_name`.
Json VersionJson(const v1::ModelVersion& version) {
  Json json = ToJson(version);
  return json.Set("resource_name", version.name()).Set("name", version.model());
}

Json ModelJson(const v1::Model& model) {
  Json json = ToJson(model);
  Json versions = Json::Array();
  for (const v1::ModelVersion& version : model.versions()) versions.Append(VersionJson(version));
  return json.Set("resource_name", model.name()).Set("name", model.model()).Set("versions", std::move(versions));
}

std::string AliasesOf(const v1::Model& model, int64_t version) {
  std::vector<std::string> names;
  for (const auto& [alias, number] : model.aliases()) {
    if (number == version) names.push_back(alias);
  }
  std::sort(names.begin(), names.end());
  return absl::StrJoin(names, ", ");
}

void PrintVersion(const v1::ModelVersion& version, Output* out) {
  const v1::Lineage& lineage = version.lineage();
  out->Print(absl::StrCat(Printable(version.model()), "@", version.version(), "\n",  //
                          "  architecture  ", Printable(version.architecture()), "\n", "  classes       ",
                          Printable(absl::StrJoin(version.classes(), ", ")), "\n", "  from          experiment ",
                          Printable(lineage.experiment_id()), ", checkpoint ", Printable(lineage.checkpoint_id()),
                          " at step ", lineage.step(), "\n", "  trained on    ", Printable(lineage.dataset()),
                          " (manifest ", Printable(lineage.manifest_hash()), ")\n", "  artifact      ",
                          Printable(version.artifact_hash()), ", ",
                          FormatBytes(static_cast<double>(version.size_bytes())), "\n", "  made          ",
                          Time(version.create_time()), " by ", Printable(version.creator()), "\n"));
}

absl::StatusOr<int> Register(Context& context) {
  v1::RegisterModelVersionRequest request;
  URSA_RETURN_IF_ERROR(CheckName("model", context.arg(0)));
  request.set_model(context.arg(0));
  URSA_ASSIGN_OR_RETURN(const int64_t id, ParseIdName("experiments", 'e', *context.args().Get("experiment")));
  request.set_experiment(IdName("experiments", 'e', id));
  request.set_checkpoint(context.args().GetOr("checkpoint", "best"));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::ModelVersion version, client->RegisterModelVersion(request));
  context.out().PrintJson(VersionJson(version));
  PrintVersion(version, &context.out());
  return kExitDone;
}

absl::StatusOr<int> List(Context& context) {
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const std::vector<v1::Model> models, client->ListModels());
  Json array = Json::Array();
  Table table({"model", "versions", "champion", "architecture", "classes"});
  for (const v1::Model& model : models) {
    array.Append(ModelJson(model));
    const auto champion = model.aliases().find(kChampionAlias);
    const v1::ModelVersion last =
        model.versions().empty() ? v1::ModelVersion() : model.versions(model.versions_size() - 1);
    table.AddRow({model.model(), absl::StrCat(model.versions_size()),
                  champion == model.aliases().end() ? "-" : absl::StrCat(champion->second), last.architecture(),
                  absl::StrCat(last.classes_size())});
  }
  context.out().PrintJson(Json::Object().Set("models", std::move(array)));
  context.out().Print(models.empty() ? "no model (hint: ursa model register NAME --experiment ID)\n" : table.Render());
  return kExitDone;
}

// NAME alone shows the model with all its versions; NAME@V or NAME:ALIAS that version beside them.
absl::StatusOr<int> Show(Context& context) {
  URSA_ASSIGN_OR_RETURN(const VersionRef ref, ParseModelReference(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::Model model, client->GetModel(ModelName(ref.name)));
  URSA_ASSIGN_OR_RETURN(const v1::ModelVersion version, client->GetModelVersion(ModelVersionName(ref)));
  const Json all = ModelJson(model);
  Json json = VersionJson(version);
  for (const char* field : {"versions", "aliases"}) json.Set(field, *all.Find(field));
  context.out().PrintJson(json);
  if (ref.version.has_value() || !ref.alias.empty()) {
    PrintVersion(version, &context.out());
    return kExitDone;
  }
  Table table({"version", "alias", "from", "dataset", "made", "by", "artifact"});
  for (const v1::ModelVersion& v : model.versions())
    table.AddRow({absl::StrCat(v.version()), AliasesOf(model, v.version()), v.lineage().experiment_id(),
                  v.lineage().dataset(), Time(v.create_time()), v.creator(), v.artifact_hash().substr(0, 12)});
  context.out().Print(table.Render());
  return kExitDone;
}

absl::StatusOr<int> History(Context& context) {
  URSA_ASSIGN_OR_RETURN(const std::string name, ModelResource(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const std::vector<v1::ModelEvent> events, client->ListModelEvents(name));
  Json array = Json::Array();
  Table table({"time", "actor", "action", "from", "to", "comparison", "why"});
  const auto number = [](int64_t version) { return version == 0 ? "-" : absl::StrCat(version); };
  for (const v1::ModelEvent& event : events) {
    array.Append(ToJson(event));
    table.AddRow({Time(event.time()), event.actor(), event.action() + (event.forced() ? " (forced)" : ""),
                  number(event.from_version()), number(event.to_version()), event.comparison_id(), event.why()});
  }
  context.out().PrintJson(Json::Object().Set("events", std::move(array)));
  context.out().Print(table.Render());
  return kExitDone;
}

Json PromotionJson(const v1::PromoteModelVersionResponse& answer) { return ToJson(answer).Set("name", answer.model()); }

void PrintPromotion(const v1::PromoteModelVersionResponse& answer, Output* out) {
  out->Print(absl::StrCat("champion of ", Printable(answer.model()), " is version ", answer.champion(),
                          answer.previous() == 0 ? ", the first" : absl::StrCat(", before it was ", answer.previous()),
                          answer.comparison_id().empty() ? "" : absl::StrCat(" (", answer.comparison_id(), ")"), "\n"));
}

// What a refused promotion exits with: when the refusal is about a comparison (the one asked for, or the one that the
// error names), its verdict says.
int RefusedExitStatus(Client* client, const std::string& asked_for, const std::string& message) {
  std::string name = asked_for;
  std::smatch found;
  static const std::regex kComparisonId("\\bc[1-9][0-9]*\\b");
  if (name.empty() && std::regex_search(message, found, kComparisonId))
    name = absl::StrCat("comparisons/", found.str());
  if (name.empty()) return kExitFailed;
  const absl::StatusOr<v1::Comparison> comparison = client->GetComparison(name);
  if (!comparison.ok()) return kExitFailed;
  const int status = ExitStatusOf(comparison->verdict());
  return status == kExitDone ? kExitFailed : status;
}

absl::StatusOr<int> Promote(Context& context) {
  URSA_ASSIGN_OR_RETURN(const VersionRef ref, ParseModelReference(context.arg(0)));
  v1::PromoteModelVersionRequest request;
  request.set_name(ModelVersionName(ref));
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> expected, context.args().GetInt("expect-champion", 0, INT64_MAX));
  if (expected.has_value()) request.set_expect_champion(*expected);
  if (context.args().Has("comparison")) {
    URSA_ASSIGN_OR_RETURN(const int64_t id, ParseIdName("comparisons", 'c', *context.args().Get("comparison")));
    request.set_comparison(IdName("comparisons", 'c', id));
  }
  request.set_force(context.args().Has("force"));
  request.set_why(context.args().GetOr("why", ""));
  if (request.force() && request.why().empty())
    return absl::InvalidArgumentError("flag \"--force\": it needs a reason (hint: --why TEXT)");
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  const absl::StatusOr<v1::PromoteModelVersionResponse> answer = client->PromoteModelVersion(request);
  if (absl::IsFailedPrecondition(answer.status())) {
    const std::string message(answer.status().message());
    context.out().Warn(absl::StrCat("error: ", Printable(message)));
    return RefusedExitStatus(client, request.comparison(), message);
  }
  URSA_RETURN_IF_ERROR(answer.status());
  context.out().PrintJson(PromotionJson(*answer));
  PrintPromotion(*answer, &context.out());
  return kExitDone;
}

absl::StatusOr<int> Rollback(Context& context) {
  v1::RollbackModelRequest request;
  URSA_ASSIGN_OR_RETURN(*request.mutable_name(), ModelResource(context.arg(0)));
  request.set_why(context.args().GetOr("why", ""));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::PromoteModelVersionResponse answer, client->RollbackModel(request));
  context.out().PrintJson(PromotionJson(answer));
  PrintPromotion(answer, &context.out());
  return kExitDone;
}

int ShowGates(const std::string& model, const v1::ModelGates& gates, Output* out) {
  out->PrintJson(ToJson(gates).Set("resource_name", gates.name()).Set("name", model));
  Table table({"metric", "margin", "confidence", "a candidate passes when it is"});
  for (const v1::Gate& gate : gates.gates().gates())
    table.AddRow(
        {gate.metric(), absl::StrCat(gate.non_inferiority_margin()), absl::StrCat(gate.confidence()), GateName(gate)});
  out->Print(table.Render() + "hash " + Printable(gates.gates_hash()) + "\n");
  return kExitDone;
}

absl::StatusOr<int> SetGates(Context& context) {
  v1::SetModelGatesRequest request;
  URSA_ASSIGN_OR_RETURN(*request.mutable_name(), ModelResource(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(context.arg(1)));
  URSA_ASSIGN_OR_RETURN(*request.mutable_gates(), ParseGates(context.arg(1), text));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::ModelGates gates, client->SetModelGates(request));
  return ShowGates(context.arg(0), gates, &context.out());
}

absl::StatusOr<int> GetGates(Context& context) {
  URSA_RETURN_IF_ERROR(CheckName("model", context.arg(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::ModelGates gates, client->GetModelGates(ModelName(context.arg(0))));
  return ShowGates(context.arg(0), gates, &context.out());
}

Command PromoteCommand(const Flag& why) {
  return {"model",
          "promote",
          {{"NAME@V"}},
          {{"expect-champion", "N", "refuse if the champion is another version; 0 expects none"},
           {"comparison", "ID", "the evidence (default: the latest of candidate and champion that still holds)"},
           {"force", "", "without evidence; recorded, needs --why"},
           why},
          "make a version the champion, on evidence",
          "Evidence is a comparison with the present champion under the model's own gates that passed; for the first\n"
          "champion a complete evaluation.",
          "ursa compare bears@2 bears:champion bears\nursa model promote bears@2 --expect-champion 1",
          true,
          &Promote};
}

}  // namespace

std::vector<Command> ModelCommands() {
  const Flag why = {"why", "TEXT", "the reason, kept in the history"};
  return {
      {"model",
       "register",
       {{"NAME"}},
       {{"experiment", "ID", "the experiment that trained it", false, {}, false, /*required=*/true},
        {"checkpoint", "WHICH", "best, last, or a checkpoint's id (default: best)"}},
       "make the next version of a model from an experiment's checkpoint",
       "",
       "ursa model register bears --experiment e17 --checkpoint best",
       true,
       &Register},
      {"model", "list", {}, {}, "models, with their champions", "", "ursa model list", true, &List},
      {"model",
       "show",
       {{"NAME[@V]"}},
       {},
       "a model with its versions, or one version with its lineage",
       "",
       "ursa model show bears@2",
       true,
       &Show},
      {"model",
       "history",
       {{"NAME"}},
       {},
       "who moved the champion, when and on what evidence",
       "",
       "ursa model history bears",
       true,
       &History},
      PromoteCommand(why),
      {"model",
       "rollback",
       {{"NAME"}},
       {why},
       "move the champion back to the version before it",
       "",
       "ursa model rollback bears --why \"wrong on night photos\"",
       true,
       &Rollback},
      {"model",
       "set-gates",
       {{"NAME"}, {"FILE", Arity::kOne, /*is_path=*/true}},
       {},
       "set the rule that promotions are judged by",
       "FILE is textproto: gates { metric: \"accuracy\" non_inferiority_margin: 0.01 confidence: 0.95 }",
       "ursa model set-gates bears gates.textproto",
       true,
       &SetGates},
      {"model",
       "gates",
       {{"NAME"}},
       {},
       "the rule that promotions are judged by",
       "",
       "ursa model gates bears",
       true,
       &GetGates},
  };
}

}  // namespace ursa::cli
