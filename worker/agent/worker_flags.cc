#include "worker/agent/worker_flags.h"

#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/net_address.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr int kSlotsMax = 1024;
constexpr size_t kNameBytesMax = 64;

absl::Status SetSlots(const std::string& text, WorkerFlags* flags) {
  if (text == "auto" || (text.empty() && flags->kind == "cuda")) {
    if (flags->kind == "cuda") return absl::OkStatus();
    return absl::InvalidArgumentError("flag \"--slots\": auto is for GPUs (hint: --kind cuda)");
  }
  int slots = 1;
  if (!text.empty() && (!absl::SimpleAtoi(text, &slots) || slots < 0 || slots > kSlotsMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("flag \"--slots\" is \"", text, "\", may be 0 to ", kSlotsMax, ", or auto for GPUs"));
  }
  flags->slots = slots;
  return absl::OkStatus();
}

absl::Status Check(const WorkerFlags& flags) {
  if (flags.dir.empty()) return absl::InvalidArgumentError("flag \"--dir\" is missing");
  ServerAddress server;
  if (!flags.server.empty()) {
    URSA_ASSIGN_OR_RETURN(server, ParseServerAddress(flags.server));
  }
  if (!flags.ca_file.empty() && !server.tls) {
    return absl::InvalidArgumentError("flag \"--ca_file\": is for TLS (hint: --server https://HOST:PORT)");
  }
  if (!flags.token_file.empty() && !flags.join_token_file.empty()) {
    return absl::InvalidArgumentError("flags \"--token_file\" and \"--join_token_file\": one of them, not both");
  }
  if (flags.kind != "cpu" && flags.kind != "cuda") {
    return absl::InvalidArgumentError(absl::StrCat("flag \"--kind\" is \"", flags.kind, "\", may be cpu or cuda"));
  }
  if (flags.name.size() > kNameBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("flag \"--name\": has ", flags.name.size(), " bytes, at most ", kNameBytesMax, " are allowed"));
  }
  return CheckLabels(flags.labels);
}

}  // namespace

const char kWorkerUsage[] =
    "usage: ursa-worker --dir DIR [FLAGS]\n"
    "Runs the tasks that a coordinator gives to this machine.\n"
    "  --dir DIR          folder of this worker's state, in DIR/worker\n"
    "  --server HOST:PORT the coordinator (default: what DIR/address says, read at each connection); "
    "https://HOST:PORT\n"
    "                     for TLS, which every address but loopback needs\n"
    "  --join_token_file FILE  one-time token of `ursa worker invite`, to join with; afterwards this worker has a\n"
    "                     credential of its own, in DIR/worker, and needs the file no more\n"
    "  --token_file FILE  the token to show instead: that of a cluster's own workers\n"
    "  --ca_file FILE     PEM certificates to trust with TLS (default: the system's)\n"
    "  --slots N          how many ranks may run at once (default 1); auto, the default for cuda: the GPUs found\n"
    "  --kind KIND        of the slots: cpu or cuda (default cpu)\n"
    "  --fabric IFACE     network interface that carries collectives (default lo)\n"
    "  --pool NAME        whose queue the slots serve (default: the pool \"default\")\n"
    "  --name NAME        shown in lists (default: the host's name)\n"
    "  --label NAME=VALUE what a recipe may ask for, as in gpu=h100; may be repeated\n"
    "The program of tasks, ursa-task, is beside this program, else in $URSA_BIN.\n"
    "Example: ursa-worker --dir ~/ursa --server https://host:7070 --join_token_file join.token --ca_file ca.pem "
    "--slots 4\n";

absl::StatusOr<WorkerFlags> ParseWorkerFlags(const std::vector<std::string>& words) {
  WorkerFlags flags;
  std::string slots;
  const std::map<std::string, std::string*> known = {
      {"dir", &flags.dir},         {"server", &flags.server}, {"token_file", &flags.token_file},
      {"ca_file", &flags.ca_file}, {"slots", &slots},         {"join_token_file", &flags.join_token_file},
      {"kind", &flags.kind},       {"fabric", &flags.fabric}, {"pool", &flags.pool},
      {"name", &flags.name}};
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const size_t equals = word.find('=');
    const std::string name =
        word.substr(0, 2) == "--" ? word.substr(2, equals == std::string::npos ? equals : equals - 2) : "";
    const auto flag = known.find(name);
    if (flag == known.end() && name != "label") {
      return absl::InvalidArgumentError(absl::StrCat("unknown flag \"", word, "\""));
    }
    std::string value;
    if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (i + 1 < words.size()) {
      value = words[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrCat("flag \"", word, "\": a value is missing"));
    }
    if (name == "label") {
      URSA_ASSIGN_OR_RETURN(*flags.labels.Add(), ParseLabel(value));
    } else {
      *flag->second = value;
    }
  }
  URSA_RETURN_IF_ERROR(Check(flags));
  URSA_RETURN_IF_ERROR(SetSlots(slots, &flags));
  return flags;
}

}  // namespace ursa
