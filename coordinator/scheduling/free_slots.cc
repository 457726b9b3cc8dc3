#include "coordinator/scheduling/free_slots.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace ursa {
namespace {
constexpr int64_t kRemovedMin = 64;  // removed workers that are not worth an effort
}  // namespace

int32_t FreeSlots::Find(int64_t id) const {
  const auto it = ordinals_.find(id);
  return it == ordinals_.end() ? IndexSet::kNone : it->second;
}

int32_t FreeSlots::FindOrAdd(int64_t id) {
  const int32_t found = Find(id);
  if (found != IndexSet::kNone) return found;
  const bool is_last = workers_.empty() || workers_.back().id < id;
  workers_.emplace_back();
  workers_.back().id = id;
  ordinals_[id] = static_cast<int32_t>(workers_.size()) - 1;
  if (!is_last) Reorder();
  return ordinals_[id];
}

void FreeSlots::Reorder() {
  std::vector<Worker> workers;
  for (Worker& worker : workers_) {
    if (!worker.removed || worker.num_held > 0) workers.push_back(std::move(worker));
  }
  std::sort(workers.begin(), workers.end(), [](const Worker& a, const Worker& b) { return a.id < b.id; });
  workers_ = std::move(workers);
  ordinals_.clear();
  buckets_ = {};
  num_free_ = {};
  capacity_ = {};
  num_usable_workers_ = 0;
  num_removed_ = 0;
  for (size_t i = 0; i < workers_.size(); ++i) {
    const auto ordinal = static_cast<int32_t>(i);
    ordinals_[workers_[i].id] = ordinal;
    num_removed_ += workers_[i].removed ? 1 : 0;
    Count(ordinal, 1);
  }
}

void FreeSlots::Count(int32_t ordinal, int sign) {
  const Worker& worker = workers_[static_cast<size_t>(ordinal)];
  if (!worker.usable) return;
  Buckets& buckets = buckets_[static_cast<size_t>(worker.simd_level)];
  const auto num_free = static_cast<size_t>(worker.num_free);
  if (num_free >= buckets.by_num_free.size()) buckets.by_num_free.resize(num_free + 1);
  if (sign > 0) {
    buckets.by_num_free[num_free].Insert(ordinal);
    buckets.not_empty.Insert(worker.num_free);
  } else {
    buckets.by_num_free[num_free].Erase(ordinal);
    if (buckets.by_num_free[num_free].empty()) buckets.not_empty.Erase(worker.num_free);
  }
  num_usable_workers_ += sign;
  for (int32_t level = 0; level <= worker.simd_level; ++level) {
    num_free_[static_cast<size_t>(level)] += sign * worker.num_free;
    capacity_[static_cast<size_t>(level)] += sign * worker.num_slots;
  }
}

void FreeSlots::SetNumFree(int32_t ordinal, int32_t num_free) {
  Count(ordinal, -1);
  workers_[static_cast<size_t>(ordinal)].num_free = num_free;
  Count(ordinal, 1);
}

void FreeSlots::PutWorker(int64_t id, int32_t simd_level, int32_t num_slots, bool usable) {
  URSA_CHECK(simd_level >= 0 && simd_level < kNumSimdLevels && num_slots >= 0) << id;
  const int32_t ordinal = FindOrAdd(id);
  Count(ordinal, -1);
  Worker& worker = workers_[static_cast<size_t>(ordinal)];
  if (worker.removed) --num_removed_;
  worker.removed = false;
  worker.simd_level = simd_level;
  worker.num_slots = num_slots;
  worker.usable = usable;
  if (worker.holder.size() < static_cast<size_t>(num_slots)) {
    worker.holder.resize(static_cast<size_t>(num_slots), kNobody);
  }
  worker.free.assign((worker.holder.size() + 63) / 64, 0);
  worker.num_free = 0;
  for (size_t slot = 0; slot < static_cast<size_t>(num_slots); ++slot) {
    if (worker.holder[slot] != kNobody) continue;
    worker.free[slot / 64] |= uint64_t{1} << (slot % 64);
    ++worker.num_free;
  }
  Count(ordinal, 1);
}

void FreeSlots::RemoveWorker(int64_t id) {
  const int32_t ordinal = Find(id);
  if (ordinal == IndexSet::kNone) return;
  PutWorker(id, workers_[static_cast<size_t>(ordinal)].simd_level, 0, false);
  workers_[static_cast<size_t>(ordinal)].removed = true;
  if (++num_removed_ > kRemovedMin && num_removed_ * 2 > static_cast<int64_t>(workers_.size())) Reorder();
}

void FreeSlots::Occupy(const RankPlace& place, int32_t holder) {
  URSA_CHECK(place.slot >= 0 && holder >= 0) << "w" << place.worker_id << " slot " << place.slot;
  int32_t ordinal = Find(place.worker_id);
  if (ordinal == IndexSet::kNone) {
    ordinal = FindOrAdd(place.worker_id);
    workers_[static_cast<size_t>(ordinal)].removed = true;
    ++num_removed_;
  }
  Worker& worker = workers_[static_cast<size_t>(ordinal)];
  const auto slot = static_cast<size_t>(place.slot);
  if (worker.holder.size() <= slot) {
    worker.holder.resize(slot + 1, kNobody);
    worker.free.resize(slot / 64 + 1, 0);
  }
  URSA_CHECK(worker.holder[slot] == kNobody) << "w" << place.worker_id << " slot " << slot << " is held twice";
  worker.holder[slot] = holder;
  ++worker.num_held;
  const uint64_t bit = uint64_t{1} << (slot % 64);
  if ((worker.free[slot / 64] & bit) == 0) return;
  worker.free[slot / 64] &= ~bit;
  SetNumFree(ordinal, worker.num_free - 1);
}

void FreeSlots::Release(const std::vector<RankPlace>& places) {
  for (size_t i = 0; i < places.size();) {
    const int64_t worker_id = places[i].worker_id;
    const int32_t ordinal = Find(worker_id);
    URSA_CHECK(ordinal != IndexSet::kNone) << "w" << worker_id;
    Worker& worker = workers_[static_cast<size_t>(ordinal)];
    int32_t num_free = worker.num_free;
    for (; i < places.size() && places[i].worker_id == worker_id; ++i) {
      const auto slot = static_cast<size_t>(places[i].slot);
      URSA_CHECK(slot < worker.holder.size() && worker.holder[slot] != kNobody)
          << "w" << worker_id << " slot " << slot << " is nobody's";
      worker.holder[slot] = kNobody;
      --worker.num_held;
      if (places[i].slot >= worker.num_slots) continue;
      worker.free[slot / 64] |= uint64_t{1} << (slot % 64);
      ++num_free;
    }
    SetNumFree(ordinal, num_free);
  }
}

std::vector<RankPlace> FreeSlots::Take(const SlotRequest& request, int32_t holder) {
  std::vector<RankPlace> places;
  places.reserve(static_cast<size_t>(request.num_ranks));
  if (request.kept_level >= kNumSimdLevels || request.num_ranks <= request.kept_max) {
    Fill(request.simd_level, kNumSimdLevels - 1, request.num_ranks, holder, &places);
    return places;
  }
  int32_t num_below = 0;
  if (request.simd_level < request.kept_level) {
    const int64_t free_below =
        num_free_[static_cast<size_t>(request.simd_level)] - num_free_[static_cast<size_t>(request.kept_level)];
    num_below = static_cast<int32_t>(std::min<int64_t>(request.num_ranks, free_below));
  }
  URSA_CHECK(request.num_ranks - num_below <= request.kept_max) << "slots are kept for another gang";
  Fill(request.simd_level, request.kept_level - 1, num_below, holder, &places);
  Fill(std::max(request.simd_level, request.kept_level), kNumSimdLevels - 1, request.num_ranks - num_below, holder,
       &places);
  return places;
}

FreeSlots::Choice FreeSlots::Choose(int32_t lowest_level, int32_t highest_level, int32_t num_ranks) const {
  Choice tightest;
  Choice largest;
  for (int32_t level = lowest_level; level <= highest_level; ++level) {
    const IndexSet& not_empty = buckets_[static_cast<size_t>(level)].not_empty;
    const int32_t fits = not_empty.NextAtLeast(num_ranks);
    if (fits != IndexSet::kNone && (tightest.num_free == 0 || fits < tightest.num_free)) tightest = {level, fits};
    const int32_t last = not_empty.Last();
    if (last > largest.num_free) largest = {level, last};
  }
  return tightest.num_free > 0 ? tightest : largest;
}

void FreeSlots::Fill(int32_t lowest_level, int32_t highest_level, int32_t num_ranks, int32_t holder,
                     std::vector<RankPlace>* places) {
  while (num_ranks > 0) {
    const Choice choice = Choose(lowest_level, highest_level, num_ranks);
    URSA_CHECK(choice.num_free > 0) << num_ranks << " ranks have no slot";
    const Buckets& buckets = buckets_[static_cast<size_t>(choice.level)];
    const int32_t num_taken = std::min(num_ranks, choice.num_free);
    TakeFrom(buckets.by_num_free[static_cast<size_t>(choice.num_free)].First(), num_taken, holder, places);
    num_ranks -= num_taken;
  }
}

std::optional<RankPlace> FreeSlots::FindOne() const {
  const Choice choice = Choose(0, kNumSimdLevels - 1, 1);
  if (choice.num_free == 0) return std::nullopt;
  const IndexSet& bucket =
      buckets_[static_cast<size_t>(choice.level)].by_num_free[static_cast<size_t>(choice.num_free)];
  const Worker& worker = workers_[static_cast<size_t>(bucket.First())];
  size_t word = 0;
  while (worker.free[word] == 0) ++word;
  return RankPlace{worker.id, static_cast<int32_t>(word * 64) + __builtin_ctzll(worker.free[word])};
}

void FreeSlots::TakeFrom(int32_t ordinal, int32_t num_ranks, int32_t holder, std::vector<RankPlace>* places) {
  Worker& worker = workers_[static_cast<size_t>(ordinal)];
  int32_t num_left = num_ranks;
  for (size_t word = 0; num_left > 0; ++word) {
    for (; worker.free[word] != 0 && num_left > 0; --num_left) {
      const size_t slot = word * 64 + static_cast<size_t>(__builtin_ctzll(worker.free[word]));
      worker.free[word] &= worker.free[word] - 1;
      worker.holder[slot] = holder;
      places->push_back({worker.id, static_cast<int32_t>(slot)});
    }
  }
  worker.num_held += num_ranks;
  SetNumFree(ordinal, worker.num_free - num_ranks);
}

int32_t FreeSlots::UsableLevel(int64_t worker_id) const {
  const int32_t ordinal = Find(worker_id);
  if (ordinal == IndexSet::kNone) return -1;
  const Worker& worker = workers_[static_cast<size_t>(ordinal)];
  return worker.usable ? worker.simd_level : -1;
}

bool FreeSlots::IsHeld(int64_t worker_id) const {
  const int32_t ordinal = Find(worker_id);
  return ordinal != IndexSet::kNone && workers_[static_cast<size_t>(ordinal)].num_held > 0;
}

std::vector<int32_t> FreeSlots::HoldersOf(int64_t worker_id) const {
  std::vector<int32_t> holders;
  const int32_t ordinal = Find(worker_id);
  if (ordinal == IndexSet::kNone) return holders;
  for (const int32_t holder : workers_[static_cast<size_t>(ordinal)].holder) {
    if (holder != kNobody) holders.push_back(holder);
  }
  std::sort(holders.begin(), holders.end());
  holders.erase(std::unique(holders.begin(), holders.end()), holders.end());
  return holders;
}

std::string FreeSlots::DebugExport() const {
  std::string text;
  for (const Worker& worker : workers_) {
    if (worker.removed && worker.num_held == 0) continue;
    absl::StrAppend(&text, "worker w", worker.id, worker.usable ? " usable" : "", " level ", worker.simd_level,
                    " slots ", worker.num_slots, " held ", worker.num_held, " free ", worker.num_free, ":");
    for (size_t slot = 0; slot < worker.free.size() * 64; ++slot) {
      if ((worker.free[slot / 64] >> (slot % 64)) & 1) absl::StrAppend(&text, " ", slot);
    }
    absl::StrAppend(&text, "\n");
  }
  for (size_t level = 0; level < kNumSimdLevels; ++level) {
    absl::StrAppend(&text, "level ", level, " free ", num_free_[level], " of ", capacity_[level]);
    const Buckets& buckets = buckets_[level];
    for (int32_t f = buckets.not_empty.First(); f != IndexSet::kNone; f = buckets.not_empty.NextAtLeast(f + 1)) {
      const IndexSet& bucket = buckets.by_num_free[static_cast<size_t>(f)];
      absl::StrAppend(&text, "; ", f, " free at");
      for (int32_t i = bucket.First(); i != IndexSet::kNone; i = bucket.NextAtLeast(i + 1)) {
        absl::StrAppend(&text, " w", workers_[static_cast<size_t>(i)].id);
      }
    }
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppend(&text, "usable workers ", num_usable_workers_, "\n");
  return text;
}

}  // namespace ursa
