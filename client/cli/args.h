// Turns a command line into a command of the table with its values. Nothing is ignored: what is not known is an error
// with the nearest known word as a hint.
#ifndef URSA_CLIENT_CLI_ARGS_H_
#define URSA_CLIENT_CLI_ARGS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/command.h"

namespace ursa::cli {

// A command line that fits the table. Not thread-safe.
struct ParsedArgs {
  const Command* command = nullptr;  // borrowed from the table; nullptr: general help or that of help_noun
  bool help = false;
  std::string help_noun;
  std::vector<std::string> positional;
  std::map<std::string, std::vector<std::string>> flags;  // a switch has one empty value

  bool Has(std::string_view flag) const { return flags.count(std::string(flag)) > 0; }

  // The value of a flag that was given.
  std::optional<std::string> Get(std::string_view flag) const;
  std::string GetOr(std::string_view flag, std::string_view otherwise) const;

  // All values of a repeated flag, in order.
  std::vector<std::string> All(std::string_view flag) const;

  // A whole number in [low, high], if the flag was given. Errors: INVALID_ARGUMENT naming flag, limits and value.
  absl::StatusOr<std::optional<int64_t>> GetInt(std::string_view flag, int64_t low, int64_t high) const;
};

// `words` is the command line without the program's name. `ursa NOUN` alone is `ursa NOUN list` where there is one.
// "--" ends the flags. Errors: INVALID_ARGUMENT for an unknown command or flag, a missing or surplus argument, a flag
// given twice, a value that is not among a flag's choices.
absl::StatusOr<ParsedArgs> ParseArgs(const std::vector<Command>& commands, const std::vector<std::string>& words);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_ARGS_H_
