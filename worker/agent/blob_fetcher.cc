#include "worker/agent/blob_fetcher.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa {

BlobFetcher::BlobFetcher(CoordinatorLink* link, BlobCache* cache, Clock* clock, const Options& options)
    : link_(link), cache_(cache), clock_(clock), options_(options) {
  for (int i = 0; i < options_.num_streams; ++i) threads_.emplace_back([this, i] { Run(i); });
}

BlobFetcher::~BlobFetcher() {
  Answers answers;
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
    for (auto& [hash, waiters] : waiters_) {
      for (Waiter& waiter : waiters) {
        if (waiter.batch->done)
          answers.emplace_back(std::exchange(waiter.batch->done, nullptr), absl::CancelledError("the agent ends"));
      }
    }
  }
  for (auto& [done, answer] : answers) done(std::move(answer));
  for (std::thread& thread : threads_) thread.join();
}

void BlobFetcher::Fetch(const std::vector<std::string>& hashes, const std::string& owner, Done done) {
  if (hashes.empty()) return done(std::vector<std::string>());
  for (const std::string& hash : hashes) {
    if (!IsDigestHex(hash))
      return done(absl::InvalidArgumentError(absl::StrCat("blob \"", hash, "\": not a SHA-256 hash")));
  }
  auto batch = std::make_shared<Batch>();
  batch->owner = owner;
  batch->paths.resize(hashes.size());
  batch->num_missing = hashes.size();
  batch->done = std::move(done);
  absl::MutexLock lock(&mu_);
  for (size_t i = 0; i < hashes.size(); ++i) {
    auto& waiters = waiters_[hashes[i]];
    if (waiters.empty()) queue_.push_back(hashes[i]);
    waiters.push_back(Waiter{batch, i});
  }
}

void BlobFetcher::Cancel(const std::string& owner) {
  std::vector<Done> cancelled;
  {
    absl::MutexLock lock(&mu_);
    // Waiters stay where they are: an answered batch is skipped when its blobs come.
    for (auto& [hash, waiters] : waiters_) {
      for (Waiter& waiter : waiters) {
        if (waiter.batch->owner == owner && waiter.batch->done)
          cancelled.push_back(std::exchange(waiter.batch->done, nullptr));
      }
    }
  }
  for (Done& done : cancelled) done(absl::CancelledError("the task has ended"));
}

void BlobFetcher::Run(int thread_index) {
  SeededRng rng(absl::ToUnixNanos(clock_->Now()) + thread_index);
  for (;;) {
    std::string hash;
    {
      absl::MutexLock lock(&mu_);
      auto due = [this] { return closing_ || !queue_.empty(); };
      mu_.Await(absl::Condition(&due));
      if (closing_) return;
      hash = std::move(queue_.front());
      queue_.pop_front();
      bool wanted = false;
      for (const Waiter& waiter : waiters_[hash]) wanted |= static_cast<bool>(waiter.batch->done);
      if (!wanted) {
        waiters_.erase(hash);
        continue;
      }
    }
    const std::string owner = absl::StrCat("fetch:", hash);
    Complete(hash, Bring(hash, owner, &rng));
    cache_->Release(owner);
  }
}

absl::Status BlobFetcher::Bring(const std::string& hash, const std::string& owner, Rng* rng) {
  const absl::Status cached = cache_->Pin(hash, owner).status();
  if (!absl::IsNotFound(cached)) return cached;
  absl::Status status = Download(hash, owner, rng);
  // Once more: the network or a coordinator that changed in between may be to blame.
  if (absl::IsDataLoss(status)) status = Download(hash, owner, rng);
  return status;
}

absl::Status BlobFetcher::Download(const std::string& hash, const std::string& owner, Rng* rng) {
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<BlobCache::Writer> writer, cache_->NewWriter());
  Backoff backoff(options_.retry, rng);
  absl::Time give_up = clock_->Now() + options_.away_limit;
  for (;;) {
    const int64_t before = writer->size_bytes();
    const absl::Status status = link_->Download(hash, before, [&writer](std::string_view piece) {
      return piece.empty() ? absl::OkStatus() : writer->Write(piece);
    });
    if (status.ok()) return writer->Commit(owner, hash).status();
    if (!absl::IsUnavailable(status)) return status;
    if (writer->size_bytes() > before) {
      backoff.Reset();
      give_up = clock_->Now() + options_.away_limit;
    }
    const absl::Time now = clock_->Now();
    if (now >= give_up)
      return absl::UnavailableError(absl::StrCat("blob ", hash, ": cannot be fetched for ",
                                                 absl::FormatDuration(options_.away_limit), ", ", status.message()));
    absl::MutexLock lock(&mu_);
    if (clock_->AwaitWithDeadline(&mu_, absl::Condition(&closing_), now + backoff.Next()))
      return absl::CancelledError("the agent ends");
  }
}

void BlobFetcher::Complete(const std::string& hash, const absl::Status& status) {
  Answers answers;
  {
    absl::MutexLock lock(&mu_);
    for (Waiter& waiter : waiters_[hash]) {
      Batch& batch = *waiter.batch;
      if (!batch.done) continue;
      // Under the lock, so that Cancel() is the end of an owner's pins; quick, because the blob is verified by now.
      absl::StatusOr<std::string> path = absl::UnknownError("");
      if (status.ok()) {
        path = cache_->Pin(hash, batch.owner);
      } else {
        path = status;
      }
      if (!path.ok()) {
        answers.emplace_back(std::exchange(batch.done, nullptr), path.status());
        continue;
      }
      batch.paths[waiter.index] = *std::move(path);
      if (--batch.num_missing == 0) answers.emplace_back(std::exchange(batch.done, nullptr), std::move(batch.paths));
    }
    waiters_.erase(hash);
  }
  for (auto& [done, answer] : answers) done(std::move(answer));
}

}  // namespace ursa
