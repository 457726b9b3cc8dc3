// Brings blobs from the coordinator into the cache.
#ifndef URSA_WORKER_AGENT_BLOB_FETCHER_H_
#define URSA_WORKER_AGENT_BLOB_FETCHER_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "worker/agent/blob_cache.h"
#include "worker/agent/coordinator_link.h"

namespace ursa {

// Downloads at most `num_streams` blobs at a time, each blob once however many ask for it; goes on where a broken
// download stopped. Borrows its parts. Safe for use by many threads. Destruction answers all that wait with CANCELLED;
// the link must be stopped before.
class BlobFetcher {
 public:
  struct Options {
    int num_streams = 4;
    absl::Duration away_limit = absl::Minutes(5);  // a coordinator may be away for so long
    Backoff::Options retry;
  };
  // Paths in the order asked; called once, from a thread of the fetcher or of whoever cancels.
  using Done = std::function<void(absl::StatusOr<std::vector<std::string>> paths)>;

  BlobFetcher(CoordinatorLink* link, BlobCache* cache, Clock* clock, const Options& options);
  ~BlobFetcher();
  BlobFetcher(const BlobFetcher&) = delete;
  BlobFetcher& operator=(const BlobFetcher&) = delete;

  // Pins the blobs for `owner`, downloading those that the cache lacks. The first error is the answer: those of
  // BlobCache and of CoordinatorLink::Download; DATA_LOSS when what came has another hash.
  void Fetch(const std::vector<std::string>& hashes, const std::string& owner, Done done);

  // Answers what `owner` waits for with CANCELLED; afterwards nothing more is pinned for it.
  void Cancel(const std::string& owner);

 private:
  struct Batch {
    std::string owner;
    std::vector<std::string> paths;
    size_t num_missing = 0;
    Done done;  // empty once answered
  };
  struct Waiter {
    std::shared_ptr<Batch> batch;
    size_t index = 0;  // in batch->paths
  };
  using Answers = std::vector<std::pair<Done, absl::StatusOr<std::vector<std::string>>>>;

  void Run(int thread_index);
  absl::Status Bring(const std::string& hash, const std::string& owner, Rng* rng);
  absl::Status Download(const std::string& hash, const std::string& owner, Rng* rng);
  // Serves all that wait for the blob.
  void Complete(const std::string& hash, const absl::Status& status);

  CoordinatorLink* const link_;
  BlobCache* const cache_;
  Clock* const clock_;
  const Options options_;

  absl::Mutex mu_;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<std::string> queue_ ABSL_GUARDED_BY(mu_);                       // hashes not begun
  std::map<std::string, std::vector<Waiter>> waiters_ ABSL_GUARDED_BY(mu_);  // by hash, begun or not

  std::vector<std::thread> threads_;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_BLOB_FETCHER_H_
