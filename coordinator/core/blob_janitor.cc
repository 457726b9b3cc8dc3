#include "coordinator/core/blob_janitor.h"

#include <utility>

#include "base/log.h"
#include "base/planted_bug.h"
#include "storage/blob_store.h"

namespace ursa {
namespace {
constexpr size_t kDeletionsMax = 100;  // at a time
}  // namespace

void BlobJanitor::Mark(Tx& tx, const std::set<std::string>& hashes) const {
  Mutation mutation;
  for (const std::string& hash : hashes) {
    if (tx.state().NumReferences(hash) > 0) continue;
    records::GarbageRecord record;
    record.set_hash(hash);
    *record.mutable_time() = ToTimestamp(env_.clock->Now());
    mutation.Put(std::move(record));
  }
  tx.Apply(std::move(mutation));
}

void BlobJanitor::Touch(Tx& tx, const std::vector<std::string>& hashes) {
  for (const std::string& hash : hashes) {
    if (tx.state().Find<records::GarbageRecord>(hash) != nullptr) touched_[hash] = env_.clock->Now();
  }
}

void BlobJanitor::Restore(Tx&) {
  last_tick_ = env_.clock->Now();
  if (!URSA_PLANTED_BUG(delete_at_start)) begin_ = last_tick_ + env_.options.garbage_age;
}

BlobJanitor::Hold::~Hold() {
  Tx tx(janitor_.env_.commit);
  for (const std::string& hash : hashes_) {
    const auto it = janitor_.holds_.find(hash);
    if (--it->second == 0) janitor_.holds_.erase(it);
  }
  janitor_.Touch(tx, hashes_);
}

std::unique_ptr<BlobJanitor::Hold> BlobJanitor::TryHold(std::vector<std::string> hashes, std::function<void()> again) {
  Tx tx(env_.commit);
  for (const std::string& hash : hashes) {
    if (!IsDeleting(hash) || URSA_PLANTED_BUG(store_what_is_deleted)) continue;
    waiters_.push_back(std::move(again));
    return nullptr;
  }
  for (const std::string& hash : hashes) ++holds_[hash];
  return std::unique_ptr<Hold>(new Hold(this, std::move(hashes)));
}

void BlobJanitor::Tick(Tx& tx) {
  const absl::Time now = env_.clock->Now();
  // This process stood still: what agents brought before that, they may only now come to name.
  if (now - std::exchange(last_tick_, now) > env_.options.garbage_age / 4) begin_ = now + env_.options.garbage_age;
  if (!deleting_.empty() || now < begin_) return;
  const absl::Time due = now - env_.options.garbage_age;
  std::vector<std::string> hashes;
  Mutation mutation;
  for (const auto& [hash, record] : tx.state().All<records::GarbageRecord>()) {
    if (hashes.size() == kDeletionsMax) break;
    const auto touched = touched_.find(hash);
    if (FromTimestamp(record.time()) > due || (touched != touched_.end() && touched->second > due)) continue;
    if (holds_.count(hash) > 0) continue;
    if (touched != touched_.end()) touched_.erase(touched);
    if (tx.state().NumReferences(hash) > 0 && !URSA_PLANTED_BUG(delete_what_is_needed)) {
      mutation.Delete<records::GarbageRecord>(hash);
    } else {
      hashes.push_back(hash);
    }
  }
  tx.Apply(std::move(mutation));
  if (hashes.empty()) return;
  deleting_.insert(hashes.begin(), hashes.end());
  // Only when the state without references is durable: a crash must not leave references to deleted blobs.
  tx.AfterDurable([this, hashes = std::move(hashes)]() mutable {
    env_.executor->Run([this, hashes = std::move(hashes)] {
      const auto num_bytes = env_.blobs->Delete(hashes);
      if (!num_bytes.ok())
        URSA_LOG(WARNING) << "blobs: could not delete " << hashes.size() << ": " << num_bytes.status();
      Tx done(env_.commit);
      deleting_.clear();
      for (std::function<void()>& again : std::exchange(waiters_, {})) env_.executor->Run(std::move(again));
      if (!num_bytes.ok()) return;
      Mutation forget;
      for (const std::string& hash : hashes) forget.Delete<records::GarbageRecord>(hash);
      done.Apply(std::move(forget));
    });
  });
}

}  // namespace ursa
