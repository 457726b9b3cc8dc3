#include "base/failpoint.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;
using ::testing::KilledBySignal;

Failpoint plain("test.plain");
StatusFailpoint failing("test.failing");

// A process watches its points once and for ever, so each case watches them in a child, which tells by its exit status.
class FailpointTest : public ::testing::Test {
 protected:
  FailpointTest() {
    std::string pattern = ::testing::TempDir() + "/failpoints_XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    ::setenv(kFailpointsVariable, folder_.c_str(), 1);
  }
  ~FailpointTest() override {
    ::unsetenv(kFailpointsVariable);
    std::filesystem::remove_all(folder_);
  }

  // Lines of `armed`, each for this program.
  void Arm(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) absl::StrAppend(&text, program_invocation_short_name, " ", line, "\n");
    ASSERT_TRUE(WriteFileAtomically(folder_ + "/armed", text).ok());
  }
  std::string File(const std::string& name) const { return ReadFile(folder_ + "/" + name).value_or("(none)"); }
  static std::string Line(const std::string& words) {
    return absl::StrCat(words.substr(0, words.find(' ')), " ", program_invocation_short_name,
                        words.substr(words.find(' ')), "\n");
  }

  std::string folder_;
};

// Arms, passes each point `passes` times, and ends with the number of failures.
[[noreturn]] void ArmAndPass(int passes) {
  if (!ArmFailpoints().ok()) ::_exit(99);
  int failures = 0;
  for (int i = 0; i < passes; ++i) {
    plain.Pass();
    failures += failing.Pass().ok() ? 0 : 1;
  }
  ::_exit(failures);
}

[[noreturn]] void ArmOnly() { ::_exit(static_cast<int>(ArmFailpoints().code())); }

TEST_F(FailpointTest, WithoutTheVariableNothingIsWatched) {
  Arm({"test.plain die 1"});
  ::unsetenv(kFailpointsVariable);
  EXPECT_EXIT(ArmAndPass(2), ExitedWithCode(0), "");
  EXPECT_EQ(File("trace"), "(none)");
}

TEST_F(FailpointTest, WritesTheNamesAndTheFirstPasses) {
  EXPECT_EXIT(ArmAndPass(3), ExitedWithCode(0), "watched, because of URSA_FAILPOINTS");
  EXPECT_EQ(File(absl::StrCat(program_invocation_short_name, ".points")),
            "base.file.before_replace fail\nbase.file.replaced\ntest.failing fail\ntest.plain\n");
  EXPECT_EQ(File("trace"), Line("passed test.plain") + Line("passed test.failing"));
}

TEST_F(FailpointTest, DiesAtThatPassAndOnlyOnce) {
  Arm({"test.plain die 2"});
  EXPECT_EXIT(ArmAndPass(1), ExitedWithCode(0), "");
  EXPECT_EXIT(ArmAndPass(2), KilledBySignal(SIGKILL), "failpoint fires: .* test.plain die 2");
  EXPECT_THAT(File("trace"), HasSubstr(Line("fired test.plain die 2")));
  EXPECT_EXIT(ArmAndPass(5), ExitedWithCode(0), "armed: 0");
}

TEST_F(FailpointTest, FailsAtThosePassesAlone) {
  Arm({"test.failing fail 2", "test.failing fail 3"});
  EXPECT_EXIT(ArmAndPass(1), ExitedWithCode(0), "");
  EXPECT_EXIT(ArmAndPass(5), ExitedWithCode(2), "");
}

TEST_F(FailpointTest, SleepsAndGoesOn) {
  Arm({"test.plain sleep=5ms 1"});
  EXPECT_EXIT(ArmAndPass(2), ExitedWithCode(0), "failpoint fires: .* test.plain sleep=5ms 1");
}

TEST_F(FailpointTest, LinesForOtherProgramsAreTheirs) {
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/armed", "ursa-nobody no.such.point die 1\n\n").ok());
  EXPECT_EXIT(ArmAndPass(1), ExitedWithCode(0), "");
}

TEST_F(FailpointTest, BadLinesStopTheStart) {
  for (const char* line : {"test.nowhere die 1", "test.plain die", "test.plain die 0", "test.plain die x",
                           "test.plain fail 1", "test.plain sleep=soon 1", "test.plain explode 1"}) {
    SCOPED_TRACE(line);
    Arm({line});
    EXPECT_EXIT(ArmOnly(), ExitedWithCode(static_cast<int>(absl::StatusCode::kInvalidArgument)), "");
  }
}

TEST_F(FailpointTest, AFolderThatOthersMayWriteIsRefused) {
  ASSERT_EQ(::chmod(folder_.c_str(), 0777), 0);
  const auto refused = ExitedWithCode(static_cast<int>(absl::StatusCode::kFailedPrecondition));
  EXPECT_EXIT(ArmOnly(), refused, "");
  for (const std::string& folder : {std::string(), std::string("."), folder_ + "/nowhere"}) {
    ::setenv(kFailpointsVariable, folder.c_str(), 1);
    EXPECT_EXIT(ArmOnly(), refused, "") << folder;
  }
}

TEST_F(FailpointTest, ANameStandsForOnePoint) {
  std::vector<std::string> names;
  for (const Failpoint* point : AllFailpoints()) names.push_back(point->name());
  EXPECT_THAT(names, ElementsAre("base.file.before_replace", "base.file.replaced", "test.failing", "test.plain"));
  EXPECT_DEATH(Failpoint("test.plain"), "two of that name");
}

}  // namespace
}  // namespace ursa
