#include "client/lib/options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr char kUnreachablePayload[] = "ursa.client/unreachable";
constexpr std::string_view kTlsPrefix = "https://";

bool HasTlsPrefix(const std::string& server) { return server.compare(0, kTlsPrefix.size(), kTlsPrefix) == 0; }

// "host" of "host:80" and "[::1]:80"; empty when there is no host or no port in 1..65535.
std::string HostOf(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return "";
  int port = 0;
  const std::string_view digits = address.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port < 1 || port > 65535) return "";
  std::string_view host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return std::string(host);
}

bool IsLoopback(const std::string& host) {
  if (host == "localhost" || host == "::1") return true;
  const bool numeric =
      std::all_of(host.begin(), host.end(), [](unsigned char c) { return std::isdigit(c) || c == '.'; });
  return numeric && absl::StartsWith(host, "127.");
}

std::string GetOr(const std::function<const char*(const char*)>& getenv, const std::string& flag, const char* name) {
  if (!flag.empty()) return flag;
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

absl::Status ClientOptions::Validate() const {
  const bool tls = HasTlsPrefix(server);
  const std::string host = HostOf(tls ? std::string_view(server).substr(kTlsPrefix.size()) : std::string_view(server));
  if (host.empty() || host.find('/') != std::string::npos)
    return absl::InvalidArgumentError(
        absl::StrCat("server \"", server, "\": must be HOST:PORT or https://HOST:PORT, with a port from 1 to 65535"));
  if (!tls && !IsLoopback(host))
    return absl::InvalidArgumentError(absl::StrCat(
        "server \"", server, "\": plain text goes to this machine only, as it would show the token (hint: https://",
        server, ")"));
  if (!std::all_of(token.begin(), token.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; }))
    return absl::InvalidArgumentError("token: must be visible ASCII characters without spaces");
  if (patience < absl::ZeroDuration() || watch_patience < absl::ZeroDuration() || call_timeout <= absl::ZeroDuration())
    return absl::InvalidArgumentError("client: patience and timeout must not be negative");
  return absl::OkStatus();
}

absl::StatusOr<ClientOptions> ResolveClientOptions(const ConnectionFlags& flags,
                                                   const std::function<const char*(const char*)>& getenv) {
  ClientOptions options;
  options.server = GetOr(getenv, flags.server, "URSA_SERVER");
  if (options.server.empty())
    return absl::InvalidArgumentError(
        "server: none is given (hint: --server HOST:PORT or URSA_SERVER; `ursa up --dir DIR` starts one and writes "
        "DIR/client.env)");
  const std::string token_file = GetOr(getenv, flags.token_file, "URSA_TOKEN_FILE");
  if (token_file.empty())
    return absl::InvalidArgumentError(
        "token file: none is given (hint: --token-file FILE or URSA_TOKEN_FILE; `ursa up --dir DIR` writes "
        "DIR/client.env)");
  URSA_ASSIGN_OR_RETURN(options.token, ReadTokenFile(token_file));
  options.tls_roots_file = GetOr(getenv, "", "URSA_TLS_ROOTS");
  URSA_RETURN_IF_ERROR(options.Validate());
  return options;
}

absl::StatusOr<std::string> ReadTokenFile(const std::string& path) {
  URSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const absl::string_view token =
      absl::StripAsciiWhitespace(absl::string_view(text).substr(0, std::min(text.find('\n'), text.size())));
  if (token.empty())
    return absl::InvalidArgumentError(absl::StrCat("token file \"", path, "\": its first line is empty"));
  return std::string(token);
}

bool IsUnreachable(const absl::Status& status) { return status.GetPayload(kUnreachablePayload).has_value(); }

absl::Status UnreachableError(const std::string& server, const std::string& why) {
  absl::Status status = absl::UnavailableError(absl::StrCat(
      "server ", server, ": cannot be reached, ", why, " (hint: is it running? ", "`ursa up --dir DIR` starts one)"));
  status.SetPayload(kUnreachablePayload, absl::Cord("1"));
  return status;
}

}  // namespace ursa
