// What BlobService does with a call, without its streams: bytes are small here.
#ifndef URSA_TESTS_SIMULATION_BLOB_CALLS_H_
#define URSA_TESTS_SIMULATION_BLOB_CALLS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/simulation/sim_coordinator.h"

namespace ursa::sim {

// Requires coordinator->is_up(). As coordinator/services/blob_service.cc, step by step.
absl::StatusOr<std::vector<std::string>> FindMissingBlobs(SimCoordinator* coordinator,
                                                          const std::vector<std::string>& hashes);
void UploadBlob(SimCoordinator* coordinator, const std::string& hash, const std::string& bytes, Done<bool> done);
absl::StatusOr<std::string> DownloadBlob(SimCoordinator* coordinator, const std::string& hash);

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_BLOB_CALLS_H_
