#include "base/net_address.h"

#include <fstream>

#include "gtest/gtest.h"

namespace ursa {
namespace {

TEST(HostPortTest, ParsesHostsOfEveryKind) {
  const struct {
    const char* text;
    const char* host;
    int port;
  } cases[] = {{"127.0.0.1:80", "127.0.0.1", 80},
               {"localhost:0", "localhost", 0},
               {"ursa.example.org:65535", "ursa.example.org", 65535},
               {"[::1]:7070", "::1", 7070}};
  for (const auto& c : cases) {
    const auto parsed = ParseHostPort(c.text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->host, c.host);
    EXPECT_EQ(parsed->port, c.port);
  }
  for (const char* bad : {"", ":", "host", ":80", "host:", "host:x", "host:80x", "host:-1", "host:65536", "host: 80",
                          "::1:80", "[]:80", "[::1:80", "https://host:80", "host:99999999999"})
    EXPECT_TRUE(absl::IsInvalidArgument(ParseHostPort(bad).status())) << bad;
}

TEST(LoopbackTest, IsWhatNobodyElseCanBe) {
  for (const char* host : {"localhost", "127.0.0.1", "127.255.0.9", "::1"}) EXPECT_TRUE(IsLoopback(host)) << host;
  for (const char* host : {"", "0.0.0.0", "::", "10.0.0.1", "127.evil.org", "localhost.evil.org", "127.0.0.1.evil.org",
                           "example.org", "::ffff:10.0.0.1"})
    EXPECT_FALSE(IsLoopback(host)) << host;
}

TEST(ServerAddressTest, PlainTextStaysOnThisMachine) {
  const auto plain = ParseServerAddress("127.0.0.1:80");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->target, "127.0.0.1:80");
  EXPECT_FALSE(plain->tls);
  EXPECT_TRUE(plain->is_loopback);
  const auto tls = ParseServerAddress("https://[2001:db8::1]:443");
  ASSERT_TRUE(tls.ok()) << tls.status();
  EXPECT_EQ(tls->target, "[2001:db8::1]:443");
  EXPECT_TRUE(tls->tls);
  EXPECT_FALSE(tls->is_loopback);
  for (const char* bad :
       {"10.0.0.1:80", "0.0.0.0:80", "127.0.0.1:0", "https://10.0.0.1", "https://a/b:80", "http://127.0.0.1:80"})
    EXPECT_TRUE(absl::IsInvalidArgument(ParseServerAddress(bad).status())) << bad;
}

TEST(TrustedCertificatesTest, AFileWithoutOneIsRefused) {
  const std::string path = testing::TempDir() + "/roots.pem";
  EXPECT_TRUE(absl::IsNotFound(ReadTrustedCertificates(path).status()));
  std::ofstream(path) << "-----BEGIN PRIVATE KEY-----\n";
  EXPECT_TRUE(absl::IsInvalidArgument(ReadTrustedCertificates(path).status()));
  std::ofstream(path) << "-----BEGIN CERTIFICATE-----\n";
  EXPECT_TRUE(ReadTrustedCertificates(path).ok());
}

}  // namespace
}  // namespace ursa
