#include "base/run_program.h"

#include <gtest/gtest.h>

#include <string>

namespace ursa {
namespace {

constexpr absl::Duration kLong = absl::Seconds(60);

TEST(RunProgramTest, GivesInputAndTakesOutput) {
  const std::string large(300'000, 'x');
  const auto out = RunProgram({"cat"}, large, kLong);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(*out, large);
}

TEST(RunProgramTest, WordsAreNotForAShell) {
  const auto out = RunProgram({"echo", "$HOME; `id` 'x'", "*"}, "", kLong);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(*out, "$HOME; `id` 'x' *\n");
}

TEST(RunProgramTest, SaysHowItEnded) {
  EXPECT_EQ(RunProgram({"sh", "-c", "echo out; echo first >&2; echo last >&2; exit 3"}, "", kLong).status(),
            absl::FailedPreconditionError("sh: exit status 3: last"));
  EXPECT_EQ(RunProgram({"sh", "-c", "kill -TERM $$"}, "", kLong).status(),
            absl::FailedPreconditionError("sh: signal 15: it says nothing"));
  EXPECT_EQ(RunProgram({"ursa-no-such-program"}, "", kLong).status().code(), absl::StatusCode::kNotFound);
}

TEST(RunProgramTest, DoesNotWaitForEver) {
  // The grandchild goes too: nothing is left.
  EXPECT_EQ(RunProgram({"sh", "-c", "sleep 1000 & wait"}, "", absl::Milliseconds(100)).status(),
            absl::DeadlineExceededError("sh: has not answered within 100ms"));
}

}  // namespace
}  // namespace ursa
