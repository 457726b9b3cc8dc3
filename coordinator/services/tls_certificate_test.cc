#include "coordinator/services/tls_certificate.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

const absl::Time kMade = absl::FromUnixSeconds(1'700'000'000);

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

// A key and a certificate that it signed itself, valid for an hour from kMade.
struct Pair {
  explicit Pair(const char* passphrase = nullptr) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pkey(EVP_EC_gen("P-256"), &EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> x509(X509_new(), &X509_free);
    ASN1_TIME_set(X509_getm_notBefore(x509.get()), absl::ToTimeT(kMade));
    ASN1_TIME_set(X509_getm_notAfter(x509.get()), absl::ToTimeT(kMade + absl::Hours(1)));
    X509_set_pubkey(x509.get(), pkey.get());
    X509_sign(x509.get(), pkey.get(), EVP_sha256());
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
    PEM_write_bio_X509(bio.get(), x509.get());
    certificate = TextOf(bio.get());
    BIO_reset(bio.get());
    PEM_write_bio_PKCS8PrivateKey(bio.get(), pkey.get(), passphrase == nullptr ? nullptr : EVP_aes_256_cbc(), nullptr,
                                  0, nullptr, const_cast<char*>(passphrase));
    key = TextOf(bio.get());
  }
  std::string certificate;
  std::string key;
};

TEST(TlsCertificateTest, SaysWhatIsWrong) {
  const Pair pair, other, locked("a passphrase");
  const absl::Time now = kMade + absl::Minutes(1);
  const absl::Status right = CheckCertificate(pair.certificate, pair.key, now);
  EXPECT_TRUE(right.ok()) << right;
  EXPECT_TRUE(CheckCertificate(pair.certificate + other.certificate, pair.key, now).ok()) << "with its signer";
  const struct {
    std::string certificate;
    std::string key;
    absl::Time now;
    const char* says;
  } cases[] = {{"junk", pair.key, now, "certificate: is not in PEM"},
               {pair.key, pair.key, now, "certificate: is not in PEM"},
               {pair.certificate, "junk", now, "not a PEM private key"},
               {pair.certificate, pair.certificate, now, "not a PEM private key"},
               {locked.certificate, locked.key, now, "without a passphrase"},
               {pair.certificate, other.key, now, "not that of the certificate"},
               {pair.certificate, pair.key, kMade - absl::Minutes(1), "not valid yet"},
               {pair.certificate, pair.key, kMade + absl::Hours(2), "has expired"}};
  for (const auto& c : cases) {
    const absl::Status status = CheckCertificate(c.certificate, c.key, c.now);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.says << ": " << status;
    EXPECT_TRUE(absl::StrContains(status.message(), c.says)) << status;
  }
}

}  // namespace
}  // namespace ursa
