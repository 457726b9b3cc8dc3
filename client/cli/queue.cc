// ursa queue, ursa experiment why.
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/follow.h"
#include "client/cli/proto_json.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "experiments/resource_names.h"

namespace ursa::cli {
namespace {

constexpr int64_t kLimitMax = 1000;

absl::StatusOr<std::string> ExperimentName(const std::string& text) {
  URSA_ASSIGN_OR_RETURN(const int64_t number, ParseIdName("experiments", 'e', text));
  return IdName("experiments", 'e', number);
}

absl::StatusOr<int> Queue(Context& context) {
  v1::ListQueueRequest request;
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> limit, context.args().GetInt("limit", 1, kLimitMax));
  request.set_page_size(static_cast<int32_t>(limit.value_or(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::ListQueueResponse queue, client->ListQueue(request));
  Output& out = context.out();
  Json items = Json::Array();
  Table table({"pool", "", "trial", "priority", "slots", "by", "since", "reason"});
  for (const v1::QueueItem& item : queue.items()) {
    items.Append(ToJson(item));
    table.AddRow({Printable(item.pool()), absl::StrCat(item.position()), item.trial_id(), absl::StrCat(item.priority()),
                  absl::StrCat(item.slots()), Printable(item.user()),
                  LocalTimeText(absl::FromUnixSeconds(item.queue_time().seconds())), Printable(item.reason())});
  }
  out.PrintJson(Json::Object().Set("items", std::move(items)).Set("num_waiting", queue.num_waiting()));
  out.Print(queue.items().empty() ? "nothing waits\n" : table.Render());
  if (queue.num_waiting() > queue.items_size()) {
    out.Print(
        absl::StrCat("and ", queue.num_waiting() - queue.items_size(), " more (hint: --limit ", kLimitMax, ")\n"));
  }
  return kExitDone;
}

absl::StatusOr<int> Why(Context& context) {
  URSA_ASSIGN_OR_RETURN(const std::string name, ExperimentName(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::ExplainExperimentResponse explained, client->ExplainExperiment(name));
  Output& out = context.out();
  out.PrintJson(ToJson(explained));
  out.Print(absl::StrCat(explained.experiment_id(), " ", StateWord(explained.state()), ": ",
                         Printable(explained.reason()), "\n"));
  if (explained.trials_size() < 2) return kExitDone;
  Table table({"trial", "state", "reason"});
  for (const v1::ExplainedTrial& trial : explained.trials()) {
    table.AddRow({trial.id(), StateWord(trial.state()), Printable(trial.reason())});
  }
  out.Print(table.Render());
  return kExitDone;
}

}  // namespace

std::vector<Command> QueueCommands() {
  return {
      {"experiment", "why", {{"ID"}}, {}, "why it waits, or where it runs", "", "ursa experiment why e17", true, &Why},
      {"queue",
       "",
       {},
       {{"limit", "N", "the first N of each pool (default 100)"}},
       "what waits for slots, in the order in which it would start, and why",
       "",
       "ursa queue",
       true,
       &Queue},
  };
}

}  // namespace ursa::cli
