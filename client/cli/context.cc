#include "client/cli/context.h"

#include <unistd.h>

#include <algorithm>

#include "base/status_macros.h"
#include "client/cli/text.h"

namespace ursa::cli {

std::string Context::Env(const char* name) const {
  const char* value = getenv_(name);
  return value == nullptr ? "" : value;
}

absl::StatusOr<Client*> Context::Connect() {
  if (client_ == nullptr) {
    URSA_ASSIGN_OR_RETURN(const ClientOptions options,
                          ResolveClientOptions({args_.GetOr("server", ""), args_.GetOr("token-file", "")}, getenv_));
    URSA_ASSIGN_OR_RETURN(client_, Client::Create(options));
  }
  return client_.get();
}

int ExitStatusOf(const absl::Status& status) {
  if (status.ok()) return kExitDone;
  if (IsUnreachable(status)) return kExitUnreachable;
  return absl::IsInvalidArgument(status) ? kExitUsage : kExitFailed;
}

namespace {

std::string ErrorLine(const absl::Status& status) {
  const std::string text(status.message());
  if (text.empty()) return "error: " + absl::StatusCodeToString(status.code());
  return "error: " + Printable(text);
}

}  // namespace

int RunCommandLine(const std::vector<std::string>& words, const Context::GetEnv& getenv, std::FILE* out,
                   std::FILE* err) {
  // Errors of parsing come before it is known whether --json was given: they go to the error stream either way.
  Output plain(out, err, /*json=*/false, /*out_is_terminal=*/false, /*err_is_terminal=*/false);
  absl::StatusOr<ParsedArgs> args = ParseArgs(AllCommands(), words);
  if (!args.ok()) {
    plain.Warn(ErrorLine(args.status()));
    return ExitStatusOf(args.status());
  }
  if (args->help) {
    plain.PrintAlways(args->command != nullptr   ? CommandHelp(*args->command)
                      : !args->help_noun.empty() ? NounHelp(AllCommands(), args->help_noun)
                                                 : GeneralHelp(AllCommands()));
    return plain.Flush() ? kExitDone : kExitFailed;
  }
  const Command& command = *args->command;
  Output output(out, err, args->Has("json"), isatty(fileno(out)) == 1, isatty(fileno(err)) == 1);
  Context context(*std::move(args), &output, getenv);
  absl::StatusOr<int> status = command.run(context);
  int exit_status = status.ok() ? *status : ExitStatusOf(status.status());
  if (!status.ok()) output.Warn(ErrorLine(status.status()));
  if (!output.Flush()) {
    output.Warn("error: output: could not be written");
    exit_status = std::max(exit_status, kExitFailed);
  }
  return exit_status;
}

}  // namespace ursa::cli
