// ursa completion: scripts for shells, made from the command table.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/command.h"
#include "client/cli/context.h"

namespace ursa::cli {
namespace {

std::vector<std::string> Nouns() {
  std::vector<std::string> nouns;
  for (const Command& command : AllCommands()) {
    if (nouns.empty() || nouns.back() != command.noun) nouns.push_back(command.noun);
  }
  return nouns;
}

std::vector<std::string> VerbsOf(const std::string& noun) {
  std::vector<std::string> verbs;
  for (const Command& command : AllCommands()) {
    if (command.noun == noun && !command.verb.empty()) verbs.push_back(command.verb);
  }
  return verbs;
}

std::vector<Flag> FlagsOf(const Command& command) {
  std::vector<Flag> flags = command.flags;
  for (Flag& flag : CommonFlags(command)) flags.push_back(std::move(flag));
  return flags;
}

std::vector<std::string> FlagWords(const Command& command) {
  std::vector<std::string> words;
  for (const Flag& flag : FlagsOf(command)) words.push_back("--" + flag.name);
  return words;
}

std::vector<std::string> ArgumentChoices(const Command& command) {
  return command.arguments.empty() ? std::vector<std::string>() : command.arguments[0].choices;
}

// "dataset_import" or "up", as a case label of the bash and zsh function.
std::string Key(const Command& command) {
  return command.verb.empty() ? command.noun : command.noun + " " + command.verb;
}

// One case for each command: its flags, or the choices of its argument or of the flag before; file names where nothing
// fits.
std::string BashScript() {
  std::string script =
      "# bash completion of ursa: source <(ursa completion bash)\n"
      "_ursa() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
      "  local noun=${COMP_WORDS[1]} verb=${COMP_WORDS[2]} words=\n"
      "  if ((COMP_CWORD == 1)); then\n"
      "    words=\"" +
      absl::StrJoin(Nouns(), " ") + " --help\"\n  else\n    case $noun in\n";
  for (const std::string& noun : Nouns()) {
    const std::vector<std::string> verbs = VerbsOf(noun);
    if (!verbs.empty())
      absl::StrAppend(&script, "    ", noun, ") ((COMP_CWORD == 2)) && words=\"", absl::StrJoin(verbs, " "),
                      " --help\" ;;\n");
  }
  script += "    esac\n    if [[ -z $words ]]; then\n      case \"$noun $verb\" in\n";
  for (const Command& command : AllCommands()) {
    absl::StrAppend(&script, "      \"", Key(command), "\"", command.verb.empty() ? "*" : "", ") words=\"",
                    absl::StrJoin(FlagWords(command), " "), "\"");
    const std::vector<std::string> choices = ArgumentChoices(command);
    if (!choices.empty())
      absl::StrAppend(&script, "; [[ $word == -* ]] || words=\"", absl::StrJoin(choices, " "), "\"");
    for (const Flag& flag : FlagsOf(command)) {
      if (!flag.choices.empty())
        absl::StrAppend(&script, "; [[ $before != --", flag.name, " ]] || words=\"", absl::StrJoin(flag.choices, " "),
                        "\"");
    }
    script += " ;;\n";
  }
  script +=
      "      esac\n      [[ $word == -* || -z ${words##[!-]*} ]] || words=\n    fi\n  fi\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
      "}\n"
      "complete -o default -F _ursa ursa\n";
  return script;
}

std::string ZshScript() {
  return "#compdef ursa\n# zsh completion of ursa: source <(ursa completion zsh)\n"
         "autoload -U +X bashcompinit && bashcompinit\n" +
         BashScript();
}

std::string FishQuoted(const std::string& text) {
  return "'" + absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}) + "'";
}

std::string FishScript() {
  std::string script = "# fish completion of ursa: ursa completion fish | source\n";
  for (const std::string& noun : Nouns()) {
    absl::StrAppend(&script, "complete -c ursa -n __fish_use_subcommand -f -a ", noun, "\n");
    const std::vector<std::string> verbs = VerbsOf(noun);
    if (!verbs.empty())
      absl::StrAppend(&script, "complete -c ursa -n '__fish_seen_subcommand_from ", noun,
                      "; and not __fish_seen_subcommand_from ", absl::StrJoin(verbs, " "), "' -f -a '",
                      absl::StrJoin(verbs, " "), "'\n");
  }
  for (const Command& command : AllCommands()) {
    const std::string seen =
        absl::StrCat("'__fish_seen_subcommand_from ", command.noun,
                     command.verb.empty() ? "" : absl::StrCat("; and __fish_seen_subcommand_from ", command.verb), "'");
    for (const Flag& flag : FlagsOf(command)) {
      absl::StrAppend(&script, "complete -c ursa -n ", seen, " -l ", flag.name);
      if (!flag.value_name.empty()) script += flag.is_path ? " -r" : " -x";
      if (!flag.choices.empty()) absl::StrAppend(&script, " -a '", absl::StrJoin(flag.choices, " "), "'");
      absl::StrAppend(&script, " -d ", FishQuoted(flag.help), "\n");
    }
    const std::vector<std::string> choices = ArgumentChoices(command);
    if (!choices.empty())
      absl::StrAppend(&script, "complete -c ursa -n ", seen, " -f -a '", absl::StrJoin(choices, " "), "'\n");
  }
  return script;
}

absl::StatusOr<int> Print(Context& context) {
  const std::string& shell = context.arg(0);
  const std::string script = shell == "bash" ? BashScript() : shell == "zsh" ? ZshScript() : FishScript();
  context.out().PrintJson(Json::Object().Set("shell", shell).Set("script", script));
  context.out().Print(script);
  return kExitDone;
}

}  // namespace

std::vector<Command> CompletionCommands() {
  return {{"completion",
           "",
           {{"SHELL", Arity::kOne, false, {"bash", "zsh", "fish"}}},
           {},
           "print a completion script for bash, zsh or fish",
           "",
           "source <(ursa completion bash)",
           /*uses_server=*/false,
           &Print}};
}

}  // namespace ursa::cli
