#include "coordinator/core/blob_janitor.h"

#include <utility>

#include "base/log.h"
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

void BlobJanitor::Tick(Tx& tx) {
  if (!deleting_.empty()) return;
  const absl::Time due = env_.clock->Now() - env_.options.garbage_age;
  std::vector<std::string> hashes;
  Mutation mutation;
  for (const auto& [hash, record] : tx.state().All<records::GarbageRecord>()) {
    if (hashes.size() == kDeletionsMax) break;
    const auto touched = touched_.find(hash);
    if (FromTimestamp(record.time()) > due || (touched != touched_.end() && touched->second > due)) continue;
    if (touched != touched_.end()) touched_.erase(touched);
    if (tx.state().NumReferences(hash) > 0) {
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
      if (!num_bytes.ok()) return;
      Mutation forget;
      for (const std::string& hash : hashes) forget.Delete<records::GarbageRecord>(hash);
      done.Apply(std::move(forget));
    });
  });
}

}  // namespace ursa
