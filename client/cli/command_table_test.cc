// Holds the list of commands and flags: scripts and people rely on it. A change here is a change of the interface.
#include <gtest/gtest.h>

#include "client/cli/command.h"
#include "client/cli/context.h"

namespace ursa::cli {
namespace {

TEST(CommandTableTest, CommandsAndFlags) {
  const std::vector<std::string> expected = {
      "ursa up --dir DIR [--port P] [--slots N] [--kind KIND] [--detach]",
      "ursa down --dir DIR",
      "ursa status",
      "ursa dataset import NAME SOURCE [--labels RULE] [--split RULE]",
      "ursa dataset list",
      "ursa dataset show NAME[@V]",
      "ursa dataset examples NAME[@V] [--split SPLIT] [--label LABEL] [--limit N]",
      "ursa experiment create RECIPE [--set PATH=VALUE]... [--follow] [--paused]",
      "ursa experiment preview-search RECIPE [--set PATH=VALUE]...",
      "ursa experiment list",
      "ursa experiment show ID",
      "ursa experiment metrics ID [--metric NAME] [--trial T] [--points N]",
      "ursa experiment logs ID [--follow] [--rank R] [--trial T] [--grep PATTERN] [--limit N]",
      "ursa experiment cancel ID",
      "ursa experiment pause ID",
      "ursa experiment resume ID",
      "ursa experiment set ID [--priority P] [--pool Q]",
      "ursa experiment why ID",
      "ursa queue [--limit N]",
      "ursa model register NAME --experiment ID [--checkpoint WHICH]",
      "ursa model list",
      "ursa model show NAME[@V]",
      "ursa model history NAME",
      "ursa model promote NAME@V [--expect-champion N] [--comparison ID] [--force] [--why TEXT]",
      "ursa model rollback NAME [--why TEXT]",
      "ursa model set-gates NAME FILE",
      "ursa model gates NAME",
      "ursa evaluate MODEL DATASET [--split SPLIT]",
      "ursa compare CANDIDATE BASELINE DATASET [--split SPLIT] [--gates FILE]",
      "ursa predict MODEL FILE...",
      "ursa worker list",
      "ursa worker drain WORKER",
      "ursa worker resume WORKER",
      "ursa worker invite [--pool P] [--label NAME=VALUE]... [--valid TIME]",
      "ursa worker invitations",
      "ursa worker revoke INVITATION",
      "ursa worker remove WORKER",
      "ursa cluster slurm --jobs-max M --worker-token-file FILE [--pool POOL] [--slots-per-job N] [--kind KIND] "
      "[--idle TIME] [--partition NAME] [--account NAME] [--sbatch ARGUMENT]... [--fabric IFACE] [--ca-file FILE] "
      "[--log-dir DIR] [--once] [--dry-run]",
      "ursa audit verify",
      "ursa completion SHELL",
  };
  std::vector<std::string> usages;
  for (const Command& command : AllCommands()) usages.push_back(UsageLine(command));
  EXPECT_EQ(usages, expected);
}

TEST(CommandTableTest, EveryCommandIsWholeAndItsExampleIsItsOwn) {
  for (const Command& command : AllCommands()) {
    const std::string words = command.verb.empty() ? command.noun : command.noun + " " + command.verb;
    EXPECT_NE(command.run, nullptr) << words;
    EXPECT_FALSE(command.summary.empty()) << words;
    EXPECT_NE(command.summary.back(), '.') << words;
    EXPECT_NE(command.example.find("ursa " + words), std::string::npos) << words;
  }
}

// Runs a command line without a server. Returns the exit status; `out` gets both streams.
int RunUrsa(const std::vector<std::string>& words, std::string* out) {
  std::FILE* file = std::tmpfile();
  const int status = RunCommandLine(
      words, [](const char*) -> const char* { return nullptr; }, file, file);
  std::rewind(file);
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) out->push_back(static_cast<char>(c));
  std::fclose(file);
  return status;
}

TEST(CommandTableTest, WrongUsageExitsTwoAndSaysWhy) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"modle", "list"}, "did you mean \"model\""},
      {{"status", "--jsno"}, "did you mean \"--json\""},
      {{"status"}, "URSA_SERVER"},
      {{"up"}, "--dir"},
      {{"up", "--dir", "/tmp/x", "--port", "99999"}, "65535"},
      {{"dataset", "import", "Bears", "/tmp"}, "Bears"},
      {{"dataset", "import", "bears", "/tmp", "--labels", "child"}, "regex:PATTERN"},
      {{"dataset", "import", "bears", "/tmp", "--labels", "regex:(["}, "pattern"},
      {{"dataset", "import", "bears", "/tmp", "--split", "random:2"}, "2"},
      {{"dataset", "import", "bears", "/tmp", "--split", "column:x"}, "no columns"},
      {{"model", "promote", "bears@x"}, "bears@x"},
      {{"model", "promote", "bears@2", "--force"}, "--why"},
      {{"experiment", "show", "17"}, "17"},
      {{"experiment", "set", "e1"}, "--priority"},
      {{"experiment", "set", "e1", "--priority", "100"}, "99"},
      {{"experiment", "create", "/proc/self/comm", "--follow", "--paused"}, "--paused"},
      {{"experiment", "logs", "e1", "--rank", "-1"}, "--rank"},
      {{"experiment", "logs", "e1", "--limit", "0"}, "--limit"},
      {{"experiment", "metrics", "e1", "--points", "0"}, "--points"},
      {{"experiment", "preview-search", "/proc/self/comm"}, "/proc/self/comm:1:"},
      {{"model", "register", "bears"}, "--experiment"},
      {{"evaluate", "bears", "bears", "--split", "all"}, "train, valid, test"},
      {{"worker", "invite", "--valid", "soon"}, "no duration"},
      {{"worker", "invite", "--label", "gpu"}, "NAME=VALUE"},
      {{"worker", "invite", "--label", "a=1", "--label", "a=2"}, "there twice"},
      {{"cluster", "slurm", "--jobs-max", "2"}, "--worker-token-file"},
      {{"cluster", "slurm", "--jobs-max", "10001", "--worker-token-file", "/proc/self/comm"}, "10000"},
      {{"cluster", "slurm", "--jobs-max", "2", "--worker-token-file", "/nowhere"}, "\"/nowhere\" cannot be read"},
      {{"status", "--server", "10.0.0.1:5", "--token-file", "/proc/self/comm"}, "https://10.0.0.1:5"},
  };
  for (const auto& [words, expected] : cases) {
    std::string out;
    EXPECT_EQ(RunUrsa(words, &out), kExitUsage) << out;
    EXPECT_EQ(out.substr(0, 7), "error: ") << out;
    EXPECT_NE(out.find(expected), std::string::npos) << out;
  }
}

TEST(CommandTableTest, AnUnreachableServerExitsFive) {
  std::string out;
  EXPECT_EQ(RunUrsa({"status", "--server", "127.0.0.1:1", "--token-file", "/proc/self/comm"}, &out), kExitUnreachable);
  EXPECT_NE(out.find("error: server 127.0.0.1:1: cannot be reached"), std::string::npos) << out;
}

TEST(CommandTableTest, ASearchIsPreviewedWithoutAServer) {
  const std::string path = ::testing::TempDir() + "/search.textproto";
  std::FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fputs(R"(
    name: "x"
    dataset: "bears"
    model { architecture: "resnet18" }
    data { item_transforms { resize { size: 64 } } }
    train { fine_tune { epochs: 3 } }
    searcher { adaptive_asha { metric: "error_rate" smaller_is_better: true max_trials: 6 max_epochs: 4 } }
    hyperparameters { name: "train.fine_tune.base_lr" log { low: 1e-4 high: 1e-1 } }
  )",
             file);
  std::fclose(file);
  std::string json;
  EXPECT_EQ(RunUrsa({"experiment", "preview-search", path, "--json"}, &json), kExitDone);
  for (
      const char* part :
      {R"("trials": 6, "max_concurrent_trials": null, "brackets": [{"trials": 4, "rungs": [{"epochs": 1, "trials": 4}, )",
       R"({"epochs": 4, "trials": 1}]}, {"trials": 2, "rungs": [{"epochs": 4, "trials": 2}]}], )",
       R"("total_epochs": 15, "total_epochs_max": 24, "samples": [{"trial": 1, "hyperparameters": )",
       R"({"train.fine_tune.base_lr": "0.00)"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part << "\n" << json;
  }
  std::string text;
  EXPECT_EQ(RunUrsa({"experiment", "preview-search", path, "--set", "searcher.adaptive_asha.max_trials=12"}, &text),
            kExitDone);
  EXPECT_EQ(
      text.rfind("adaptive_asha: 12 trials, as many as fit the cluster at once, judged by error_rate (smaller is", 0),
      0u)
      << text;
}

TEST(CommandTableTest, HelpAndCompletionNeedNoServer) {
  for (const auto& words : std::vector<std::vector<std::string>>{{"--help"},
                                                                 {"dataset", "import", "--help"},
                                                                 {"model", "--help"},
                                                                 {"completion", "bash"},
                                                                 {"completion", "fish"}}) {
    std::string out;
    EXPECT_EQ(RunUrsa(words, &out), kExitDone);
    EXPECT_NE(out.find("ursa"), std::string::npos);
  }
}

}  // namespace
}  // namespace ursa::cli
