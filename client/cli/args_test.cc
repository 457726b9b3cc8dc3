#include "client/cli/args.h"

#include <gtest/gtest.h>

namespace ursa::cli {
namespace {

std::vector<Command> Commands() {
  return {
      {"thing", "list", {}, {}, "lists", "", "ursa thing list", true, nullptr},
      {"thing",
       "make",
       {{"NAME"}, {"WHY", Arity::kOptional}},
       {{"set", "P=V", "sets", /*repeated=*/true}, {"kind", "K", "which", false, {"a", "b"}}, {"fast", "", "faster"}},
       "makes",
       "More.",
       "ursa thing make x",
       true,
       nullptr},
      {"go", "", {{"FILE", Arity::kOneOrMore}}, {{"count", "N", "how many"}}, "goes", "", "ursa go x", false, nullptr},
      {"must",
       "",
       {},
       {{"dir", "DIR", "where", false, {}, true, /*required=*/true}},
       "needs",
       "",
       "ursa must",
       false,
       nullptr},
      {"log", "verify", {}, {}, "verifies", "", "ursa log verify", true, nullptr},
  };
}

class ArgsTest : public ::testing::Test {
 protected:
  absl::StatusOr<ParsedArgs> Parse(const std::vector<std::string>& words) { return ParseArgs(commands_, words); }
  std::string ErrorOf(const std::vector<std::string>& words) {
    const absl::StatusOr<ParsedArgs> parsed = Parse(words);
    if (parsed.ok()) return "(no error)";
    EXPECT_TRUE(absl::IsInvalidArgument(parsed.status()));
    return std::string(parsed.status().message());
  }
  const std::vector<Command> commands_ = Commands();
};

TEST_F(ArgsTest, CommandsFlagsAndValues) {
  const auto parsed = Parse({"thing", "make", "--set", "a=1", "x", "--json", "--set=b=2", "--kind=b", "why"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->command, &commands_[1]);
  EXPECT_EQ(parsed->positional, (std::vector<std::string>{"x", "why"}));
  EXPECT_EQ(parsed->All("set"), (std::vector<std::string>{"a=1", "b=2"}));
  EXPECT_EQ(parsed->Get("kind"), "b");
  EXPECT_TRUE(parsed->Has("json"));
  EXPECT_FALSE(parsed->Has("fast"));
  EXPECT_EQ(parsed->GetOr("server", "here"), "here");
}

TEST_F(ArgsTest, ANounAloneLists) {
  const auto parsed = Parse({"thing"});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->command, &commands_[0]);
  const auto with_flag = Parse({"thing", "--json"});
  ASSERT_TRUE(with_flag.ok());
  EXPECT_EQ(with_flag->command, &commands_[0]);
  EXPECT_EQ(ErrorOf({"log"}), "ursa log: a command is missing (hint: it has verify)");
}

TEST_F(ArgsTest, TwoDashesEndTheFlags) {
  const auto parsed = Parse({"go", "--", "--count", "-x"});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->positional, (std::vector<std::string>{"--count", "-x"}));
}

TEST_F(ArgsTest, UnknownWordsAreErrorsWithTheNearestKnown) {
  EXPECT_EQ(ErrorOf({"thign", "list"}), "command \"thign\": there is no such command (hint: did you mean \"thing\"?)");
  EXPECT_EQ(ErrorOf({"zzzzzz"}), "command \"zzzzzz\": there is no such command (hint: `ursa --help` lists all)");
  EXPECT_EQ(ErrorOf({"thing", "maek"}), "ursa thing: \"maek\" is no command of it (hint: did you mean \"make\"?)");
  EXPECT_EQ(ErrorOf({"thing", "zzzzzz"}), "ursa thing: \"zzzzzz\" is no command of it (hint: it has list, make)");
  EXPECT_EQ(ErrorOf({"thing", "list", "--sever", "x"}),
            "flag \"--sever\": there is no such flag (hint: did you mean \"--server\"?)");
  EXPECT_EQ(ErrorOf({"go", "x", "-z"}), "flag \"-z\": there is no such flag (hint: ursa go --help)");
  // Commands that talk to no server take no --server.
  EXPECT_NE(ErrorOf({"go", "x", "--server", "y"}), "(no error)");
}

TEST_F(ArgsTest, ValuesMustFit) {
  EXPECT_EQ(ErrorOf({"thing", "make", "x", "--kind", "c"}), "flag \"--kind\": \"c\": must be one of a, b");
  EXPECT_EQ(ErrorOf({"thing", "make", "x", "--kind"}), "flag \"--kind\": its value K is missing");
  EXPECT_EQ(ErrorOf({"thing", "make", "x", "--fast=1"}), "flag \"--fast\": it takes no value");
  EXPECT_EQ(ErrorOf({"thing", "make", "x", "--fast", "--fast"}), "flag \"--fast\": it was given twice");
}

TEST_F(ArgsTest, ArgumentsMustBeThere) {
  EXPECT_EQ(ErrorOf({"thing", "make"}).substr(0, 29), "argument NAME: it is missing ");
  EXPECT_EQ(ErrorOf({"thing", "make", "a", "b", "c"}).substr(0, 33), "argument \"c\": there is one too ma");
  EXPECT_NE(ErrorOf({"go"}), "(no error)");
  EXPECT_TRUE(Parse({"go", "a", "b", "c"}).ok());
}

TEST_F(ArgsTest, RequiredFlagsMustBeThere) {
  EXPECT_EQ(ErrorOf({"must"}), "flag \"--dir\": it is missing (hint: ursa must --dir DIR)");
  EXPECT_TRUE(Parse({"must", "--dir", "x"}).ok());
  EXPECT_TRUE(Parse({"must", "--help"}).ok());
}

TEST_F(ArgsTest, WholeNumbersHaveLimits) {
  const auto parsed = Parse({"go", "x", "--count", "7"});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed->GetInt("count", 1, 7), 7);
  EXPECT_FALSE(parsed->GetInt("count", 1, 6).ok());
  EXPECT_EQ(*parsed->GetInt("other", 1, 6), std::nullopt);
  for (const char* bad : {"", "7x", "1.5", "99999999999999999999", "-1"}) {
    const auto wrong = Parse({"go", "x", std::string("--count=") + bad});
    ASSERT_TRUE(wrong.ok());
    EXPECT_FALSE(wrong->GetInt("count", 0, 100).ok()) << bad;
  }
}

TEST_F(ArgsTest, HelpNeedsNoArguments) {
  for (const auto& words : std::vector<std::vector<std::string>>{{}, {"--help"}, {"help"}, {"-h"}}) {
    const auto parsed = Parse(words);
    ASSERT_TRUE(parsed.ok());
    EXPECT_TRUE(parsed->help);
    EXPECT_EQ(parsed->command, nullptr);
  }
  const auto command = Parse({"thing", "make", "--help"});
  ASSERT_TRUE(command.ok());
  EXPECT_TRUE(command->help);
  EXPECT_EQ(command->command, &commands_[1]);
  const auto noun = Parse({"thing", "--help"});
  ASSERT_TRUE(noun.ok());
  EXPECT_EQ(noun->help_noun, "thing");
}

TEST_F(ArgsTest, HelpShowsUsageFlagsAndExample) {
  EXPECT_EQ(UsageLine(commands_[1]), "ursa thing make NAME [WHY] [--set P=V]... [--kind K] [--fast]");
  EXPECT_EQ(UsageLine(commands_[2]), "ursa go FILE... [--count N]");
  const std::string help = CommandHelp(commands_[1]);
  for (const char* part : {"makes\n", "More.\n", "  --set P=V", "--token-file FILE", "  ursa thing make x\n"})
    EXPECT_NE(help.find(part), std::string::npos) << part << " in\n" << help;
  EXPECT_EQ(CommandHelp(commands_[2]).find("--server"), std::string::npos);
}

}  // namespace
}  // namespace ursa::cli
