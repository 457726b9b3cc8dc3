// ursa worker ...
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/digest.h"
#include "base/status_macros.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/proto_json.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "experiments/labels.h"
#include "experiments/resource_names.h"

namespace ursa::cli {
namespace {

constexpr size_t kTokenBytes = 32;
constexpr char kValidDefault[] = "1h";

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
  Table table({"id", "state", "name", "pool", "labels", "slots", "free", "kind", "reason"});
  for (const v1::Worker& worker : workers) {
    array.Append(ToJson(worker));
    table.AddRow({worker.id(), StateOf(worker), Printable(worker.display_name()), Printable(worker.pool()),
                  Printable(absl::StrJoin(LabelTexts(worker.labels()), " ")), absl::StrCat(worker.slots()),
                  absl::StrCat(worker.free()), worker.kind(), Printable(worker.reason())});
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

absl::StatusOr<int> Invite(Context& context) {
  v1::InviteWorkerRequest request;
  const std::string valid_text = context.args().GetOr("valid", kValidDefault);
  absl::Duration valid;
  if (!absl::ParseDuration(valid_text, &valid)) {
    return absl::InvalidArgumentError(
        absl::StrCat("flag --valid: \"", valid_text, "\" is no duration (hint: 90m, 24h)"));
  }
  request.set_valid_seconds(absl::ToInt64Seconds(valid));
  request.set_pool(context.args().GetOr("pool", ""));
  if (!request.pool().empty()) URSA_RETURN_IF_ERROR(CheckName("pool", request.pool()));
  for (const std::string& text : context.args().All("label")) {
    URSA_ASSIGN_OR_RETURN(*request.add_labels(), ParseLabel(text));
  }
  URSA_RETURN_IF_ERROR(CheckLabels(request.labels()));
  // Drawn here: the server gets no more than its hash, and nobody but who reads this output has it.
  const std::string token = RandomHex(kTokenBytes);
  request.set_token_hash(Sha256Hex(token));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::WorkerInvite invite, client->InviteWorker(request));
  context.out().PrintJson(ToJson(invite).Set("join_token", token));
  context.out().Print(absl::StrCat(
      token, "\n\nGood for one worker, until ", LocalTimeText(absl::FromUnixSeconds(invite.expire_time().seconds())),
      ". It is shown this once. On the machine, with the token in a file:\n  ursa-worker --dir DIR --server SERVER "
      "--join_token_file FILE\n"));
  return kExitDone;
}

absl::StatusOr<int> ListInvitations(Context& context) {
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(std::vector<v1::WorkerInvite> invites, client->ListWorkerInvites());
  // They come in the order of their ids as text.
  std::sort(invites.begin(), invites.end(), [](const v1::WorkerInvite& a, const v1::WorkerInvite& b) {
    return std::make_pair(a.id().size(), a.id()) < std::make_pair(b.id().size(), b.id());
  });
  const auto time_text = [](const google::protobuf::Timestamp& time) {
    return LocalTimeText(absl::FromUnixSeconds(time.seconds()));
  };
  Json array = Json::Array();
  Table table({"id", "pool", "labels", "made", "good until", "used by"});
  for (const v1::WorkerInvite& invite : invites) {
    array.Append(ToJson(invite));
    table.AddRow({Printable(invite.id()), Printable(invite.pool()),
                  Printable(absl::StrJoin(LabelTexts(invite.labels()), " ")), time_text(invite.create_time()),
                  time_text(invite.expire_time()), Printable(invite.worker_id())});
  }
  context.out().PrintJson(Json::Object().Set("invitations", std::move(array)));
  context.out().Print(invites.empty() ? "no invitation\n" : table.Render());
  return kExitDone;
}

absl::StatusOr<int> Revoke(Context& context) {
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::WorkerInvite invite, client->RevokeWorkerInvite(context.arg(0)));
  context.out().PrintJson(ToJson(invite));
  context.out().Print(absl::StrCat(Printable(invite.id()), " is revoked: nobody can join with its token\n"));
  return kExitDone;
}

absl::StatusOr<int> Remove(Context& context) {
  URSA_ASSIGN_OR_RETURN(const std::string name, WorkerName(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::Worker worker, client->RemoveWorker(name));
  context.out().PrintJson(ToJson(worker));
  context.out().Print(
      absl::StrCat(Printable(worker.id()), " is removed", worker.joined() ? ", its credential revoked" : "", "\n"));
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
      {"worker",
       "invite",
       {},
       {{"pool", "P", "whose queue its slots will serve (default: as it says)"},
        {"label", "NAME=VALUE", "that it will have, beside its own", /*repeated=*/true},
        {"valid", "TIME", "1m to 720h (default 1h)"}},
       "make a token with which one machine may join as a worker, once",
       "The token is printed this once; the server keeps its hash.",
       "ursa worker invite --pool gpu --label gpu=h100 --valid 24h",
       true,
       &Invite},
      {"worker",
       "invitations",
       {},
       {},
       "those that are open, and those that were used of late",
       "No token is shown: the server does not know it.",
       "ursa worker invitations",
       true,
       &ListInvitations},
      {"worker",
       "revoke",
       {{"INVITATION"}},
       {},
       "take an open invitation back",
       "From a used one its worker has a credential of its own, which ursa worker remove revokes.",
       "ursa worker revoke invite-7",
       true,
       &Revoke},
      {"worker",
       "remove",
       {{"WORKER"}},
       {},
       "forget a worker and revoke its credential; what runs there goes on elsewhere",
       "",
       "ursa worker remove w3",
       true,
       &Remove},
  };
}

}  // namespace ursa::cli
