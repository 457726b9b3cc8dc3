// ursa worker ...
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/proto_json.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "experiments/resource_names.h"

namespace ursa::cli {
namespace {

std::string StateOf(const v1::Worker& worker) {
  switch (worker.state()) {
    case v1::Worker::STATE_ALIVE:
      return "ALIVE";
    case v1::Worker::STATE_DRAINED:
      return "DRAINED";
    case v1::Worker::STATE_LOST:
      return "LOST";
    case v1::Worker::STATE_SET_ASIDE:
      return "SET_ASIDE";
    default:
      return "-";
  }
}

absl::StatusOr<std::string> WorkerName(const std::string& text) {
  URSA_ASSIGN_OR_RETURN(const int64_t number, ParseIdName("workers", 'w', text));
  return IdName("workers", 'w', number);
}

absl::StatusOr<int> List(Context& context) {
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const std::vector<v1::Worker> workers, client->ListWorkers());
  Json array = Json::Array();
  Table table({"id", "state", "host", "pool", "slots", "free", "kind", "reason"});
  for (const v1::Worker& worker : workers) {
    array.Append(ToJson(worker));
    table.AddRow({worker.id(), StateOf(worker), Printable(worker.host()), Printable(worker.pool()),
                  absl::StrCat(worker.slots()), absl::StrCat(worker.free()), worker.kind(),
                  Printable(worker.reason())});
  }
  context.out().PrintJson(Json::Object().Set("workers", std::move(array)));
  context.out().Print(workers.empty() ? "no worker\n" : table.Render());
  return kExitDone;
}

absl::StatusOr<int> Change(Context& context, absl::StatusOr<v1::Worker> (Client::*change)(const std::string&)) {
  URSA_ASSIGN_OR_RETURN(const std::string name, WorkerName(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::Worker worker, (client->*change)(name));
  context.out().PrintJson(ToJson(worker));
  context.out().Print(absl::StrCat(Printable(worker.id()), " is ", StateOf(worker), "\n"));
  return kExitDone;
}

absl::StatusOr<int> Drain(Context& context) { return Change(context, &Client::DrainWorker); }
absl::StatusOr<int> Resume(Context& context) { return Change(context, &Client::ResumeWorker); }

}  // namespace

std::vector<Command> WorkerCommands() {
  return {
      {"worker", "list", {}, {}, "machines, their slots and state", "", "ursa worker list", true, &List},
      {"worker",
       "drain",
       {{"WORKER"}},
       {},
       "give a worker no new task; training there checkpoints and goes on elsewhere",
       "",
       "ursa worker drain w1",
       true,
       &Drain},
      {"worker", "resume", {{"WORKER"}}, {}, "end a drain", "", "ursa worker resume w1", true, &Resume},
  };
}

}  // namespace ursa::cli
