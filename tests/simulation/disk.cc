#include "tests/simulation/disk.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/keys.h"

namespace ursa::sim {
namespace {

constexpr int64_t kPlenty = int64_t{1} << 40;

// No blob in a simulation is large enough for a bulk load.
class NoLoad : public SortedLoad {
 public:
  absl::Status Add(std::string_view, std::string_view) override { return Commit(); }
  absl::Status Commit() override { return absl::InternalError("simulated disk: takes no bulk loads"); }
};

}  // namespace

absl::Status Disk::Write(const WriteBatch& batch, Durability durability) {
  has_torn_records_ = false;
  if (is_frozen_) return absl::UnknownError("simulated disk: its process is dying");
  if (is_full()) {
    world_.Count(Fault::kWriteRefused);
    return absl::ResourceExhaustedError("simulated disk: no space left on device");
  }
  const Failure failure = std::exchange(next_failure_, Failure::kNone);
  if (failure == Failure::kFailed) {
    world_.Count(Fault::kWriteFailed);
    world_.Trace("write fails");
    return absl::UnknownError("simulated disk: input/output error");
  }
  const absl::Status status = store_.Write(batch, durability);
  if (!status.ok()) return status;
  if (durability == Durability::kBuffered) {
    unsynced_.push_back(batch);
  } else {
    for (const WriteBatch& earlier : unsynced_) on_durable_(earlier);
    unsynced_.clear();
    on_durable_(batch);
  }
  world_.Trace(durability == Durability::kBuffered ? "write" : "synced write",
               static_cast<int64_t>(batch.operations().size()), static_cast<int64_t>(batch.num_bytes()));
  if (failure == Failure::kNone) return absl::OkStatus();
  world_.Count(Fault::kWriteTorn);
  world_.Trace("write torn");
  // Commit adds its own record last.
  has_torn_records_ = !batch.operations().empty() && batch.operations().back().first == RecordKey("meta", "commit");
  return absl::UnknownError("simulated disk: input/output error after the write");
}

std::unique_ptr<SortedLoad> Disk::NewSortedLoad() { return std::make_unique<NoLoad>(); }

void Disk::Fill(absl::Duration time, bool altogether) {
  world_.Count(Fault::kDiskFull);
  world_.Trace("disk full", absl::ToInt64Milliseconds(time), altogether ? 1 : 0);
  low_until_ = std::max(low_until_, world_.now() + time);
  if (altogether) full_until_ = std::max(full_until_, world_.now() + time);
}

int64_t Disk::FreeBytes() const { return low_until_ > world_.now() ? 0 : kPlenty; }

void Disk::Crash() {
  is_frozen_ = false;
  next_failure_ = Failure::kNone;
  const auto num_unsynced = static_cast<int64_t>(unsynced_.size());
  const int64_t num_kept = world_.Chance(0.5) ? num_unsynced : world_.Between(0, num_unsynced);
  world_.Count(Fault::kWriteForgotten, num_unsynced - num_kept);
  store_.Crash(static_cast<size_t>(num_kept));
  for (int64_t i = 0; i < num_kept; ++i) on_durable_(unsynced_[static_cast<size_t>(i)]);
  unsynced_.clear();
}

void Disk::Heal() {
  next_failure_ = Failure::kNone;
  low_until_ = full_until_ = world_.now();
}

}  // namespace ursa::sim
