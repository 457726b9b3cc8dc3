// The coordinator's disk: a MemoryKvStore that fails as disks fail.
#ifndef URSA_TESTS_SIMULATION_DISK_H_
#define URSA_TESTS_SIMULATION_DISK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/kv_store.h"
#include "storage/memory_kv_store.h"
#include "tests/simulation/world.h"

namespace ursa::sim {

// Survives the coordinator's process. Borrows the world.
class Disk : public KvStore {
 public:
  // Told of each batch when it cannot be lost any more, in order.
  using OnDurable = std::function<void(const WriteBatch& batch)>;

  Disk(World* world, OnDurable on_durable) : world_(*world), on_durable_(std::move(on_durable)) {}

  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const override { return store_.Get(key); }
  absl::StatusOr<std::vector<std::optional<std::string>>> MultiGet(
      const std::vector<std::string>& keys) const override {
    return store_.MultiGet(keys);
  }
  std::unique_ptr<KvIterator> NewIterator(const KeyRange& range) const override { return store_.NewIterator(range); }
  absl::StatusOr<std::optional<std::string>> LastKey(const KeyRange& range) const override {
    return store_.LastKey(range);
  }
  absl::Status Write(const WriteBatch& batch, Durability durability) override;
  std::unique_ptr<SortedLoad> NewSortedLoad() override;
  std::unique_ptr<KvReader> Snapshot() const override { return store_.Snapshot(); }

  // The next write fails; with `reaches_disk` it takes effect all the same.
  void FailNextWrite(bool reaches_disk) { next_failure_ = reaches_disk ? Failure::kTorn : Failure::kFailed; }
  // From now on for so long there is less room than the coordinator's reserve; with `altogether`, none at all.
  void Fill(absl::Duration time, bool altogether);
  int64_t FreeBytes() const;
  bool is_full() const { return full_until_ > world_.now(); }

  // Whether the write that failed last has reached the disk all the same, and it was one of records.
  bool has_torn_records() const { return has_torn_records_; }

  // The process that uses it is dying: nothing that it still writes counts.
  void Freeze() { is_frozen_ = true; }
  // Its process has died, perhaps with the machine: then of what was not synced some writes are forgotten, latest
  // first.
  void Crash();
  // Ends what fails.
  void Heal();

 private:
  enum class Failure { kNone, kFailed, kTorn };

  World& world_;
  const OnDurable on_durable_;
  MemoryKvStore store_;
  std::vector<WriteBatch> unsynced_;  // since the last synced write
  Failure next_failure_ = Failure::kNone;
  absl::Time low_until_ = absl::InfinitePast();
  absl::Time full_until_ = absl::InfinitePast();
  bool has_torn_records_ = false;
  bool is_frozen_ = false;
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_DISK_H_
