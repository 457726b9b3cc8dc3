#include "worker/agent/worker_flags.h"

#include <utility>

#include "gtest/gtest.h"

namespace ursa {
namespace {

using Words = std::vector<std::string>;

TEST(WorkerFlagsTest, WhatIsNotSaid) {
  const auto flags = ParseWorkerFlags({"--dir", "d"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(flags->kind, "cpu");
  EXPECT_EQ(flags->slots, 1);
  EXPECT_EQ(flags->fabric, "lo");
  EXPECT_TRUE(flags->labels.empty());
}

TEST(WorkerFlagsTest, SlotsAreCountedOrFound) {
  const std::pair<Words, std::optional<int>> cases[] = {
      {{"--slots", "4"}, 4},
      {{"--slots=0"}, 0},
      {{"--kind", "cuda"}, std::nullopt},
      {{"--kind", "cuda", "--slots", "auto"}, std::nullopt},
      {{"--slots=2", "--kind=cuda"}, 2},
  };
  for (const auto& [words, slots] : cases) {
    Words all = {"--dir", "d"};
    all.insert(all.end(), words.begin(), words.end());
    const auto flags = ParseWorkerFlags(all);
    ASSERT_TRUE(flags.ok()) << flags.status();
    EXPECT_EQ(flags->slots, slots) << words[0];
  }
}

TEST(WorkerFlagsTest, LabelsAdd) {
  const auto flags = ParseWorkerFlags({"--dir=d", "--label", "gpu=h100", "--label=zone=a", "--name", "left"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(LabelTexts(flags->labels), (Words{"gpu=h100", "zone=a"}));
  EXPECT_EQ(flags->name, "left");
}

TEST(WorkerFlagsTest, WrongOnesAreNamed) {
  const std::pair<Words, std::string> cases[] = {
      {{}, "\"--dir\" is missing"},
      {{"--dir", "d", "--slot", "1"}, "unknown flag \"--slot\""},
      {{"--dir", "d", "--slots"}, "a value is missing"},
      {{"--dir", "d", "--slots", "1025"}, "may be 0 to 1024"},
      {{"--dir", "d", "--slots", "auto"}, "--kind cuda"},
      {{"--dir", "d", "--kind", "tpu"}, "may be cpu or cuda"},
      {{"--dir", "d", "--ca_file", "f"}, "https://"},
      {{"--dir", "d", "--server", "10.0.0.1:7070"}, "plain text"},
      {{"--dir", "d", "--token_file", "a", "--join_token_file", "b"}, "not both"},
      {{"--dir", "d", "--label", "gpu"}, "NAME=VALUE"},
      {{"--dir", "d", "--label", "a=1", "--label", "a=2"}, "there twice"},
      {{"--dir", "d", "--name", std::string(65, 'x')}, "at most 64"},
  };
  for (const auto& [words, text] : cases) {
    const auto flags = ParseWorkerFlags(words);
    EXPECT_EQ(flags.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(flags.status().message().find(text), std::string::npos) << flags.status();
  }
}

}  // namespace
}  // namespace ursa
