// ursa audit ...
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/proto_json.h"
#include "client/cli/text.h"

namespace ursa::cli {
namespace {

absl::StatusOr<int> Verify(Context& context) {
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  URSA_ASSIGN_OR_RETURN(const v1::VerifyAuditResponse answer, client->VerifyAudit());
  context.out().PrintJson(ToJson(answer));
  if (!answer.ok())
    return absl::DataLossError(
        absl::StrCat("audit log: its chain of ", answer.events(), " events is broken, ", answer.reason()));
  context.out().Print(absl::StrCat("the chain of ", Plural(answer.events(), "event", "events"), " holds, head ",
                                   Printable(answer.head_hash()), "\n"));
  return kExitDone;
}

}  // namespace

std::vector<Command> AuditCommands() {
  return {{"audit", "verify", {}, {}, "walk the hash chain of the audit log", "", "ursa audit verify", true, &Verify}};
}

}  // namespace ursa::cli
