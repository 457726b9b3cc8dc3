#include "coordinator/services/tls_certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>

namespace ursa {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

// In place of OpenSSL's own, which would ask at the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

Bio Open(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free);
}

}  // namespace

absl::Status CheckCertificate(const std::string& certificate, const std::string& key, absl::Time now) {
  const Bio certificate_text = Open(certificate), key_text = Open(key);
  const Certificate x509(PEM_read_bio_X509(certificate_text.get(), nullptr, &NoPassphrase, nullptr), &X509_free);
  const Key own_key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, &NoPassphrase, nullptr), &EVP_PKEY_free);
  const bool fit = x509 != nullptr && own_key != nullptr && X509_check_private_key(x509.get(), own_key.get()) == 1;
  ERR_clear_error();
  if (x509 == nullptr) return absl::InvalidArgumentError("TLS certificate: is not in PEM");
  if (own_key == nullptr) return absl::InvalidArgumentError("TLS key: is not a PEM private key without a passphrase");
  if (!fit) return absl::InvalidArgumentError("TLS key: is not that of the certificate");
  std::time_t seconds = absl::ToTimeT(now);
  if (X509_cmp_time(X509_get0_notBefore(x509.get()), &seconds) > 0)
    return absl::InvalidArgumentError("TLS certificate: is not valid yet");
  if (X509_cmp_time(X509_get0_notAfter(x509.get()), &seconds) < 0)
    return absl::InvalidArgumentError("TLS certificate: has expired");
  return absl::OkStatus();
}

}  // namespace ursa
