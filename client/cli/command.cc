#include "client/cli/command.h"

#include <algorithm>

#include "client/cli/text.h"

namespace ursa::cli {
namespace {

std::string FlagUsage(const Flag& flag) {
  return flag.value_name.empty() ? "--" + flag.name : "--" + flag.name + " " + flag.value_name;
}

std::string Words(const Command& command) {
  return command.verb.empty() ? command.noun : command.noun + " " + command.verb;
}

void AppendColumns(const std::vector<std::pair<std::string, std::string>>& lines, std::string* out) {
  size_t width = 0;
  for (const auto& [left, right] : lines) width = std::max(width, DisplayWidth(left));
  for (const auto& [left, right] : lines)
    *out += "  " + left + std::string(width - DisplayWidth(left) + 2, ' ') + right + "\n";
}

std::vector<std::pair<std::string, std::string>> FlagLines(const std::vector<Flag>& flags) {
  std::vector<std::pair<std::string, std::string>> lines;
  lines.reserve(flags.size());
  for (const Flag& flag : flags) lines.emplace_back(FlagUsage(flag), flag.help);
  return lines;
}

}  // namespace

const std::vector<Command>& AllCommands() {
  static const auto* const kCommands = [] {
    auto* all = new std::vector<Command>();
    for (auto* const commands :
         {&ClusterCommands, &DatasetCommands, &ExperimentCommands, &QueueCommands, &ModelCommands, &EvaluateCommands,
          &CompareCommands, &PredictCommands, &WorkerCommands, &SlurmCommands, &AuditCommands, &CompletionCommands}) {
      for (Command& command : (*commands)()) all->push_back(std::move(command));
    }
    return all;
  }();
  return *kCommands;
}

std::vector<Flag> CommonFlags(const Command& command) {
  std::vector<Flag> flags = {{"json", "", "print JSON for scripts instead of text for people"}};
  if (command.uses_server) {
    flags.push_back(
        {"server", "HOST:PORT",
         "the coordinator (default: $URSA_SERVER); https://HOST:PORT for TLS, with the roots in $URSA_TLS_ROOTS"});
    flags.push_back({"token-file", "FILE", "file with the access token (default: $URSA_TOKEN_FILE)",
                     /*repeated=*/false, /*choices=*/{}, /*is_path=*/true});
  }
  flags.push_back({"help", "", "show this"});
  return flags;
}

std::string UsageLine(const Command& command) {
  std::string line = "ursa " + Words(command);
  for (const Argument& argument : command.arguments) {
    switch (argument.arity) {
      case Arity::kOne:
        line += " " + argument.name;
        break;
      case Arity::kOptional:
        line += " [" + argument.name + "]";
        break;
      case Arity::kOneOrMore:
        line += " " + argument.name + "...";
        break;
    }
  }
  for (const Flag& flag : command.flags)
    line += (flag.required ? " " + FlagUsage(flag) : " [" + FlagUsage(flag) + "]") + (flag.repeated ? "..." : "");
  return line;
}

std::string CommandHelp(const Command& command) {
  std::string text = command.summary + "\n\nusage: " + UsageLine(command) + "\n";
  if (!command.details.empty()) text += "\n" + command.details + "\n";
  std::vector<Flag> flags = command.flags;
  for (Flag& flag : CommonFlags(command)) flags.push_back(std::move(flag));
  text += "\nflags:\n";
  AppendColumns(FlagLines(flags), &text);
  text += "\nexample:\n";
  std::string_view example = command.example;
  while (!example.empty()) {
    const size_t end = std::min(example.find('\n'), example.size());
    text.append("  ").append(example.substr(0, end)).append("\n");
    example.remove_prefix(std::min(end + 1, example.size()));
  }
  return text;
}

std::string GeneralHelp(const std::vector<Command>& commands) {
  std::string text =
      "ursa: labelled data in, a model promoted on evidence out\n\n"
      "usage: ursa COMMAND [ARGUMENTS] [--json] [--server HOST:PORT] [--token-file FILE]\n\n";
  std::vector<std::pair<std::string, std::string>> lines;
  lines.reserve(commands.size());
  for (const Command& command : commands) lines.emplace_back(Words(command), command.summary);
  AppendColumns(lines, &text);
  text +=
      "\nNAME is the latest version of a dataset or model, NAME@3 version 3, NAME:champion the version of an alias.\n"
      "`ursa COMMAND --help` tells more, with an example. `ursa NOUN` alone lists.\n"
      "Exit status: 0 done, 1 failed or refused, 2 wrong usage, 3 a gate said fail, 4 a gate said need more data,\n"
      "5 the server cannot be reached.\n";
  return text;
}

std::string NounHelp(const std::vector<Command>& commands, std::string_view noun) {
  std::string text;
  std::vector<std::pair<std::string, std::string>> lines;
  for (const Command& command : commands) {
    if (command.noun == noun) lines.emplace_back(UsageLine(command), command.summary);
  }
  AppendColumns(lines, &text);
  return text;
}

}  // namespace ursa::cli
