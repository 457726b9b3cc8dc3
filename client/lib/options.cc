#include "client/lib/options.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/net_address.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr char kUnreachablePayload[] = "ursa.client/unreachable";

bool Has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// What a user can do about it, as far as gRPC's words tell.
std::string HintFor(const std::string& server, const std::string& why) {
  if (Has(why, "certificate verify failed")) return "URSA_TLS_ROOTS names a PEM file with the certificates to trust";
  if (Has(why, "wrong version number")) return "it does not speak TLS; without https:// it is asked in plain text";
  std::string hint = "is it running? `ursa up --dir DIR` starts one";
  const bool is_plain = server.find("://") == std::string::npos;
  if (is_plain && Has(why, "Socket closed")) absl::StrAppend(&hint, "; if it wants TLS: https://", server);
  return hint;
}

std::string GetOr(const std::function<const char*(const char*)>& getenv, const std::string& flag, const char* name) {
  if (!flag.empty()) return flag;
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

absl::Status ClientOptions::Validate() const {
  URSA_RETURN_IF_ERROR(ParseServerAddress(server).status());
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
  absl::Status status = absl::UnavailableError(
      absl::StrCat("server ", server, ": cannot be reached, ", why, " (hint: ", HintFor(server, why), ")"));
  status.SetPayload(kUnreachablePayload, absl::Cord("1"));
  return status;
}

}  // namespace ursa
