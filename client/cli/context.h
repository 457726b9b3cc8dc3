// What a command runs with.
#ifndef URSA_CLIENT_CLI_CONTEXT_H_
#define URSA_CLIENT_CLI_CONTEXT_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/args.h"
#include "client/cli/output.h"
#include "client/lib/client.h"

namespace ursa::cli {

// Exit statuses, on which scripts rely: never renumber.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;        // it failed or was refused
inline constexpr int kExitUsage = 2;         // wrong usage, an unknown field or a bad value in a file
inline constexpr int kExitGateFailed = 3;    // a gate said fail
inline constexpr int kExitNeedMoreData = 4;  // a gate said need more data
inline constexpr int kExitUnreachable = 5;

// One command's arguments, output and connection. Not thread-safe; borrows the output.
class Context {
 public:
  using GetEnv = std::function<const char*(const char*)>;

  Context(ParsedArgs args, Output* out, GetEnv getenv)
      : args_(std::move(args)), out_(out), getenv_(std::move(getenv)) {}

  const ParsedArgs& args() const { return args_; }
  Output& out() { return *out_; }

  // Positional argument `index`; it must have been given.
  const std::string& arg(size_t index) const { return args_.positional[index]; }

  // The variable's value, or empty.
  std::string Env(const char* name) const;

  // The client, made at the first call. Errors: as ResolveClientOptions and Client::Create.
  absl::StatusOr<Client*> Connect();

 private:
  ParsedArgs args_;
  Output* out_;
  GetEnv getenv_;
  std::unique_ptr<Client> client_;
};

// The exit status that an error means: INVALID_ARGUMENT is wrong usage or a bad file, an unreachable server has its
// own, everything else failed or was refused.
int ExitStatusOf(const absl::Status& status);

// Runs the command line `words` (without the program's name) and returns its exit status. Errors are printed to `err`.
int RunCommandLine(const std::vector<std::string>& words, const Context::GetEnv& getenv, std::FILE* out,
                   std::FILE* err);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_CONTEXT_H_
