#include "client/lib/options.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <optional>

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

constexpr absl::Time kStart = absl::UnixEpoch();

TEST(PatienceTest, TriesUntilItIsOver) {
  Patience tries(absl::Seconds(3), 1);
  absl::Time now = kStart;
  int num_tries = 1;
  while (const std::optional<absl::Time> next = tries.NextTry(now)) {
    EXPECT_GT(*next, now);
    EXPECT_LE(*next - now, num_tries == 1 ? absl::Milliseconds(20) : absl::Milliseconds(500));
    now = *next;
    ++num_tries;
  }
  EXPECT_EQ(now, kStart + absl::Seconds(3));  // the last try is at the end of it
  EXPECT_GT(num_tries, 8);
  EXPECT_LT(num_tries, 40);
}

TEST(PatienceTest, CountsFromTheFirstFailureAfterASuccess) {
  Patience tries(absl::Seconds(1), 1);
  EXPECT_TRUE(tries.NextTry(kStart).has_value());
  tries.Succeeded();
  const absl::Time later = kStart + absl::Hours(5);  // a silent watch
  EXPECT_TRUE(tries.NextTry(later).has_value());
  EXPECT_FALSE(tries.NextTry(later + absl::Seconds(5)).has_value());
}

TEST(PatienceTest, NoneMeansOneTry) {
  Patience tries(absl::ZeroDuration(), 1);
  EXPECT_FALSE(tries.NextTry(kStart).has_value());
}

}  // namespace
}  // namespace ursa
