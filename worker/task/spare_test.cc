#include "worker/task/spare.h"

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/file.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

// What is left of the command line "ursa-spare --room ......" when `words` are set in its place.
std::string Set(const std::vector<std::string>& words) {
  std::string memory = std::string("ursa-spare\0--room\0......\0", 25) + "not ours";
  char* argv[] = {memory.data(), memory.data() + 11, memory.data() + 18, nullptr};
  SetCommandLine(3, argv, words);
  EXPECT_EQ(memory.substr(25), "not ours");
  return memory.substr(0, 25);
}

TEST(SetCommandLineTest, PutsWordsInThePlaceOfOthersAndEndsWithZeros) {
  const struct {
    std::vector<std::string> words;
    std::string line;
  } kCases[] = {
      {{"ursa-task"}, std::string("ursa-task\0", 10) + std::string(15, '\0')},
      {{"ursa-task", "--task", "t1.2"}, std::string("ursa-task\0--task\0t1.2\0\0\0\0", 25)},
      {{"ursa-task", "--task", "t1.2345"}, std::string("ursa-task\0--task\0t1.2345\0", 25)},
      {{"ursa-task", "--task", "t1.23456", "x"}, std::string("ursa-task\0--task\0", 17) + std::string(8, '\0')},
      {{}, std::string(25, '\0')},
  };
  for (const auto& c : kCases) EXPECT_EQ(Set(c.words), c.line);
}

TEST(FirstToGoTest, AsLongAsItLives) {
  const auto score = [] { return std::string(absl::StripAsciiWhitespace(*ReadFile("/proc/self/oom_score_adj"))); };
  const std::string before = score();
  {
    const FirstToGo first;
    EXPECT_EQ(score(), "1000");
  }
  EXPECT_EQ(score(), before);
}

}  // namespace
}  // namespace ursa
