// The part of the zip format that torch.save writes: stored members, zip64 allowed.
#ifndef URSA_WORKER_NN_ZIP_READER_H_
#define URSA_WORKER_NN_ZIP_READER_H_

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ursa {

// Whether `bytes` start as a zip file does.
bool LooksLikeZip(std::string_view bytes);

// Member names and contents; views into `bytes`. Checks the directory, bounds and checksums. DATA_LOSS when damaged,
// INVALID_ARGUMENT for what torch.save does not write (compression, encryption, repeated names).
absl::StatusOr<std::map<std::string, std::string_view>> ReadStoredZip(std::string_view bytes);

}  // namespace ursa

#endif  // URSA_WORKER_NN_ZIP_READER_H_
