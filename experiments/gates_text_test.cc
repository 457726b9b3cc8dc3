#include "experiments/gates_text.h"

#include <map>
#include <string>

#include "base/digest.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::HasSubstr;

TEST(ParseGatesTest, DefaultsAreWrittenOut) {
  const auto gates = ParseGates("g", "gates { metric: \"accuracy\" }");
  ASSERT_TRUE(gates.ok()) << gates.status();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*gates, DefaultGates()));
  EXPECT_EQ(gates->gates(0).non_inferiority_margin(), 0.01);
  EXPECT_EQ(gates->gates(0).confidence(), 0.95);
}

TEST(ParseGatesTest, SaysWhatIsWrong) {
  const std::map<std::string, std::string> cases = {
      {"", "there is no gate"},
      {"gate { }", "g:1:1: unknown field \"gate\" (hint: gates?)"},
      {"gates { metrc: \"accuracy\" }", "g:1:9: unknown field \"metrc\" in \"gates\" (hint: metric?)"},
      {"gates { }", "gates[0].metric: \"\"; allowed: \"accuracy\""},
      {"gates { metric: \"log_loss\" }", "gates[0].metric: \"log_loss\"; allowed"},
      {"gates { metric: \"accuracy\" non_inferiority_margin: -0.1 }", "non_inferiority_margin: -0.1; allowed: 0 to 1"},
      {"gates { metric: \"accuracy\" non_inferiority_margin: nan }", "non_inferiority_margin: nan"},
      {"gates { metric: \"accuracy\" confidence: 1 }", "confidence: 1; allowed"},
      {"gates { metric: \"accuracy\" confidence: 0.5 }", "confidence: 0.5; allowed"},
      {"gates { metric: \"accuracy\" } gates { metric: \"accuracy\" confidence: 0.9 }",
       "gates[1].metric: \"accuracy\" has a gate"},
  };
  for (const auto& [text, expected] : cases) {
    const absl::Status status = ParseGates("g", text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(expected)) << text;
  }
  v1::Gates many;
  for (int i = 0; i <= kNumGatesMax; ++i) many.add_gates()->set_metric("accuracy");
  EXPECT_THAT(std::string(ResolveGates(many).status().message()), HasSubstr("17 gates, at most 16"));
}

TEST(GatesHashTest, EveryValueCounts) {
  const std::string hash = GatesHash(DefaultGates());
  EXPECT_TRUE(IsDigestHex(hash));
  EXPECT_EQ(GatesHash(*ParseGates("g", "gates { metric: \"accuracy\" confidence: 0.95 }")), hash);
  EXPECT_NE(GatesHash(*ParseGates("g", "gates { metric: \"accuracy\" confidence: 0.96 }")), hash);
  EXPECT_NE(GatesHash(*ParseGates("g", "gates { metric: \"accuracy\" non_inferiority_margin: 0 }")), hash);
}

TEST(GateNameTest, ReadsAsASentence) {
  EXPECT_EQ(GateName(DefaultGates().gates(0)), "accuracy not worse by more than 0.01 at 95 %");
}

}  // namespace
}  // namespace ursa
