#include "worker/agent/blob_uploader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/agent/failpoints.h"

namespace ursa {

BlobUploader::BlobUploader(CoordinatorLink* link, BlobCache* cache, Clock* clock, const Options& options, Done done)
    : link_(link), cache_(cache), clock_(clock), options_(options), done_(std::move(done)) {
  thread_ = std::thread([this] { Run(); });
}

BlobUploader::~BlobUploader() {
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
  }
  thread_.join();
}

void BlobUploader::Upload(int64_t event_id, std::vector<std::string> hashes) {
  absl::MutexLock lock(&mu_);
  wanted_.insert(event_id);
  queue_.push_back(Job{event_id, std::move(hashes)});
}

void BlobUploader::Cancel(int64_t event_id) {
  absl::MutexLock lock(&mu_);
  wanted_.erase(event_id);
}

bool BlobUploader::IsWanted(int64_t event_id) {
  absl::MutexLock lock(&mu_);
  return wanted_.count(event_id) > 0;
}

void BlobUploader::Run() {
  SeededRng rng(absl::ToUnixNanos(clock_->Now()));
  for (;;) {
    Job job;
    {
      absl::MutexLock lock(&mu_);
      auto due = [this] { return closing_ || !queue_.empty(); };
      mu_.Await(absl::Condition(&due));
      if (closing_) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    Backoff backoff(options_.retry, &rng);
    absl::StatusCode last_code = absl::StatusCode::kOk;
    int num_data_losses = 0;
    while (IsWanted(job.event_id)) {
      const absl::Status status = UploadOnce(job);
      num_data_losses = absl::IsDataLoss(status) ? num_data_losses + 1 : 0;
      const bool final = status.ok() || absl::IsInvalidArgument(status) || absl::IsNotFound(status) ||
                         num_data_losses >= options_.data_losses_max;
      if (final) {
        absl::ReleasableMutexLock lock(&mu_);
        const bool wanted = wanted_.erase(job.event_id) > 0;
        lock.Release();
        if (!status.ok()) URSA_LOG(ERROR) << "upload event=" << job.event_id << " given up: " << status;
        if (wanted) done_(job.event_id, status);
        break;
      }
      // Each new kind of trouble is said once.
      if (std::exchange(last_code, status.code()) != status.code())
        URSA_LOG(WARNING) << "upload event=" << job.event_id << " will be tried again: " << status;
      absl::MutexLock lock(&mu_);
      if (clock_->AwaitWithDeadline(&mu_, absl::Condition(&closing_), clock_->Now() + backoff.Next())) return;
    }
  }
}

absl::Status BlobUploader::UploadOnce(const Job& job) {
  URSA_RETURN_IF_ERROR(failpoints::upload_before.Pass());
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> missing, link_->FindMissing(job.hashes));
  const std::string owner = absl::StrCat("upload:", job.event_id);
  for (const std::string& hash : missing) {
    absl::StatusOr<std::string> path = cache_->Pin(hash, owner);
    const absl::Status status = path.ok() ? link_->Upload(hash, *path) : path.status();
    cache_->Release(owner);
    URSA_RETURN_IF_ERROR(status);
  }
  failpoints::upload_done.Pass();
  return absl::OkStatus();
}

}  // namespace ursa
