#include "client/lib/options.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "base/clock.h"
#include "client/lib/retry.h"

namespace ursa {
namespace {

ClientOptions For(const std::string& server) {
  ClientOptions options;
  options.server = server;
  return options;
}

TEST(ClientOptionsTest, PlainTextStaysOnThisMachine) {
  for (const char* good : {"127.0.0.1:80", "127.1.2.3:1", "localhost:65535", "[::1]:80", "https://10.0.0.1:443",
                           "https://ursa.example.org:50051"})
    EXPECT_TRUE(For(good).Validate().ok()) << good;
  for (const char* bad : {"10.0.0.1:80", "example.org:80", "127.evil.org:80", "", "127.0.0.1", "127.0.0.1:0",
                          "127.0.0.1:65536", "127.0.0.1:x", ":80", "https://10.0.0.1", "https://a/b:80"})
    EXPECT_TRUE(absl::IsInvalidArgument(For(bad).Validate())) << bad;
}

TEST(ClientOptionsTest, TokensAreOneVisibleWord) {
  ClientOptions options = For("127.0.0.1:80");
  options.token = "a\r\nx-evil: 1";
  EXPECT_FALSE(options.Validate().ok());
  options.token = "bär";
  EXPECT_FALSE(options.Validate().ok());
  options.token = "3f2a-Z_";
  EXPECT_TRUE(options.Validate().ok());
}

class ResolveTest : public ::testing::Test {
 protected:
  ResolveTest() { std::ofstream(token_file_) << "  the-token \nmore\n"; }
  absl::StatusOr<ClientOptions> Resolve(const ConnectionFlags& flags) {
    return ResolveClientOptions(flags, [this](const char* name) -> const char* {
      const auto found = env_.find(name);
      return found == env_.end() ? nullptr : found->second.c_str();
    });
  }
  const std::string token_file_ = ::testing::TempDir() + "/token";
  std::map<std::string, std::string> env_;
};

TEST_F(ResolveTest, FlagsWinOverTheEnvironment) {
  env_ = {{"URSA_SERVER", "127.0.0.1:1"}, {"URSA_TOKEN_FILE", token_file_}, {"URSA_TLS_ROOTS", "/roots.pem"}};
  auto options = Resolve({});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->server, "127.0.0.1:1");
  EXPECT_EQ(options->token, "the-token");
  EXPECT_EQ(options->tls_roots_file, "/roots.pem");
  options = Resolve({"127.0.0.1:2", ""});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->server, "127.0.0.1:2");
}

TEST_F(ResolveTest, WhatIsMissingIsSaidWithAHint) {
  EXPECT_NE(Resolve({}).status().message().find("URSA_SERVER"), std::string::npos);
  EXPECT_NE(Resolve({"127.0.0.1:2", ""}).status().message().find("URSA_TOKEN_FILE"), std::string::npos);
  EXPECT_TRUE(absl::IsNotFound(Resolve({"127.0.0.1:2", "/nowhere"}).status()));
  std::ofstream(token_file_) << "\n";
  EXPECT_TRUE(absl::IsInvalidArgument(Resolve({"127.0.0.1:2", token_file_}).status()));
}

TEST(UnreachableTest, IsToldApartFromAServerThatAnswers) {
  EXPECT_TRUE(IsUnreachable(UnreachableError("127.0.0.1:1", "connection refused")));
  EXPECT_FALSE(IsUnreachable(absl::UnavailableError("no worker")));
  EXPECT_FALSE(IsUnreachable(absl::OkStatus()));
}

// A clock whose sleepers wake at once, in their own time.
class SteppingClock : public Clock {
 public:
  absl::Time Now() override { return now_; }
  void SleepUntil(absl::Time wakeup_time) override {
    sleeps_.push_back(wakeup_time - now_);
    now_ = std::max(now_, wakeup_time);
  }
  bool AwaitWithDeadline(absl::Mutex*, const absl::Condition&, absl::Time) override { return false; }
  void Advance(absl::Duration step) { now_ += step; }
  const std::vector<absl::Duration>& sleeps() const { return sleeps_; }

 private:
  absl::Time now_ = absl::UnixEpoch();
  std::vector<absl::Duration> sleeps_;
};

TEST(PatienceTest, TriesUntilItIsOver) {
  SteppingClock clock;
  Patience tries(&clock, absl::Seconds(3), 1);
  int num_tries = 1;
  while (tries.WaitForNextTry()) ++num_tries;
  EXPECT_EQ(clock.Now(), absl::UnixEpoch() + absl::Seconds(3));  // the last try is at the end of it
  EXPECT_GT(num_tries, 8);
  EXPECT_LT(num_tries, 40);
  EXPECT_LE(clock.sleeps().front(), absl::Milliseconds(20));
  for (const absl::Duration sleep : clock.sleeps()) EXPECT_LE(sleep, absl::Milliseconds(500));
}

TEST(PatienceTest, CountsFromTheFirstFailureAfterASuccess) {
  SteppingClock clock;
  Patience tries(&clock, absl::Seconds(1), 1);
  EXPECT_TRUE(tries.WaitForNextTry());
  clock.Advance(absl::Seconds(5));
  tries.Succeeded();
  clock.Advance(absl::Hours(5));  // a silent watch
  EXPECT_TRUE(tries.WaitForNextTry());
  clock.Advance(absl::Seconds(5));
  EXPECT_FALSE(tries.WaitForNextTry());
}

TEST(PatienceTest, NoneMeansOneTry) {
  SteppingClock clock;
  Patience tries(&clock, absl::ZeroDuration(), 1);
  EXPECT_FALSE(tries.WaitForNextTry());
  EXPECT_TRUE(clock.sleeps().empty());
}

}  // namespace
}  // namespace ursa
