#include "tests/simulation/blob_calls.h"

#include <set>

#include "base/status_macros.h"

namespace ursa::sim {
namespace {

constexpr uint64_t kBlobBytesMax = uint64_t{1} << 20;

}  // namespace

absl::StatusOr<std::vector<std::string>> FindMissingBlobs(SimCoordinator* coordinator,
                                                          const std::vector<std::string>& hashes) {
  BlobJanitor& janitor = coordinator->coordinator().janitor();
  std::set<std::string> all;
  {
    Tx tx(coordinator->coordinator().env().commit);
    janitor.Touch(tx, hashes);
    for (const std::string& hash : hashes) {
      if (janitor.IsDeleting(hash)) all.insert(hash);
    }
  }
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> missing, coordinator->blobs().FindMissing(hashes));
  all.insert(missing.begin(), missing.end());
  std::vector<std::string> in_order;
  for (const std::string& hash : hashes) {
    if (all.erase(hash) > 0) in_order.push_back(hash);
  }
  return in_order;
}

absl::Status UploadBlob(SimCoordinator* coordinator, const std::string& hash, const std::string& bytes) {
  {
    Tx tx(coordinator->coordinator().env().commit);
    coordinator->coordinator().janitor().Touch(tx, {hash});
  }
  URSA_RETURN_IF_ERROR(CheckDiskSpace(coordinator->coordinator().env().options));
  return coordinator->blobs().PutMany({{hash, bytes}});
}

absl::StatusOr<std::string> DownloadBlob(SimCoordinator* coordinator, const std::string& hash) {
  return coordinator->blobs().Read(hash, kBlobBytesMax);
}

}  // namespace ursa::sim
