#include "client/cli/args.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "client/cli/text.h"

namespace ursa::cli {
namespace {

bool IsFlag(const std::string& word) { return word.size() > 1 && word[0] == '-' && word != "--"; }

std::string Hint(const std::string& nearest, const std::string& otherwise) {
  return nearest.empty() ? absl::StrCat(" (hint: ", otherwise, ")")
                         : absl::StrCat(" (hint: did you mean \"", nearest, "\"?)");
}

absl::Status UnknownWord(std::string_view subject, const std::string& word, const std::vector<std::string>& known,
                         const std::string& otherwise) {
  return absl::InvalidArgumentError(absl::StrCat(std::string(subject), " \"", Printable(word), "\": there is no such ",
                                                 std::string(subject), Hint(NearestWord(word, known), otherwise)));
}

// Finds the command that `words` starts with and sets `num_used` to the words that name it.
absl::StatusOr<const Command*> FindCommand(const std::vector<Command>& commands, const std::vector<std::string>& words,
                                           size_t* num_used) {
  std::vector<std::string> nouns;
  std::vector<std::string> verbs;
  const Command* list = nullptr;
  for (const Command& command : commands) {
    if (nouns.empty() || nouns.back() != command.noun) nouns.push_back(command.noun);
    if (command.noun != words[0]) continue;
    *num_used = 1;
    if (command.verb.empty()) return &command;
    *num_used = 2;
    if (words.size() > 1 && command.verb == words[1]) return &command;
    if (command.verb == "list") list = &command;
    verbs.push_back(command.verb);
  }
  if (verbs.empty()) return UnknownWord("command", words[0], nouns, "`ursa --help` lists all");
  if (words.size() > 1 && !IsFlag(words[1])) {
    const std::string subject = absl::StrCat("ursa ", words[0]);
    return absl::InvalidArgumentError(
        absl::StrCat(subject, ": \"", Printable(words[1]), "\" is no command of it",
                     Hint(NearestWord(words[1], verbs), absl::StrCat("it has ", absl::StrJoin(verbs, ", ")))));
  }
  *num_used = 1;
  if (list != nullptr) return list;
  return absl::InvalidArgumentError(
      absl::StrCat("ursa ", words[0], ": a command is missing (hint: it has ", absl::StrJoin(verbs, ", "), ")"));
}

absl::Status CheckChoice(const std::string& subject, const std::string& value,
                         const std::vector<std::string>& choices) {
  if (choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(subject, " \"", Printable(value), "\": must be one of ", absl::StrJoin(choices, ", ")));
}

// Reads the flag at words[*index] and moves *index to its last word.
absl::Status ParseFlag(const std::vector<Flag>& flags, const std::vector<std::string>& words, size_t* index,
                       ParsedArgs* parsed) {
  const std::string& word = words[*index];
  const size_t equals = word.find('=');
  const std::string given = word.substr(0, equals);
  const std::string name = given == "-h" ? "help" : given.size() > 2 && given[1] == '-' ? given.substr(2) : "";
  const auto flag = std::find_if(flags.begin(), flags.end(), [&name](const Flag& f) { return f.name == name; });
  if (flag == flags.end()) {
    std::vector<std::string> known;
    for (const Flag& f : flags) known.push_back("--" + f.name);
    return UnknownWord("flag", given, known,
                       absl::StrCat("ursa ", parsed->command->noun, parsed->command->verb.empty() ? "" : " ",
                                    parsed->command->verb, " --help"));
  }
  std::string value;
  if (flag->value_name.empty()) {
    if (equals != std::string::npos)
      return absl::InvalidArgumentError(absl::StrCat("flag \"", given, "\": it takes no value"));
  } else if (equals != std::string::npos) {
    value = word.substr(equals + 1);
  } else if (*index + 1 < words.size()) {
    value = words[++*index];
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("flag \"", given, "\": its value ", flag->value_name, " is missing"));
  }
  URSA_RETURN_IF_ERROR(CheckChoice(absl::StrCat("flag \"", given, "\":"), value, flag->choices));
  std::vector<std::string>& values = parsed->flags[name];
  if (!values.empty() && !flag->repeated)
    return absl::InvalidArgumentError(absl::StrCat("flag \"", given, "\": it was given twice"));
  values.push_back(value);
  return absl::OkStatus();
}

absl::Status CheckRequired(const ParsedArgs& parsed) {
  for (const Flag& flag : parsed.command->flags) {
    if (flag.required && !parsed.Has(flag.name))
      return absl::InvalidArgumentError(
          absl::StrCat("flag \"--", flag.name, "\": it is missing (hint: ", UsageLine(*parsed.command), ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckPositional(const Command& command, const std::vector<std::string>& given) {
  size_t at_least = 0;
  bool unlimited = false;
  for (const Argument& argument : command.arguments) {
    at_least += argument.arity == Arity::kOptional ? 0 : 1;
    unlimited = unlimited || argument.arity == Arity::kOneOrMore;
  }
  if (given.size() < at_least)
    return absl::InvalidArgumentError(absl::StrCat("argument ", command.arguments[given.size()].name,
                                                   ": it is missing (hint: ", UsageLine(command), ")"));
  if (!unlimited && given.size() > command.arguments.size())
    return absl::InvalidArgumentError(absl::StrCat("argument \"", Printable(given[command.arguments.size()]),
                                                   "\": there is one too many (hint: ", UsageLine(command), ")"));
  for (size_t i = 0; i < given.size() && i < command.arguments.size(); ++i)
    URSA_RETURN_IF_ERROR(CheckChoice(command.arguments[i].name, given[i], command.arguments[i].choices));
  return absl::OkStatus();
}

}  // namespace

std::optional<std::string> ParsedArgs::Get(std::string_view flag) const {
  const auto found = flags.find(std::string(flag));
  if (found == flags.end()) return std::nullopt;
  return found->second.back();
}

std::string ParsedArgs::GetOr(std::string_view flag, std::string_view otherwise) const {
  return Get(flag).value_or(std::string(otherwise));
}

std::vector<std::string> ParsedArgs::All(std::string_view flag) const {
  const auto found = flags.find(std::string(flag));
  return found == flags.end() ? std::vector<std::string>() : found->second;
}

absl::StatusOr<std::optional<int64_t>> ParsedArgs::GetInt(std::string_view flag, int64_t low, int64_t high) const {
  const std::optional<std::string> text = Get(flag);
  if (!text.has_value()) return std::optional<int64_t>();
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < low || value > high)
    return absl::InvalidArgumentError(absl::StrCat("flag \"--", std::string(flag), "\": must be a whole number from ",
                                                   low, " to ", high, ", is \"", Printable(*text), "\""));
  return std::optional<int64_t>(value);
}

absl::StatusOr<ParsedArgs> ParseArgs(const std::vector<Command>& commands, const std::vector<std::string>& words) {
  ParsedArgs parsed;
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    parsed.help = true;
    return parsed;
  }
  size_t index = 0;
  const bool wants_noun_help = words.size() == 2 && (words[1] == "--help" || words[1] == "-h");
  const auto is_noun = [&](const Command& c) { return c.noun == words[0] && !c.verb.empty(); };
  if (wants_noun_help && std::any_of(commands.begin(), commands.end(), is_noun)) {
    parsed.help = true;
    parsed.help_noun = words[0];
    return parsed;
  }
  URSA_ASSIGN_OR_RETURN(parsed.command, FindCommand(commands, words, &index));
  std::vector<Flag> flags = parsed.command->flags;
  for (Flag& flag : CommonFlags(*parsed.command)) flags.push_back(std::move(flag));
  bool flags_ended = false;
  for (; index < words.size(); ++index) {
    if (!flags_ended && words[index] == "--") {
      flags_ended = true;
    } else if (!flags_ended && IsFlag(words[index])) {
      URSA_RETURN_IF_ERROR(ParseFlag(flags, words, &index, &parsed));
    } else {
      parsed.positional.push_back(words[index]);
    }
  }
  parsed.help = parsed.Has("help");
  if (parsed.help) return parsed;
  URSA_RETURN_IF_ERROR(CheckPositional(*parsed.command, parsed.positional));
  URSA_RETURN_IF_ERROR(CheckRequired(parsed));
  return parsed;
}

}  // namespace ursa::cli
