// What is wrong with a certificate, said before a server is started with it: gRPC itself would only fail to bind.
#ifndef URSA_COORDINATOR_SERVICES_TLS_CERTIFICATE_H_
#define URSA_COORDINATOR_SERVICES_TLS_CERTIFICATE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace ursa {

// `certificate` (the server's first, then those that sign it) and `key` are PEM. Errors: INVALID_ARGUMENT: one of them
// cannot be read, the key wants a passphrase or is another's, the certificate is not valid at `now`.
absl::Status CheckCertificate(const std::string& certificate, const std::string& key, absl::Time now);

}  // namespace ursa

#endif  // URSA_COORDINATOR_SERVICES_TLS_CERTIFICATE_H_
