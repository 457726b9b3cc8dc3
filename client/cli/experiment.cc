// ursa experiment ...
#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/follow.h"
#include "client/cli/preview_search.h"
#include "client/cli/proto_json.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "experiments/resource_names.h"
#include "experiments/spec.h"

namespace ursa::cli {
namespace {

// How long an epoch took: the API has it among the row's metrics. It is none, and is shown in the rows only.
constexpr char kEpochSeconds[] = "seconds";

// People's name stands in `name`; the API's is in `resource_name`.
Json ExperimentJson(v1::Experiment experiment) {
  experiment.mutable_metrics()->erase(kEpochSeconds);
  for (v1::Trial& trial : *experiment.mutable_trials()) trial.mutable_metrics()->erase(kEpochSeconds);
  return ToJson(experiment).Set("resource_name", experiment.name()).Set("name", experiment.spec().name());
}

absl::StatusOr<std::string> ExperimentName(const std::string& text) {
  URSA_ASSIGN_OR_RETURN(const int64_t number, ParseIdName("experiments", 'e', text));
  return IdName("experiments", 'e', number);
}

std::string MetricsText(const google::protobuf::Map<std::string, double>& metrics) {
  std::map<std::string, double> sorted(metrics.begin(), metrics.end());
  sorted.erase(kEpochSeconds);
  return absl::StrJoin(sorted, ", ", [](std::string* out, const auto& metric) {
    absl::StrAppend(out, Printable(metric.first), " ", FormatMetric(metric.second));
  });
}

std::string Seconds(const v1::Experiment& experiment) {
  if (!experiment.has_start_time() || !experiment.has_end_time()) return "";
  const double seconds = static_cast<double>(experiment.end_time().seconds() - experiment.start_time().seconds()) +
                         1e-9 * (experiment.end_time().nanos() - experiment.start_time().nanos());
  return " in " + FormatSeconds(seconds);
}

void PrintCheckpoints(const v1::Experiment& experiment, Output* out) {
  if (experiment.checkpoints().empty()) return;
  Table table({"checkpoint", "step", "epoch", "", "size", "metrics"});
  for (const v1::Checkpoint& checkpoint : experiment.checkpoints())
    table.AddRow({checkpoint.id(), absl::StrCat(checkpoint.step()), absl::StrCat(checkpoint.epoch()),
                  checkpoint.best() ? "best" : "", FormatBytes(static_cast<double>(checkpoint.size_bytes())),
                  MetricsText(checkpoint.metrics())});
  out->Print(table.Render());
}

// Of a search: one row a trial.
void PrintTrials(const v1::Experiment& experiment, Output* out) {
  if (experiment.trials_size() < 2) return;
  Table table({"trial", "", "state", "epochs", "hyperparameters", "metrics", "reason"});
  for (const v1::Trial& trial : experiment.trials()) {
    const std::map<std::string, std::string> sorted(trial.hyperparameters().begin(), trial.hyperparameters().end());
    table.AddRow({trial.id(), trial.best() ? "best" : "", StateWord(trial.state()), absl::StrCat(trial.epochs()),
                  Printable(absl::StrJoin(sorted, ", ", absl::PairFormatter("="))), MetricsText(trial.metrics()),
                  Printable(trial.reason())});
  }
  out->Print(table.Render());
}

// The exit status of an experiment that was followed to its end.
absl::StatusOr<int> EndOf(const v1::Experiment& experiment, Output* out) {
  if (experiment.state() != v1::Experiment::STATE_COMPLETED)
    return absl::InternalError(absl::StrCat("experiment ", experiment.experiment_id(), ": ended in ",
                                            StateWord(experiment.state()), experiment.reason().empty() ? "" : ", ",
                                            experiment.reason()));
  out->Print(absl::StrCat(experiment.experiment_id(), " COMPLETED", Seconds(experiment), ": ",
                          MetricsText(experiment.metrics()), "\n"));
  PrintTrials(experiment, out);
  PrintCheckpoints(experiment, out);
  return kExitDone;
}

absl::StatusOr<int> Create(Context& context) {
  if (context.args().Has("follow") && context.args().Has("paused")) {
    return absl::InvalidArgumentError("--follow and --paused: what is paused has no end to wait for");
  }
  const std::string& file = context.arg(0);
  URSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  URSA_ASSIGN_OR_RETURN(v1::ExperimentSpec spec, ParseRecipe(file, text));
  URSA_RETURN_IF_ERROR(ApplyOverrides(context.args().All("set"), &spec));
  URSA_RETURN_IF_ERROR(ValidateRecipe(spec));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(v1::Experiment experiment, client->CreateExperiment(spec, context.args().Has("paused")));
  Output& out = context.out();
  if (!context.args().Has("follow")) {
    out.PrintJson(ExperimentJson(experiment));
    out.Print(absl::StrCat(experiment.experiment_id(), " ", StateWord(experiment.state()),
                           experiment.reason().empty() ? "" : absl::StrCat(": ", Printable(experiment.reason())),
                           "\n"));
    return kExitDone;
  }
  URSA_ASSIGN_OR_RETURN(experiment, FollowExperiment(client, experiment, &out));
  out.PrintJson(ExperimentJson(experiment));
  return EndOf(experiment, &out);
}

absl::StatusOr<int> List(Context& context) {
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const std::vector<v1::Experiment> experiments, client->ListExperiments());
  Json array = Json::Array();
  Table table({"id", "name", "state", "dataset", "step", "restarts", "by", "submitted", "metrics"});
  for (const v1::Experiment& e : experiments) {
    array.Append(ExperimentJson(e));
    table.AddRow({e.experiment_id(), e.spec().name(), StateWord(e.state()), e.spec().dataset(),
                  absl::StrCat(e.step(), "/", e.num_steps()), absl::StrCat(e.restarts()), e.creator(),
                  LocalTimeText(absl::FromUnixSeconds(e.create_time().seconds())), MetricsText(e.metrics())});
  }
  context.out().PrintJson(Json::Object().Set("experiments", std::move(array)));
  context.out().Print(experiments.empty() ? "no experiment (hint: ursa experiment create RECIPE.textproto)\n"
                                          : table.Render());
  return kExitDone;
}

absl::StatusOr<int> Show(Context& context) {
  URSA_ASSIGN_OR_RETURN(const std::string name, ExperimentName(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::Experiment e, client->GetExperiment(name));
  Output& out = context.out();
  out.PrintJson(ExperimentJson(e));
  out.Print(absl::StrCat(
      e.experiment_id(), " ", Printable(e.spec().name()), "\n", "  state      ", StateWord(e.state()), Seconds(e),
      e.reason().empty() ? "" : absl::StrCat(": ", Printable(e.reason())), "\n", "  progress   step ", e.step(), " of ",
      e.num_steps(), ", epoch ", e.epoch(), " of ", e.num_epochs(), "\n"));
  out.Print(absl::StrCat("  restarts   ", e.restarts(),
                         e.resumed_from_step() > 0 ? absl::StrCat(", the last from step ", e.resumed_from_step()) : "",
                         "\n", "  data wait  ", absl::StrFormat("%.1f %%", e.data_wait_percent()), "\n",
                         "  metrics    ", e.metrics().empty() ? "-" : MetricsText(e.metrics()), "\n"));
  PrintTrials(e, &out);
  PrintCheckpoints(e, &out);
  out.Print(absl::StrCat("recipe, as resolved:\n", e.spec().Utf8DebugString()));
  return kExitDone;
}

absl::StatusOr<int> Metrics(Context& context) {
  v1::ListMetricPointsRequest request;
  URSA_ASSIGN_OR_RETURN(*request.mutable_parent(), ExperimentName(context.arg(0)));
  request.set_metric(context.args().GetOr("metric", ""));
  request.set_trial_id(context.args().GetOr("trial", ""));
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> num_points, context.args().GetInt("points", 1, 10'000));
  request.set_max_points(static_cast<int32_t>(num_points.value_or(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const std::vector<v1::MetricPoint> points, client->ListMetricPoints(request));
  Json array = Json::Array();
  std::vector<std::string> columns = {"metric", "step", "epoch", "value"};
  if (num_points.has_value()) columns.insert(columns.end(), {"least", "most", "points"});
  Table table(columns);
  for (const v1::MetricPoint& point : points) {
    if (context.out().json()) array.Append(ToJson(point));
    std::vector<std::string> row = {point.name(), absl::StrCat(point.step()), absl::StrCat(point.epoch()),
                                    FormatMetric(point.value())};
    if (num_points.has_value()) {
      row.insert(row.end(), {FormatMetric(point.spread().min()), FormatMetric(point.spread().max()),
                             absl::StrCat(point.spread().count())});
    }
    table.AddRow(row);
  }
  context.out().PrintJson(Json::Object().Set("points", std::move(array)));
  context.out().Print(points.empty() ? "no point\n" : table.Render());
  return kExitDone;
}

// One line of text a log line, with the rank in front; in JSON one object a line.
absl::StatusOr<int> Logs(Context& context) {
  v1::ReadLogsRequest request;
  URSA_ASSIGN_OR_RETURN(*request.mutable_parent(), ExperimentName(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> rank, context.args().GetInt("rank", 0, 1'000'000));
  if (rank.has_value()) request.set_rank(static_cast<int32_t>(*rank));
  request.set_trial_id(context.args().GetOr("trial", ""));
  request.set_follow(context.args().Has("follow"));
  request.set_pattern(context.args().GetOr("grep", ""));
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> limit, context.args().GetInt("limit", 1, INT64_MAX));
  request.set_max_lines(limit.value_or(0));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  std::set<std::string> trials;  // that have printed: as soon as there are two, each line says whose it is
  Output& out = context.out();
  const auto on_lines = [&](const v1::ReadLogsResponse& response) {
    for (const v1::LogLine& line : response.lines()) {
      if (out.json()) out.PrintJson(ToJson(line));
      trials.insert(line.trial_id());
      out.Print(absl::StrCat("[", trials.size() > 1 ? line.trial_id() + " " : "", line.rank(), "] ",
                             Printable(line.text()), "\n"));
    }
  };
  URSA_RETURN_IF_ERROR(client->ReadLogs(std::move(request), on_lines));
  return kExitDone;
}

absl::StatusOr<int> Change(Context& context, absl::StatusOr<v1::Experiment> (Client::*change)(const std::string&)) {
  URSA_ASSIGN_OR_RETURN(const std::string name, ExperimentName(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::Experiment experiment, (client->*change)(name));
  context.out().PrintJson(ExperimentJson(experiment));
  context.out().Print(absl::StrCat(experiment.experiment_id(), " ", StateWord(experiment.state()), "\n"));
  return kExitDone;
}

absl::StatusOr<int> Cancel(Context& context) { return Change(context, &Client::CancelExperiment); }
absl::StatusOr<int> Pause(Context& context) { return Change(context, &Client::PauseExperiment); }
absl::StatusOr<int> Resume(Context& context) { return Change(context, &Client::ResumeExperiment); }

absl::StatusOr<int> Set(Context& context) {
  v1::UpdateExperimentRequest request;
  URSA_ASSIGN_OR_RETURN(*request.mutable_name(), ExperimentName(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> priority, context.args().GetInt("priority", 1, 99));
  if (priority.has_value()) request.set_priority(static_cast<int32_t>(*priority));
  if (context.args().Has("pool")) request.set_pool(context.args().GetOr("pool", ""));
  if (!request.has_priority() && !request.has_pool()) {
    return absl::InvalidArgumentError("nothing to set (hint: --priority P, --pool Q)");
  }
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::Experiment experiment, client->UpdateExperiment(std::move(request)));
  const v1::ResourcesSpec& resources = experiment.spec().resources();
  context.out().PrintJson(ExperimentJson(experiment));
  context.out().Print(absl::StrCat(experiment.experiment_id(), " ", StateWord(experiment.state()), ": priority ",
                                   resources.priority(), ", pool ", Printable(resources.pool()), "\n"));
  return kExitDone;
}

std::vector<Command> LookCommands() {
  return {
      {"experiment",
       "create",
       {{"RECIPE", Arity::kOne, /*is_path=*/true}},
       {{"set", "PATH=VALUE", "replace one field of the recipe; quotes around text are optional", /*repeated=*/true},
        {"follow", "", "stay until it has ended, with a live table"},
        {"paused", "", "queue it only when it is resumed"}},
       "submit a training job",
       "RECIPE is a textproto file (experiments/recipes/). With --follow the exit status is 1 if it does not complete.",
       "ursa experiment create bears.textproto --set train.fine_tune.epochs=1 --follow",
       true,
       &Create},
      PreviewSearchCommand(),
      {"experiment", "list", {}, {}, "all experiments, newest first", "", "ursa experiment list", true, &List},
      {"experiment",
       "show",
       {{"ID"}},
       {},
       "state, progress, checkpoints and resolved recipe",
       "",
       "ursa experiment show e17",
       true,
       &Show},
      {"experiment",
       "metrics",
       {{"ID"}},
       {{"metric", "NAME", "only this one"},
        {"trial", "T", "of this trial of a search; default: the first"},
        {"points", "N", "at most so many of each metric, each the mean of its neighbourhood; default: every point"}},
       "the points of every metric",
       "With --points each row also has the least and the most of the points that it stands for, and how many they "
       "are.",
       "ursa experiment metrics e17 --metric valid_loss --points 1000",
       true,
       &Metrics},
      {"experiment",
       "logs",
       {{"ID"}},
       {{"follow", "", "stay until it has ended"},
        {"rank", "R", "only this rank's"},
        {"trial", "T", "only this trial's"},
        {"grep", "PATTERN", "only lines in which this is found: RE2 syntax, (?i) in front for any case"},
        {"limit", "N", "end after so many lines"}},
       "what its ranks printed",
       "What is missing is said where it is missing. With --json one object a line.",
       "ursa experiment logs e17 --rank 0 --grep 'nan|inf' --limit 10",
       true,
       &Logs},
  };
}

std::vector<Command> ChangeCommands() {
  return {
      {"experiment",
       "cancel",
       {{"ID"}},
       {},
       "end it without a result; its checkpoints stay",
       "",
       "ursa experiment cancel e17",
       true,
       &Cancel},
      {"experiment",
       "pause",
       {{"ID"}},
       {},
       "checkpoint it and give its slots back",
       "",
       "ursa experiment pause e17",
       true,
       &Pause},
      {"experiment",
       "resume",
       {{"ID"}},
       {},
       "queue a paused one again",
       "",
       "ursa experiment resume e17",
       true,
       &Resume},
      {"experiment",
       "set",
       {{"ID"}},
       {{"priority", "P", "1 to 99, higher runs first"}, {"pool", "Q", "workers that it runs on"}},
       "change its priority or its pool, while it waits or runs",
       "In another pool it checkpoints, and waits there with its old place in the queue.",
       "ursa experiment set e17 --priority 90",
       true,
       &Set},
  };
}

}  // namespace

std::vector<Command> ExperimentCommands() {
  std::vector<Command> commands = LookCommands();
  for (Command& command : ChangeCommands()) commands.push_back(std::move(command));
  return commands;
}

}  // namespace ursa::cli
