// Where a client calls and with which token.
#ifndef URSA_CLIENT_LIB_OPTIONS_H_
#define URSA_CLIENT_LIB_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ursa {

struct ClientOptions {
  // "HOST:PORT" in plain text, which must be this machine's loopback; "https://HOST:PORT" for TLS.
  std::string server;

  // Sent with each call; empty: none, and the server refuses all but its health service.
  std::string token;

  // PEM file with the certificates that sign the server's, for https; empty: the system's.
  std::string tls_roots_file;

  // How long a call that finds the server away is tried again. 0: once.
  absl::Duration patience = absl::Seconds(3);

  // The same while something long is waited for or watched: a restart of the server must not end that.
  absl::Duration watch_patience = absl::Seconds(30);

  // Of one unary call that the server has accepted.
  absl::Duration call_timeout = absl::Seconds(120);

  // Errors: INVALID_ARGUMENT: no server or no port in it; plain text to another machine; a token with line ends or
  // other control characters; a negative duration.
  absl::Status Validate() const;
};

// What a command line and the environment say. Empty flag values: not given.
struct ConnectionFlags {
  std::string server;
  std::string token_file;
};

// Options from flags, else from URSA_SERVER, URSA_TOKEN_FILE and URSA_TLS_ROOTS; `getenv` is as that of the C library.
// Errors: INVALID_ARGUMENT: neither says where the server is or where the token is; those of reading the token file.
absl::StatusOr<ClientOptions> ResolveClientOptions(const ConnectionFlags& flags,
                                                   const std::function<const char*(const char*)>& getenv);

// Reads a token file: its first line, without space around it. Errors: of reading; INVALID_ARGUMENT (it is empty).
absl::StatusOr<std::string> ReadTokenFile(const std::string& path);

// Whether `status` says that the server could not be reached, as opposed to a server that answered UNAVAILABLE.
bool IsUnreachable(const absl::Status& status);

// An UNAVAILABLE status that IsUnreachable() recognises.
absl::Status UnreachableError(const std::string& server, const std::string& why);

}  // namespace ursa

#endif  // URSA_CLIENT_LIB_OPTIONS_H_
