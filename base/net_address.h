// Addresses of servers as people write them.
#ifndef URSA_BASE_NET_ADDRESS_H_
#define URSA_BASE_NET_ADDRESS_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ursa {

struct HostPort {
  std::string host;  // a name or a number; of IPv6 without its brackets
  int port = 0;      // 0..65535
};

// "HOST:PORT", "[::1]:PORT". Errors: INVALID_ARGUMENT.
absl::StatusOr<HostPort> ParseHostPort(std::string_view address);

// Whether nobody but this machine can be `host`. A name other than "localhost" is never asked for.
bool IsLoopback(std::string_view host);

// Where a client finds the coordinator.
struct ServerAddress {
  std::string target;  // HOST:PORT
  bool tls = false;
  bool is_loopback = false;
};

// "HOST:PORT" is plain text, which would show the token to a network: it must be this machine's loopback.
// "https://HOST:PORT" is TLS. Errors: INVALID_ARGUMENT.
absl::StatusOr<ServerAddress> ParseServerAddress(std::string_view server);

// The PEM file with the certificates that a client trusts. Errors: of reading; INVALID_ARGUMENT (there is none in it).
absl::StatusOr<std::string> ReadTrustedCertificates(const std::string& path);

}  // namespace ursa

#endif  // URSA_BASE_NET_ADDRESS_H_
