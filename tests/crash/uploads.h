// Blobs of random bytes, and how they are sent and read.
#ifndef URSA_TESTS_CRASH_UPLOADS_H_
#define URSA_TESTS_CRASH_UPLOADS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/crash/api.h"

namespace ursa::crash {

inline constexpr uint64_t kPieceBytesMax = uint64_t{1} << 20;  // BlobService's limit

// Bytes that can be made again at any time.
struct Blob {
  uint64_t seed = 0;
  uint64_t size = 0;
  std::string hash;

  std::string Bytes() const;
};
Blob MakeBlob(uint64_t seed, uint64_t size);

// Sends blobs of one piece each in one call.
absl::Status UploadSmall(Api* api, const std::vector<Blob>& blobs);
absl::Status UploadBytes(Api* api, const std::string& hash, const std::string& bytes);
// Sends one blob in pieces from where the server stands.
absl::Status UploadLarge(Api* api, const Blob& blob);
// Begins to, and breaks the call off after about `num_bytes`.
absl::Status CutOffUpload(Api* api, const Blob& blob, uint64_t num_bytes);

absl::StatusOr<std::string> Download(Api* api, const std::string& hash);

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_UPLOADS_H_
