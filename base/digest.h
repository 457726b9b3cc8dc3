// SHA-256 content hashes: the names of blobs, manifests, artifacts and transform graphs.
#ifndef URSA_BASE_DIGEST_H_
#define URSA_BASE_DIGEST_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ursa {

inline constexpr size_t kDigestHexLength = 64;

// SHA-256 of bytes that come in pieces. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::string_view bytes);

  // The digest as 64 lower-case hex digits. May be called once.
  std::string FinishHex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// SHA-256 of `bytes` as 64 lower-case hex digits.
std::string Sha256Hex(std::string_view bytes);

// SHA-256 of a file's bytes as 64 lower-case hex digits, read in pieces. Errors: NOT_FOUND, or UNKNOWN with the
// system's text.
absl::StatusOr<std::string> Sha256HexOfFile(const std::string& path);

// Whether `text` is 64 lower-case hex digits. Everything that a peer sends as a hash is checked by it before use.
bool IsDigestHex(std::string_view text);

// `num_bytes` bytes of the system's cryptographic randomness as lower-case hex digits.
std::string RandomHex(size_t num_bytes);

}  // namespace ursa

#endif  // URSA_BASE_DIGEST_H_
