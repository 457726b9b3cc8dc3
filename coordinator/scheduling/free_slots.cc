#include "coordinator/scheduling/free_slots.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"

namespace ursa {
namespace {
constexpr int64_t kRemovedMin = 64;        // removed workers that are not worth an effort
constexpr int64_t kUnusedClassesMax = 32;  // that are kept, as the next gang may ask for them again

// Slots of workers of just these levels become slots of workers of these levels or above.
void AddUp(SlotsByLevel* slots) {
  for (size_t level = kNumSimdLevels - 1; level > 0; --level) (*slots)[level - 1] += (*slots)[level];
}

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
  for (LabelClass& label_class : classes_) label_class.buckets = {};
  num_free_.assign(classes_.size(), {});
  capacity_.assign(classes_.size(), {});
  num_usable_workers_ = 0;
  num_withheld_ = 0;
  num_removed_ = 0;
  for (size_t i = 0; i < workers_.size(); ++i) {
    const auto ordinal = static_cast<int32_t>(i);
    ordinals_[workers_[i].id] = ordinal;
    num_removed_ += workers_[i].removed ? 1 : 0;
    Count(ordinal, 1);
  }
}

bool FreeSlots::IsOf(const Worker& worker, int32_t label_class, int32_t simd_level) {
  return worker.usable && worker.simd_level >= simd_level &&
         std::find(worker.classes.begin(), worker.classes.end(), label_class) != worker.classes.end();
}

void FreeSlots::Buckets::Insert(int32_t num_free, int32_t ordinal) {
  const auto bucket = static_cast<size_t>(num_free);
  if (bucket >= by_num_free.size()) by_num_free.resize(bucket + 1);
  by_num_free[bucket].Insert(ordinal);
  not_empty.Insert(num_free);
}

void FreeSlots::Buckets::Erase(int32_t num_free, int32_t ordinal) {
  IndexSet& bucket = by_num_free[static_cast<size_t>(num_free)];
  bucket.Erase(ordinal);
  if (bucket.empty()) not_empty.Erase(num_free);
}

void FreeSlots::CountIn(int32_t label_class, int32_t ordinal, int sign) {
  const Worker& worker = workers_[static_cast<size_t>(ordinal)];
  Buckets& buckets = mutable_class(label_class).buckets[static_cast<size_t>(worker.simd_level)];
  if (sign > 0) {
    buckets.Insert(worker.num_free, ordinal);
  } else {
    buckets.Erase(worker.num_free, ordinal);
  }
  for (int32_t level = 0; level <= worker.simd_level; ++level) {
    num_free_[static_cast<size_t>(label_class)][static_cast<size_t>(level)] += sign * worker.num_free;
    capacity_[static_cast<size_t>(label_class)][static_cast<size_t>(level)] += sign * worker.num_offered;
  }
}

void FreeSlots::Count(int32_t ordinal, int sign) {
  const Worker& worker = workers_[static_cast<size_t>(ordinal)];
  if (!worker.usable) return;
  for (const int32_t label_class : worker.classes) CountIn(label_class, ordinal, sign);
  num_usable_workers_ += sign;
  num_withheld_ += sign * (worker.num_slots - worker.num_offered);
}

void FreeSlots::AddEntry() {
  classes_.emplace_back();
  num_free_.emplace_back();
  capacity_.emplace_back();
}

int32_t FreeSlots::ClassOf(const std::vector<std::string>& labels) {
  if (labels.empty()) return kNoLabels;
  for (size_t i = 1; i < classes_.size(); ++i) {
    if (classes_[i].labels == labels) return static_cast<int32_t>(i);
  }
  ForgetClasses();
  size_t added = 1;  // an entry that is nobody's has no labels
  while (added < classes_.size() && !classes_[added].labels.empty()) ++added;
  if (added == classes_.size()) AddEntry();
  classes_[added].labels = labels;
  const auto label_class = static_cast<int32_t>(added);
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (!HasLabels(workers_[i].labels, labels)) continue;
    workers_[i].classes.push_back(label_class);
    if (workers_[i].usable) CountIn(label_class, static_cast<int32_t>(i), 1);
  }
  return label_class;
}

int32_t FreeSlots::AddClass(const std::vector<std::string>& labels) {
  const int32_t label_class = ClassOf(labels);
  ++mutable_class(label_class).num_users;
  return label_class;
}

void FreeSlots::ForgetClasses() {
  const auto is_unused = [](const LabelClass& c) { return c.num_users == 0 && !c.labels.empty(); };
  if (std::count_if(classes_.begin() + 1, classes_.end(), is_unused) < kUnusedClassesMax) return;
  for (Worker& worker : workers_) {
    const auto end = std::remove_if(worker.classes.begin(), worker.classes.end(),
                                    [&](int32_t c) { return c != kNoLabels && is_unused(class_of(c)); });
    worker.classes.erase(end, worker.classes.end());
  }
  for (size_t i = 1; i < classes_.size(); ++i) {
    if (!is_unused(classes_[i])) continue;
    classes_[i] = LabelClass();
    num_free_[i] = capacity_[i] = {};
  }
}

void FreeSlots::SetNumFree(int32_t ordinal, int32_t num_free) {
  Worker& worker = workers_[static_cast<size_t>(ordinal)];
  const int32_t old_num_free = worker.num_free;
  worker.num_free = num_free;
  if (!worker.usable || num_free == old_num_free) return;
  for (const int32_t label_class : worker.classes) {
    Buckets& buckets = mutable_class(label_class).buckets[static_cast<size_t>(worker.simd_level)];
    buckets.Erase(old_num_free, ordinal);
    buckets.Insert(num_free, ordinal);
    SlotsByLevel& by_level = num_free_[static_cast<size_t>(label_class)];
    for (int32_t level = 0; level <= worker.simd_level; ++level) {
      by_level[static_cast<size_t>(level)] += num_free - old_num_free;
    }
  }
}

void FreeSlots::SetSlots(const SchedulerWorker& put, Worker* worker) const {
  worker->num_slots = put.num_slots;
  const auto num_slots = static_cast<size_t>(put.num_slots);
  if (worker->holder.size() < num_slots) worker->holder.resize(num_slots, kNobody);
  worker->offered.assign((worker->holder.size() + 63) / 64, 0);
  for (size_t slot = 0; slot < num_slots; ++slot) worker->offered[slot / 64] |= uint64_t{1} << (slot % 64);
  for (const int32_t slot : put.withheld) {
    if (slot < put.num_slots) worker->offered[static_cast<size_t>(slot) / 64] &= ~(uint64_t{1} << (slot % 64));
  }
  worker->free = worker->offered;
  worker->num_offered = worker->num_free = 0;
  for (size_t slot = 0; slot < num_slots; ++slot) {
    if (!IsOffered(*worker, static_cast<int32_t>(slot))) continue;
    ++worker->num_offered;
    if (worker->holder[slot] == kNobody) {
      ++worker->num_free;
    } else {
      worker->free[slot / 64] &= ~(uint64_t{1} << (slot % 64));
    }
  }
}

bool FreeSlots::PutWorker(const SchedulerWorker& put) {
  URSA_CHECK(put.simd_level >= 0 && put.simd_level < kNumSimdLevels && put.num_slots >= 0) << put.id;
  const int32_t ordinal = FindOrAdd(put.id);
  Count(ordinal, -1);
  Worker& worker = workers_[static_cast<size_t>(ordinal)];
  if (worker.removed) --num_removed_;
  worker.removed = false;
  const auto old_offered = worker.offered;
  const bool has_changed = worker.simd_level != put.simd_level || worker.usable != put.usable;
  worker.simd_level = put.simd_level;
  worker.usable = put.usable;
  SetSlots(put, &worker);
  if (worker.labels != put.labels) {
    worker.labels = put.labels;
    worker.classes = {kNoLabels};
    for (size_t i = 1; i < classes_.size(); ++i) {
      const std::vector<std::string>& labels = classes_[i].labels;
      if (!labels.empty() && HasLabels(put.labels, labels)) worker.classes.push_back(static_cast<int32_t>(i));
    }
  }
  Count(ordinal, 1);
  return has_changed || worker.offered != old_offered;
}

void FreeSlots::RemoveWorker(int64_t id) {
  const int32_t ordinal = Find(id);
  if (ordinal == IndexSet::kNone) return;
  SchedulerWorker none;
  none.id = id;
  none.simd_level = workers_[static_cast<size_t>(ordinal)].simd_level;
  PutWorker(none);
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
    worker.offered.resize(slot / 64 + 1, 0);
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
      if (!IsOffered(worker, places[i].slot)) continue;
      worker.free[slot / 64] |= uint64_t{1} << (slot % 64);
      ++num_free;
    }
    SetNumFree(ordinal, num_free);
  }
}

FreeSlots::Taken FreeSlots::Take(const SlotRequest& request, int32_t holder) {
  Taken taken;
  taken.places.reserve(static_cast<size_t>(request.num_ranks));
  if (request.kept_level >= kNumSimdLevels || request.num_ranks <= request.kept_max) {
    Fill(request.label_class, request.simd_level, kNumSimdLevels - 1, request.num_ranks, holder, &taken);
  } else {
    TakeUnkeptFirst(request, holder, &taken);
  }
  AddUp(&taken.gives);
  return taken;
}

void FreeSlots::TakeUnkeptFirst(const SlotRequest& request, int32_t holder, Taken* taken) {
  const int64_t num_unkept =
      num_free(request.label_class)[static_cast<size_t>(request.simd_level)] -
      NumFreeOfBoth(request.label_class, request.simd_level, request.kept_class, request.kept_level);
  const auto num_first = static_cast<int32_t>(std::min<int64_t>(request.num_ranks, num_unkept));
  const int32_t num_rest = request.num_ranks - num_first;
  URSA_CHECK(num_rest <= request.kept_max) << "slots are kept for another gang";
  if (request.label_class == kNoLabels && request.kept_class == kNoLabels) {
    Fill(kNoLabels, request.simd_level, request.kept_level - 1, num_first, holder, taken);
    Fill(kNoLabels, std::max(request.simd_level, request.kept_level), kNumSimdLevels - 1, num_rest, holder, taken);
  } else {
    FillByLook(request, false, num_first, holder, taken);
    FillByLook(request, true, num_rest, holder, taken);
  }
}

FreeSlots::Choice FreeSlots::Choose(const LabelClass& label_class, int32_t lowest_level, int32_t highest_level,
                                    int32_t num_ranks) const {
  Choice tightest;
  Choice largest;
  for (int32_t level = lowest_level; level <= highest_level; ++level) {
    const IndexSet& not_empty = label_class.buckets[static_cast<size_t>(level)].not_empty;
    if (not_empty.empty()) continue;
    const int32_t fits = not_empty.NextAtLeast(num_ranks);
    if (fits != IndexSet::kNone && (tightest.num_free == 0 || fits < tightest.num_free)) tightest = {level, fits};
    if (tightest.num_free > 0) continue;
    const int32_t last = not_empty.Last();
    if (last > largest.num_free) largest = {level, last};
  }
  return tightest.num_free > 0 ? tightest : largest;
}

void FreeSlots::Fill(int32_t label_class, int32_t lowest_level, int32_t highest_level, int32_t num_ranks,
                     int32_t holder, Taken* taken) {
  while (num_ranks > 0) {
    const Choice choice = Choose(class_of(label_class), lowest_level, highest_level, num_ranks);
    URSA_CHECK(choice.num_free > 0) << num_ranks << " ranks have no slot";
    const Buckets& buckets = class_of(label_class).buckets[static_cast<size_t>(choice.level)];
    const int32_t num_taken = std::min(num_ranks, choice.num_free);
    TakeFrom(buckets.by_num_free[static_cast<size_t>(choice.num_free)].First(), num_taken, holder, taken);
    num_ranks -= num_taken;
  }
}

void FreeSlots::FillByLook(const SlotRequest& request, bool is_kept, int32_t num_ranks, int32_t holder, Taken* taken) {
  while (num_ranks > 0) {
    int32_t chosen = IndexSet::kNone;
    // As Choose has it: those that hold all before the others, the tightest of the ones, the largest of the others.
    std::pair<int32_t, int32_t> best;
    for (size_t i = 0; i < workers_.size(); ++i) {
      const Worker& worker = workers_[i];
      if (worker.num_free == 0 || !IsOf(worker, request.label_class, request.simd_level) ||
          IsOf(worker, request.kept_class, request.kept_level) != is_kept) {
        continue;
      }
      const bool holds_all = worker.num_free >= num_ranks;
      const std::pair<int32_t, int32_t> rank(holds_all ? worker.num_free - INT32_MAX : -worker.num_free,
                                             worker.simd_level);
      if (chosen != IndexSet::kNone && !(rank < best)) continue;
      chosen = static_cast<int32_t>(i);
      best = rank;
    }
    URSA_CHECK(chosen != IndexSet::kNone) << num_ranks << " ranks have no slot";
    const int32_t num_taken = std::min(num_ranks, workers_[static_cast<size_t>(chosen)].num_free);
    TakeFrom(chosen, num_taken, holder, taken);
    num_ranks -= num_taken;
  }
}

std::optional<RankPlace> FreeSlots::FindOne() const {
  const LabelClass& all = class_of(kNoLabels);
  const Choice choice = Choose(all, 0, kNumSimdLevels - 1, 1);
  if (choice.num_free == 0) return std::nullopt;
  const IndexSet& bucket =
      all.buckets[static_cast<size_t>(choice.level)].by_num_free[static_cast<size_t>(choice.num_free)];
  const Worker& worker = workers_[static_cast<size_t>(bucket.First())];
  size_t word = 0;
  while (worker.free[word] == 0) ++word;
  return RankPlace{worker.id, static_cast<int32_t>(word * 64) + __builtin_ctzll(worker.free[word])};
}

void FreeSlots::TakeFrom(int32_t ordinal, int32_t num_ranks, int32_t holder, Taken* taken) {
  Worker& worker = workers_[static_cast<size_t>(ordinal)];
  int32_t* const holders = worker.holder.data();
  const int64_t id = worker.id;
  int32_t num_left = num_ranks;
  for (size_t word = 0; num_left > 0; ++word) {
    uint64_t free = worker.free[word];
    for (; free != 0 && num_left > 0; --num_left) {
      const int32_t slot = static_cast<int32_t>(word) * 64 + __builtin_ctzll(free);
      free &= free - 1;
      holders[slot] = holder;
      taken->places.push_back({id, slot});
    }
    worker.free[word] = free;
  }
  taken->gives[static_cast<size_t>(worker.simd_level)] += num_ranks;
  worker.num_held += num_ranks;
  SetNumFree(ordinal, worker.num_free - num_ranks);
}

int64_t FreeSlots::NumFreeOfBoth(int32_t class_a, int32_t level_a, int32_t class_b, int32_t level_b) const {
  const int32_t level = std::max(level_a, level_b);
  if (level >= kNumSimdLevels) return 0;
  if (class_a == class_b || class_a == kNoLabels) return num_free(class_b)[static_cast<size_t>(level)];
  if (class_b == kNoLabels) return num_free(class_a)[static_cast<size_t>(level)];
  int64_t sum = 0;
  for (const Worker& worker : workers_) {
    if (IsOf(worker, class_a, level) && IsOf(worker, class_b, level)) sum += worker.num_free;
  }
  return sum;
}

SlotsByLevel FreeSlots::GivenBack(const std::vector<RankPlace>& places, int32_t label_class) const {
  SlotsByLevel given_back{};
  for (size_t i = 0; i < places.size();) {
    const int64_t worker_id = places[i].worker_id;
    const int32_t ordinal = Find(worker_id);
    const Worker* worker = ordinal == IndexSet::kNone ? nullptr : &workers_[static_cast<size_t>(ordinal)];
    const bool counts = worker != nullptr && IsOf(*worker, label_class, 0);
    for (; i < places.size() && places[i].worker_id == worker_id; ++i) {
      if (counts && IsOffered(*worker, places[i].slot)) ++given_back[static_cast<size_t>(worker->simd_level)];
    }
  }
  AddUp(&given_back);
  return given_back;
}

int64_t FreeSlots::NumWorkersOf(int32_t label_class) const {
  return std::count_if(workers_.begin(), workers_.end(), [label_class](const Worker& worker) {
    return !worker.removed &&
           std::find(worker.classes.begin(), worker.classes.end(), label_class) != worker.classes.end();
  });
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
                    " slots ", worker.num_slots, " offered ", worker.num_offered, " held ", worker.num_held, " free ",
                    worker.num_free, " [", absl::StrJoin(worker.labels, " "), "]:");
    for (size_t slot = 0; slot < worker.free.size() * 64; ++slot) {
      if ((worker.free[slot / 64] >> (slot % 64)) & 1) absl::StrAppend(&text, " ", slot);
    }
    absl::StrAppend(&text, "\n");
  }
  std::map<std::vector<std::string>, int32_t> classes;
  for (size_t i = 0; i < classes_.size(); ++i) {
    if (i == kNoLabels || classes_[i].num_users > 0) classes[classes_[i].labels] = static_cast<int32_t>(i);
  }
  for (const auto& [labels, label_class] : classes) {
    for (size_t level = 0; level < kNumSimdLevels; ++level) {
      absl::StrAppend(&text, "[", absl::StrJoin(labels, " "), "] level ", level, " free ", num_free(label_class)[level],
                      " of ", capacity(label_class)[level]);
      const Buckets& buckets = class_of(label_class).buckets[level];
      for (int32_t f = buckets.not_empty.First(); f != IndexSet::kNone; f = buckets.not_empty.NextAtLeast(f + 1)) {
        const IndexSet& bucket = buckets.by_num_free[static_cast<size_t>(f)];
        absl::StrAppend(&text, "; ", f, " free at");
        for (int32_t i = bucket.First(); i != IndexSet::kNone; i = bucket.NextAtLeast(i + 1)) {
          absl::StrAppend(&text, " w", workers_[static_cast<size_t>(i)].id);
        }
      }
      absl::StrAppend(&text, "\n");
    }
  }
  absl::StrAppend(&text, "usable workers ", num_usable_workers_, " withheld slots ", num_withheld_, "\n");
  return text;
}

}  // namespace ursa
