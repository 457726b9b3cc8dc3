#include "base/net_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr std::string_view kTlsPrefix = "https://";
constexpr int kPortMax = 65535;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(std::string_view address) {
  const auto bad = [address] {
    return absl::InvalidArgumentError(
        absl::StrCat("address \"", Absl(address), "\": must be HOST:PORT, with a port from 0 to ", kPortMax));
  };
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return bad();
  HostPort parsed;
  const std::string_view digits = address.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed.port);
  if (error != std::errc() || end != digits.data() + digits.size() || parsed.port < 0 || parsed.port > kPortMax)
    return bad();
  std::string_view host = address.substr(0, colon);
  const bool in_brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (in_brackets) host = host.substr(1, host.size() - 2);
  if (host.empty() || host.find_first_of("/[]") != std::string_view::npos ||
      (!in_brackets && host.find(':') != std::string_view::npos))
    return bad();
  parsed.host = std::string(host);
  return parsed;
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost") return true;
  const std::string text(host);
  in_addr v4;
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return ::inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

absl::StatusOr<ServerAddress> ParseServerAddress(std::string_view server) {
  ServerAddress address;
  address.tls = server.substr(0, kTlsPrefix.size()) == kTlsPrefix;
  const std::string_view target = address.tls ? server.substr(kTlsPrefix.size()) : server;
  const absl::StatusOr<HostPort> parsed = ParseHostPort(target);
  if (!parsed.ok() || parsed->port == 0) {
    return absl::InvalidArgumentError(absl::StrCat("server \"", Absl(server), "\": must be HOST:PORT or ",
                                                   Absl(kTlsPrefix), "HOST:PORT, with a port from 1 to ", kPortMax));
  }
  address.target = std::string(target);
  address.is_loopback = IsLoopback(parsed->host);
  if (!address.tls && !address.is_loopback) {
    return absl::InvalidArgumentError(absl::StrCat(
        "server \"", Absl(server), "\": plain text goes to this machine only, as it would show the token (hint: ",
        Absl(kTlsPrefix), Absl(server), ")"));
  }
  return address;
}

absl::StatusOr<std::string> ReadTrustedCertificates(const std::string& path) {
  URSA_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  // gRPC itself would only say that there is no address to connect to.
  if (text.find("-----BEGIN CERTIFICATE-----") == std::string::npos)
    return absl::InvalidArgumentError(
        absl::StrCat("file \"", path, "\": must have PEM certificates to trust, has none"));
  return text;
}

}  // namespace ursa
