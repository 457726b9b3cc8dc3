// ursa dataset ...
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/import.h"
#include "client/cli/proto_json.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/walk.h"
#include "experiments/resource_names.h"
#include "experiments/splitters.h"

namespace ursa::cli {
namespace {

constexpr int kRefusedShownMax = 20;  // more are for --json

// People's name stands in `name`; the API's is in `resource_name`.
Json VersionJson(const v1::DatasetVersion& version) {
  return ToJson(version).Set("resource_name", version.name()).Set("name", version.dataset());
}

void PrintVersion(const v1::DatasetVersion& version, Output* out) {
  out->Print(absl::StrCat(
      Printable(version.dataset()), "@", version.version(), "\n", "  examples    ", FormatCount(version.num_examples()),
      ": ", FormatCount(version.num_train()), " train, ", FormatCount(version.num_valid()), " valid",
      version.num_test() > 0 ? absl::StrCat(", ", FormatCount(version.num_test()), " test") : "", " (",
      Printable(version.split()), ")\n", "  classes     ", Printable(absl::StrJoin(version.classes(), ", ")), "\n",
      "  duplicates  ", FormatCount(version.num_duplicates()), "\n", "  ignored     ",
      FormatCount(version.num_ignored()), "\n", "  manifest    ", Printable(version.manifest_hash()), "\n",
      "  refused     ", FormatCount(version.refused_size()), "\n"));
  if (version.refused_size() == 0) return;
  Table refused({"  refused file", "reason"});
  for (int i = 0; i < std::min(version.refused_size(), kRefusedShownMax); ++i)
    refused.AddRow({"  " + version.refused(i).source(), version.refused(i).reason()});
  out->Print(refused.Render());
  if (version.refused_size() > kRefusedShownMax)
    out->Print(absl::StrCat("  and ", version.refused_size() - kRefusedShownMax, " more (--json has all)\n"));
}

absl::StatusOr<int> Import(Context& context) {
  const std::string& name = context.arg(0);
  URSA_RETURN_IF_ERROR(CheckName("dataset", name));
  URSA_ASSIGN_OR_RETURN(const LabelRule labels, LabelRule::Parse(context.args().GetOr("labels", "parent")));
  URSA_ASSIGN_OR_RETURN(const SplitRule split, ParseSplitRule(context.args().GetOr("split", "random:0.2:seed=42")));
  if (split.kind == SplitRule::Kind::kColumn)
    return absl::InvalidArgumentError(absl::StrCat(
        "split \"", split.ToString(), "\": a folder has no columns, must be random, stratified or folder"));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  absl::StatusOr<v1::DatasetVersion> version =
      ImportFolder(client, name, context.arg(1), labels, split, &context.out());
  if (!version.ok()) {
    // What the source holds is no wrong usage, whatever code the server has for it.
    const bool is_usage = absl::IsInvalidArgument(version.status());
    return is_usage ? absl::FailedPreconditionError(version.status().message()) : version.status();
  }
  context.out().PrintJson(VersionJson(*version));
  PrintVersion(*version, &context.out());
  if (version->num_examples() == 0)
    return absl::FailedPreconditionError(absl::StrCat("dataset \"", name, "\": no file was accepted"));
  return kExitDone;
}

absl::StatusOr<int> Show(Context& context) {
  URSA_ASSIGN_OR_RETURN(const VersionRef ref, ParseDatasetReference(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::DatasetVersion version, client->GetDatasetVersion(DatasetVersionName(ref)));
  context.out().PrintJson(VersionJson(version));
  PrintVersion(version, &context.out());
  return kExitDone;
}

absl::StatusOr<int> List(Context& context) {
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const std::vector<v1::DatasetVersion> versions, client->ListDatasetVersions());
  Json array = Json::Array();
  Table table({"dataset", "examples", "train", "valid", "test", "classes", "made", "by"});
  for (const v1::DatasetVersion& version : versions) {
    array.Append(VersionJson(version));
    table.AddRow({absl::StrCat(version.dataset(), "@", version.version()), FormatCount(version.num_examples()),
                  FormatCount(version.num_train()), FormatCount(version.num_valid()), FormatCount(version.num_test()),
                  absl::StrCat(version.classes_size()),
                  LocalTimeText(absl::FromUnixSeconds(version.create_time().seconds())), version.creator()});
  }
  context.out().PrintJson(Json::Object().Set("datasets", std::move(array)));
  context.out().Print(versions.empty() ? "no dataset (hint: ursa dataset import NAME FOLDER)\n" : table.Render());
  return kExitDone;
}

absl::StatusOr<int> Examples(Context& context) {
  URSA_ASSIGN_OR_RETURN(const VersionRef ref, ParseDatasetReference(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> limit, context.args().GetInt("limit", 1, INT64_MAX));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const std::vector<v1::Example> examples,
                        client->ListExamples(DatasetVersionName(ref), context.args().GetOr("split", ""),
                                             context.args().GetOr("label", ""), limit.value_or(INT64_MAX)));
  Json array = Json::Array();
  Table table({"id", "label", "split", "source"});
  for (const v1::Example& example : examples) {
    array.Append(ToJson(example));
    table.AddRow({example.id().substr(0, 12), example.label(), example.split(), example.source()});
  }
  context.out().PrintJson(Json::Object().Set("examples", std::move(array)));
  context.out().Print(examples.empty() ? "no example\n" : table.Render());
  return kExitDone;
}

}  // namespace

std::vector<Command> DatasetCommands() {
  return {
      {"dataset",
       "import",
       {{"NAME"}, {"SOURCE", Arity::kOne, /*is_path=*/true}},
       {{"labels", "RULE", "parent (the folder's name) or regex:PATTERN (its first group); default: parent"},
        {"split", "RULE", "random:0.2:seed=42, stratified:0.2:seed=42 or folder; default: random:0.2:seed=42"}},
       "read a folder of pictures, check each, make a version",
       "Equal content gives the version that is there. Refused files are listed with the reason.",
       "ursa dataset import bears ~/photos/bears --split random:0.2:seed=42",
       true,
       &Import},
      {"dataset", "list", {}, {}, "all versions of all datasets", "", "ursa dataset list", true, &List},
      {"dataset",
       "show",
       {{"NAME[@V]"}},
       {},
       "one version, with what was refused",
       "",
       "ursa dataset show bears@1",
       true,
       &Show},
      {"dataset",
       "examples",
       {{"NAME[@V]"}},
       {{"split", "SPLIT", "only those of train, valid or test", false, {"train", "valid", "test"}},
        {"label", "LABEL", "only those with this label"},
        {"limit", "N", "at most so many"}},
       "examples of a version",
       "",
       "ursa dataset examples bears --split valid --label grizzly --limit 10",
       true,
       &Examples},
  };
}

}  // namespace ursa::cli
