// The fake KvStore: a map in memory that can crash, fail and be full.
#ifndef URSA_STORAGE_MEMORY_KV_STORE_H_
#define URSA_STORAGE_MEMORY_KV_STORE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/kv_store.h"

namespace ursa {

// For tests and simulation: deterministic, no threads of its own. Views are copy-on-write maps: a write while there
// are snapshots or iterators copies the map (not the values), so this is for small stores. Thread-safe.
// Snapshots, iterators and loads keep their view after Crash().
class MemoryKvStore : public KvStore {
 public:
  MemoryKvStore();
  ~MemoryKvStore() override;

  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const override;
  absl::StatusOr<std::vector<std::optional<std::string>>> MultiGet(const std::vector<std::string>& keys) const override;
  std::unique_ptr<KvIterator> NewIterator(const KeyRange& range) const override;
  absl::StatusOr<std::optional<std::string>> LastKey(const KeyRange& range) const override;
  absl::Status Write(const WriteBatch& batch, Durability durability) override;
  std::unique_ptr<SortedLoad> NewSortedLoad() override;
  std::unique_ptr<KvReader> Snapshot() const override;

  // Power failure: the store forgets the buffered writes after the last synced one, except the oldest `num_kept` of
  // them (a disk may have kept some, never out of order). Committed bulk loads stay.
  void Crash(size_t num_kept = 0);

  // The `n`-th write or load commit from now (1 = the next) fails with `status`, once, and changes nothing.
  void FailNthWrite(int64_t n, absl::Status status);

  // While full, every write and load commit fails with RESOURCE_EXHAUSTED and changes nothing.
  void SetDiskFull(bool full);

  // Writes and load commits that took effect, of all durabilities and synced alone.
  int64_t num_writes() const;
  int64_t num_synced_writes() const;

  // Values are shared between views and never change.
  using Map = std::map<std::string, std::shared_ptr<const std::string>, std::less<>>;

 private:
  class Load;
  // What a key had before a write; null: nothing.
  using Undo = std::vector<std::pair<std::string, std::shared_ptr<const std::string>>>;
  struct Entry {
    WriteBatch batch;
    bool durable;  // a bulk load: survives a crash although older buffered writes may not
    Undo undo;     // oldest first
  };

  // A map that does not change while it has views.
  struct Shared {
    Map map;
    std::atomic<int64_t> num_views = 0;
  };

  static void ApplyTo(Map* map, const WriteBatch& batch, Undo* undo);
  absl::Status CommitLoad(WriteBatch batch);
  absl::Status CheckFaults() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::shared_ptr<const Map> View() const;
  // The current map, copied first if views share it.
  Map* MutableCurrent() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  std::shared_ptr<Shared> current_ ABSL_GUARDED_BY(mu_);
  std::vector<Entry> unsynced_ ABSL_GUARDED_BY(mu_);  // since the last synced write, in order: a crash undoes them
  int64_t writes_until_failure_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  bool disk_full_ ABSL_GUARDED_BY(mu_) = false;
  int64_t num_writes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t num_synced_writes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace ursa

#endif  // URSA_STORAGE_MEMORY_KV_STORE_H_
