// ursa up, ursa down, ursa status.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/local_cluster.h"
#include "client/cli/proto_json.h"
#include "client/cli/text.h"

namespace ursa::cli {
namespace {

std::string PidOf(const UpResult& result, const std::string& program) {
  for (const DaemonProcess& daemon : result.daemons) {
    if (daemon.program == program) return absl::StrCat(daemon.pid);
  }
  return "-";
}

void PrintUp(const UpOptions& options, const UpResult& result, bool detached, Output* out) {
  Json pids = Json::Array();
  for (const DaemonProcess& daemon : result.daemons) pids.Append(daemon.pid);
  out->PrintJson(
      Json::Object().Set("server", result.server).Set("token_file", result.token_file).Set("pids", std::move(pids)));
  std::string slots, kind;
  for (const DaemonProcess& daemon : result.daemons) {
    slots = daemon.Flag("slots").value_or(slots);
    kind = daemon.Flag("kind").value_or(kind);
  }
  out->Print(absl::StrCat(
      "Ursa ", result.started.empty() ? "already runs" : "runs", " in ", options.dir, "\n", "  coordinator  ",
      result.server, " (process ", PidOf(result, kCoordinatorProgram), ")\n", "  worker       ", slots, " ", kind, " ",
      slots == "1" ? "slot" : "slots", " (process ", PidOf(result, kWorkerProgram), ")\n",
      result.note.empty() ? "" : absl::StrCat("  note         ", result.note, "\n"), "  logs         ", options.dir,
      "/log\n", detached ? "Next:\n" : "Next, in another terminal:\n", "  set -a; . ", options.dir,
      "/client.env; set +a\n", "  ursa dataset import NAME FOLDER\n"));
  if (detached) {
    out->Print(absl::StrCat("  ursa down --dir ", options.dir, "\n"));
  } else {
    out->Print("Ctrl-C stops everything; running jobs are checkpointed.\n");
  }
}

DownOptions DownFor(const std::string& dir) {
  DownOptions down;
  down.dir = dir;
  return down;
}

// Stays until a signal comes or a daemon ends, then stops what is left.
absl::StatusOr<int> StayInForeground(const UpOptions& options, const UpResult& result, SignalWaiter* signals,
                                     Output* out) {
  absl::Status problem;
  bool stopped = false;
  while (!stopped && signals->Wait(absl::Milliseconds(500)) == 0) {
    for (const DaemonProcess& daemon : result.daemons) {
      int exit_status = 0;
      if (IsRunning(daemon.pid, &exit_status)) continue;
      stopped = true;  // in good order when `ursa down` asked for it
      if (exit_status != 0)
        problem = absl::InternalError(
            absl::StrCat(daemon.program, ": ended, ", DescribeExit(exit_status), " (hint: ", options.dir, "/log)"));
    }
  }
  out->Print("\n");
  const auto on_step = [out](const std::string& step) { out->Print(step + "\n"); };
  URSA_RETURN_IF_ERROR(BringDown(DownFor(options.dir), on_step).status());
  URSA_RETURN_IF_ERROR(problem);
  out->Print("stopped\n");
  return kExitDone;
}

absl::StatusOr<int> Up(Context& context) {
  SignalWaiter signals;  // before gRPC starts its threads
  UpOptions options;
  URSA_ASSIGN_OR_RETURN(options.dir, AbsoluteFolder(*context.args().Get("dir")));
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> port, context.args().GetInt("port", 0, 65535));
  URSA_ASSIGN_OR_RETURN(const std::optional<int64_t> slots, context.args().GetInt("slots", 1, 1024));
  options.port = static_cast<int>(port.value_or(0));
  if (slots.has_value()) options.slots = static_cast<int>(*slots);
  options.kind = context.args().Get("kind");
  options.ursa_bin = context.Env("URSA_BIN");
  const bool detach = context.args().Has("detach");
  std::string log_tail;
  context.out().SetStatusLine("starting ...");
  const absl::StatusOr<UpResult> result = BringUp(options, &signals, &log_tail);
  context.out().SetStatusLine("");
  if (!result.ok()) {
    while (!log_tail.empty() && log_tail.back() == '\n') log_tail.pop_back();
    if (!log_tail.empty()) context.out().Warn(log_tail);
    return result.status();
  }
  PrintUp(options, *result, detach, &context.out());
  if (detach) return kExitDone;
  return StayInForeground(options, *result, &signals, &context.out());
}

absl::StatusOr<int> Down(Context& context) {
  URSA_ASSIGN_OR_RETURN(const std::string dir, AbsoluteFolder(*context.args().Get("dir")));
  Output& out = context.out();
  URSA_ASSIGN_OR_RETURN(const int num_ended,
                        BringDown(DownFor(dir), [&out](const std::string& step) { out.SetStatusLine(step + " ..."); }));
  // An `ursa up` in the foreground sees its daemons end and leaves by itself.
  WaitUntilGone(FindForegroundUps(dir), absl::Seconds(10));
  out.PrintJson(Json::Object().Set("processes_ended", num_ended));
  out.Print(num_ended == 0 ? absl::StrCat("nothing runs in ", dir, "\n")
                           : absl::StrCat("stopped, ", Plural(num_ended, "process has", "processes have"), " ended\n"));
  return kExitDone;
}

absl::StatusOr<int> ShowStatus(Context& context) {
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::Status status, client->GetStatus());
  context.out().PrintJson(ToJson(status));
  context.out().Print(absl::StrFormat(
      "version      %s\nworkers      %d\nslots        %d, %d free\nexperiments  %d running, %d queued\n",
      Printable(status.version()), status.workers(), status.slots_total(), status.slots_free(),
      status.experiments_running(), status.experiments_queued()));
  return kExitDone;
}

}  // namespace

std::vector<Command> ClusterCommands() {
  const Flag dir = {
      "dir", "DIR", "the data folder; it keeps everything", false, {}, /*is_path=*/true, /*required=*/true};
  return {
      {"up",
       "",
       {},
       {dir,
        {"port", "P", "port on 127.0.0.1 (default: the folder's earlier one, else any)"},
        {"slots", "N", "ranks that run at once (default: the GPUs, else 1)"},
        {"kind",
         "KIND",
         "of the slots, cpu or cuda (default: cuda if enough GPUs can be used)",
         false,
         {"cpu", "cuda"}},
        {"detach", "", "return once the worker is registered, instead of staying until Ctrl-C"}},
       "start a coordinator and a worker on this machine",
       "On a folder where something has died it starts only what is missing. Writes DIR/client.env, with the address\n"
       "and the token file for the other commands, and DIR/log.",
       "ursa up --dir ~/ursa --slots 2 --detach\nset -a; . ~/ursa/client.env; set +a\nursa status",
       /*uses_server=*/false,
       &Up},
      {"down",
       "",
       {},
       {dir},
       "checkpoint running jobs and stop all processes of a data folder",
       "",
       "ursa down --dir ~/ursa",
       /*uses_server=*/false,
       &Down},
      {"status", "", {}, {}, "health, version, workers, slots, queue", "", "ursa status --json", true, &ShowStatus},
  };
}

}  // namespace ursa::cli
