#include "storage/memory_kv_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

using Map = MemoryKvStore::Map;

bool BeforeEnd(const KeyRange& range, std::string_view key) { return range.end.empty() || key < range.end; }

std::optional<std::string> Find(const Map& map, std::string_view key) {
  const auto found = map.find(key);
  if (found == map.end()) return std::nullopt;
  return *found->second;
}

std::vector<std::optional<std::string>> FindAll(const Map& map, const std::vector<std::string>& keys) {
  std::vector<std::optional<std::string>> values;
  values.reserve(keys.size());
  for (const std::string& key : keys) values.push_back(Find(map, key));
  return values;
}

std::optional<std::string> FindLastKey(const Map& map, const KeyRange& range) {
  auto end = range.end.empty() ? map.end() : map.lower_bound(range.end);
  if (end == map.begin()) return std::nullopt;
  --end;
  if (end->first < range.begin) return std::nullopt;
  return end->first;
}

class MapIterator : public KvIterator {
 public:
  MapIterator(std::shared_ptr<const Map> map, const KeyRange& range) : map_(std::move(map)), range_(range) {
    position_ = map_->lower_bound(range_.begin);
  }

  bool Valid() const override { return position_ != map_->end() && BeforeEnd(range_, position_->first); }
  void Next() override {
    URSA_CHECK(Valid());
    ++position_;
  }
  void Seek(std::string_view key) override {
    position_ = map_->lower_bound(key < range_.begin ? std::string_view(range_.begin) : key);
  }
  std::string_view key() const override { return position_->first; }
  std::string_view value() const override { return *position_->second; }
  absl::Status status() const override { return absl::OkStatus(); }

 private:
  const std::shared_ptr<const Map> map_;
  const KeyRange range_;
  Map::const_iterator position_;
};

class MapView : public KvReader {
 public:
  explicit MapView(std::shared_ptr<const Map> map) : map_(std::move(map)) {}

  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const override { return Find(*map_, key); }
  absl::StatusOr<std::vector<std::optional<std::string>>> MultiGet(
      const std::vector<std::string>& keys) const override {
    return FindAll(*map_, keys);
  }
  std::unique_ptr<KvIterator> NewIterator(const KeyRange& range) const override {
    return std::make_unique<MapIterator>(map_, range);
  }
  absl::StatusOr<std::optional<std::string>> LastKey(const KeyRange& range) const override {
    return FindLastKey(*map_, range);
  }

 private:
  const std::shared_ptr<const Map> map_;
};

}  // namespace

class MemoryKvStore::Load : public SortedLoad {
 public:
  explicit Load(MemoryKvStore* store) : store_(store) {}

  absl::Status Add(std::string_view key, std::string_view value) override {
    if (key.empty() || (!batch_.empty() && key <= last_key_)) {
      return absl::InvalidArgumentError("sorted load: keys must be given in strictly ascending order");
    }
    last_key_ = std::string(key);
    batch_.Put(std::string(key), std::string(value));
    return absl::OkStatus();
  }

  absl::Status Commit() override {
    URSA_CHECK(!committed_) << "a load may be committed once";
    committed_ = true;
    return batch_.empty() ? absl::OkStatus() : store_->CommitLoad(std::move(batch_));
  }

 private:
  MemoryKvStore* const store_;
  WriteBatch batch_;
  std::string last_key_;
  bool committed_ = false;
};

MemoryKvStore::MemoryKvStore() : current_(std::make_shared<Shared>()) {}

MemoryKvStore::~MemoryKvStore() = default;

// Notes in `undo`, if there is one, what was there before.
void MemoryKvStore::ApplyTo(Map* map, const WriteBatch& batch, Undo* undo) {
  const auto erase = [map, undo](Map::iterator begin, Map::iterator end) {
    for (auto it = begin; undo != nullptr && it != end; ++it) undo->emplace_back(it->first, it->second);
    map->erase(begin, end);
  };
  for (const WriteBatch::Operation& operation : batch.operations()) {
    switch (operation.kind) {
      case WriteBatch::Kind::kPut: {
        std::shared_ptr<const std::string>& value = (*map)[operation.first];
        if (undo != nullptr) undo->emplace_back(operation.first, value);
        value = std::make_shared<const std::string>(operation.second);
        break;
      }
      case WriteBatch::Kind::kDelete: {
        const auto range = map->equal_range(operation.first);
        erase(range.first, range.second);
        break;
      }
      case WriteBatch::Kind::kDeleteRange:
        erase(map->lower_bound(operation.first), map->lower_bound(operation.second));
        break;
    }
  }
}

std::shared_ptr<const Map> MemoryKvStore::View() const {
  absl::MutexLock lock(&mu_);
  current_->num_views.fetch_add(1, std::memory_order_relaxed);
  return {&current_->map,
          [shared = current_](const Map*) { shared->num_views.fetch_sub(1, std::memory_order_release); }};
}

absl::StatusOr<std::optional<std::string>> MemoryKvStore::Get(std::string_view key) const {
  absl::MutexLock lock(&mu_);
  return Find(current_->map, key);
}

absl::StatusOr<std::vector<std::optional<std::string>>> MemoryKvStore::MultiGet(
    const std::vector<std::string>& keys) const {
  absl::MutexLock lock(&mu_);
  return FindAll(current_->map, keys);
}

std::unique_ptr<KvIterator> MemoryKvStore::NewIterator(const KeyRange& range) const {
  return std::make_unique<MapIterator>(View(), range);
}

absl::StatusOr<std::optional<std::string>> MemoryKvStore::LastKey(const KeyRange& range) const {
  absl::MutexLock lock(&mu_);
  return FindLastKey(current_->map, range);
}

std::unique_ptr<KvReader> MemoryKvStore::Snapshot() const { return std::make_unique<MapView>(View()); }

std::unique_ptr<SortedLoad> MemoryKvStore::NewSortedLoad() { return std::make_unique<Load>(this); }

absl::Status MemoryKvStore::CheckFaults() {
  if (writes_until_failure_ > 0 && --writes_until_failure_ == 0) return failure_;
  if (disk_full_) return absl::ResourceExhaustedError("memory store: cannot write, no space left on device");
  return absl::OkStatus();
}

Map* MemoryKvStore::MutableCurrent() {
  if (current_->num_views.load(std::memory_order_acquire) > 0) {
    auto copy = std::make_shared<Shared>();
    copy->map = current_->map;
    current_ = std::move(copy);
  }
  return &current_->map;
}

absl::Status MemoryKvStore::Write(const WriteBatch& batch, Durability durability) {
  for (const WriteBatch::Operation& operation : batch.operations()) {
    URSA_CHECK(operation.kind == WriteBatch::Kind::kDeleteRange || !operation.first.empty()) << "empty key";
  }
  absl::MutexLock lock(&mu_);
  URSA_RETURN_IF_ERROR(CheckFaults());
  ++num_writes_;
  if (durability == Durability::kSynced) {
    ApplyTo(MutableCurrent(), batch, nullptr);
    unsynced_.clear();
    ++num_synced_writes_;
  } else {
    unsynced_.push_back({batch, /*durable=*/false, {}});
    ApplyTo(MutableCurrent(), batch, &unsynced_.back().undo);
  }
  return absl::OkStatus();
}

absl::Status MemoryKvStore::CommitLoad(WriteBatch batch) {
  absl::MutexLock lock(&mu_);
  URSA_RETURN_IF_ERROR(CheckFaults());
  ++num_writes_;
  ++num_synced_writes_;
  // In its place among the buffered writes: what a crash keeps of these must not come over a newer load.
  unsynced_.push_back({std::move(batch), /*durable=*/true, {}});
  ApplyTo(MutableCurrent(), unsynced_.back().batch, &unsynced_.back().undo);
  return absl::OkStatus();
}

void MemoryKvStore::Crash(size_t num_kept) {
  absl::MutexLock lock(&mu_);
  if (unsynced_.empty()) return;
  Map* const map = MutableCurrent();
  for (auto entry = unsynced_.rbegin(); entry != unsynced_.rend(); ++entry) {
    for (auto before = entry->undo.rbegin(); before != entry->undo.rend(); ++before) {
      if (before->second == nullptr) {
        map->erase(before->first);
      } else {
        (*map)[before->first] = before->second;
      }
    }
  }
  for (const Entry& entry : unsynced_) {
    if (!entry.durable && num_kept == 0) continue;
    if (!entry.durable) --num_kept;
    ApplyTo(map, entry.batch, nullptr);
  }
  unsynced_.clear();
}

void MemoryKvStore::FailNthWrite(int64_t n, absl::Status status) {
  URSA_CHECK(n > 0 && !status.ok());
  absl::MutexLock lock(&mu_);
  writes_until_failure_ = n;
  failure_ = std::move(status);
}

void MemoryKvStore::SetDiskFull(bool full) {
  absl::MutexLock lock(&mu_);
  disk_full_ = full;
}

int64_t MemoryKvStore::num_writes() const {
  absl::MutexLock lock(&mu_);
  return num_writes_;
}

int64_t MemoryKvStore::num_synced_writes() const {
  absl::MutexLock lock(&mu_);
  return num_synced_writes_;
}

}  // namespace ursa
