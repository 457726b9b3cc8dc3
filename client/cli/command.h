// The command table: what users can type. Parsing, help, completion and the test that holds the list all read it.
#ifndef URSA_CLIENT_CLI_COMMAND_H_
#define URSA_CLIENT_CLI_COMMAND_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace ursa::cli {

class Context;

// A flag, "--name VALUE" or a switch.
struct Flag {
  std::string name;        // without dashes
  std::string value_name;  // "N"; empty: a switch
  std::string help;
  bool repeated = false;
  std::vector<std::string> choices = {};  // all allowed values, when they can be listed
  bool is_path = false;                   // completed with file names
  bool required = false;
};

enum class Arity { kOne, kOptional, kOneOrMore };

// A positional argument; only the last one of a command may be optional or repeated.
struct Argument {
  std::string name;  // "DATASET"
  Arity arity = Arity::kOne;
  bool is_path = false;
  std::vector<std::string> choices = {};
};

// Runs a command and returns its exit status, or an error that main() prints and turns into one.
using CommandFunction = absl::StatusOr<int> (*)(Context&);

struct Command {
  std::string noun;  // "dataset"
  std::string verb;  // "import"; empty for commands of one word
  std::vector<Argument> arguments;
  std::vector<Flag> flags;  // its own; the common ones come from CommonFlags
  std::string summary;      // one line, no full stop
  std::string details;      // further lines of --help, may be empty
  std::string example;      // of --help; a command line or more
  bool uses_server = true;  // takes --server and --token-file
  CommandFunction run = nullptr;
};

// All commands, in the order in which help shows them.
const std::vector<Command>& AllCommands();

// --json, --help, and for those that talk to a server --server and --token-file.
std::vector<Flag> CommonFlags(const Command& command);

// "ursa dataset import NAME SOURCE [--labels RULE] ...".
std::string UsageLine(const Command& command);

// The text of `ursa NOUN VERB --help`.
std::string CommandHelp(const Command& command);

// The text of `ursa --help`: all commands with their summaries.
std::string GeneralHelp(const std::vector<Command>& commands);

// The commands of one noun, as `ursa NOUN --help` and errors show them.
std::string NounHelp(const std::vector<Command>& commands, std::string_view noun);

// Commands of each noun; every file of a noun defines one of these.
std::vector<Command> ClusterCommands();
std::vector<Command> DatasetCommands();
std::vector<Command> ExperimentCommands();
std::vector<Command> QueueCommands();
std::vector<Command> ModelCommands();
std::vector<Command> EvaluateCommands();
std::vector<Command> CompareCommands();
std::vector<Command> PredictCommands();
std::vector<Command> WorkerCommands();
std::vector<Command> SlurmCommands();
std::vector<Command> AuditCommands();
std::vector<Command> CompletionCommands();

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_COMMAND_H_
