// Brings blobs that events name from the cache to the coordinator.
#ifndef URSA_WORKER_AGENT_BLOB_UPLOADER_H_
#define URSA_WORKER_AGENT_BLOB_UPLOADER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "worker/agent/blob_cache.h"
#include "worker/agent/coordinator_link.h"

namespace ursa {

// Uploads what the coordinator lacks, one event's blobs after the other, and tries until it has them: a coordinator
// that is away or whose disk is full may come back. Borrows its parts. Safe for use by many threads. Destruction ends
// the thread; the link must be stopped before.
class BlobUploader {
 public:
  struct Options {
    Backoff::Options retry;
    int data_losses_max = 3;  // in a row; then the file itself is to blame
  };
  // OK: all blobs are durable there. INVALID_ARGUMENT, DATA_LOSS, NOT_FOUND (a blob left the cache): trying again would
  // be in vain. Called from the uploader's thread, once per upload that was not cancelled.
  using Done = std::function<void(int64_t event_id, const absl::Status& status)>;

  BlobUploader(CoordinatorLink* link, BlobCache* cache, Clock* clock, const Options& options, Done done);
  ~BlobUploader();
  BlobUploader(const BlobUploader&) = delete;
  BlobUploader& operator=(const BlobUploader&) = delete;

  // The blobs must be pinned in the cache until they are uploaded or cancelled.
  void Upload(int64_t event_id, std::vector<std::string> hashes);

  // The upload is not needed any more. One that runs may still go on to its end.
  void Cancel(int64_t event_id);

 private:
  struct Job {
    int64_t event_id = 0;
    std::vector<std::string> hashes;
  };

  void Run();
  absl::Status UploadOnce(const Job& job);
  bool IsWanted(int64_t event_id);

  CoordinatorLink* const link_;
  BlobCache* const cache_;
  Clock* const clock_;
  const Options options_;
  const Done done_;

  absl::Mutex mu_;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Job> queue_ ABSL_GUARDED_BY(mu_);
  std::set<int64_t> wanted_ ABSL_GUARDED_BY(mu_);  // event ids, queued or running

  std::thread thread_;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_BLOB_UPLOADER_H_
