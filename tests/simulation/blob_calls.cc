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
  for (const std::string& hash : hashes) {
    if (all.count(hash) == 0) coordinator->promises().OnBlobTold(hash);
  }
  std::vector<std::string> in_order;
  for (const std::string& hash : hashes) {
    if (all.erase(hash) > 0) in_order.push_back(hash);
  }
  return in_order;
}

void UploadBlob(SimCoordinator* coordinator, const std::string& hash, const std::string& bytes, Done<bool> done) {
  auto hold = coordinator->coordinator().janitor().TryHold({hash}, [=] { UploadBlob(coordinator, hash, bytes, done); });
  if (hold == nullptr) return;
  absl::Status status = CheckDiskSpace(coordinator->coordinator().env().options);
  if (status.ok()) status = coordinator->blobs().PutMany({{hash, bytes}});
  hold = nullptr;
  if (!status.ok()) return done(status);
  coordinator->promises().OnBlobTold(hash);
  done(true);
}

absl::StatusOr<std::string> DownloadBlob(SimCoordinator* coordinator, const std::string& hash) {
  return coordinator->blobs().Read(hash, kBlobBytesMax);
}

}  // namespace ursa::sim
