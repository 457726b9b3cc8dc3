// Which slots of a pool's workers are free, so indexed that placing a gang does not look at every worker.
#ifndef URSA_COORDINATOR_SCHEDULING_FREE_SLOTS_H_
#define URSA_COORDINATOR_SCHEDULING_FREE_SLOTS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "coordinator/scheduling/gang.h"
#include "coordinator/scheduling/index_set.h"

namespace ursa {

struct SlotRequest {
  int32_t num_ranks = 1;
  int32_t simd_level = 0;  // of the workers, at least
  int32_t label_class = kNoLabels;
  // On workers of this class, and of this level or above, at most so many slots may be taken; others wait for those
  // (backfill).
  int32_t kept_class = kNoLabels;
  int32_t kept_level = kNumSimdLevels;
  int64_t kept_max = 0;
};

// The workers of one pool, and who holds each of their slots. A value; kept by deltas: each costs a few instructions,
// whatever the number of workers; times the label classes that a worker is of, if there are any. What it chooses
// depends on its content only, not on the order of the deltas.
class FreeSlots {
 public:
  static constexpr int32_t kNobody = -1;

  // What a request got.
  struct Taken {
    std::vector<RankPlace> places;
    SlotsByLevel gives{};  // what GivenBack says of them, of workers whatever their labels
  };

  FreeSlots() { AddEntry(); }

  // Adds a worker or changes one; who holds its slots stays. Returns whether what comes back with them has changed.
  bool PutWorker(const SchedulerWorker& worker);
  // Slots that are still held come back with the worker.
  void RemoveWorker(int64_t id);

  // The class of gangs that ask for these labels; to be dropped as often as it was added. Costs a look at every worker
  // when nobody had asked for them lately.
  int32_t AddClass(const std::vector<std::string>& labels);
  void DropClass(int32_t label_class) { --mutable_class(label_class).num_users; }
  const std::vector<std::string>& LabelsOf(int32_t label_class) const { return class_of(label_class).labels; }

  // `holder` >= 0 says who it is. The slot must be nobody's; the worker may be unknown.
  void Occupy(const RankPlace& place, int32_t holder);
  // Slots that are held; those of one worker should stand together.
  void Release(const std::vector<RankPlace>& places);

  // Chooses free slots of usable workers and gives them to `holder`. The fewest workers: those with the most free slots
  // whole, and for the last ranks the worker with the fewest free slots that holds them; among equal ones the lowest
  // SIMD level, then the lowest id. Ranks of one worker stand together. The request must fit (num_free). With labels
  // and something kept at a time it looks at every worker.
  Taken Take(const SlotRequest& request, int32_t holder);
  // The slot that a request for one would get; nothing if none is free.
  std::optional<RankPlace> FindOne() const;

  // Slots of usable workers of that class; what is withheld is left out.
  const SlotsByLevel& num_free(int32_t label_class = kNoLabels) const {
    return num_free_[static_cast<size_t>(label_class)];
  }
  const SlotsByLevel& capacity(int32_t label_class = kNoLabels) const {
    return capacity_[static_cast<size_t>(label_class)];
  }
  const SlotsByClass& free_by_class() const { return num_free_; }
  const SlotsByClass& capacity_by_class() const { return capacity_; }
  // What is free of both at a time. Looks at every worker if both have labels, and not the same.
  int64_t NumFreeOfBoth(int32_t class_a, int32_t level_a, int32_t class_b, int32_t level_b) const;
  // What usable workers of that class get back when these places are given back; those of one worker stand together.
  SlotsByLevel GivenBack(const std::vector<RankPlace>& places, int32_t label_class) const;
  int64_t num_usable_workers() const { return num_usable_workers_; }
  int64_t num_withheld() const { return num_withheld_; }  // slots of usable workers
  int64_t num_workers() const { return static_cast<int64_t>(workers_.size()) - num_removed_; }
  int64_t NumWorkersOf(int32_t label_class) const;  // usable or not

  bool IsHeld(int64_t worker_id) const;  // whether anybody holds a slot of it
  // Who holds slots of the worker, each once.
  std::vector<int32_t> HoldersOf(int64_t worker_id) const;

  // Everything, as text in a fixed order, one line for each worker.
  std::string DebugExport() const;

 private:
  // First what changes when slots are taken and given back, so that it stands together.
  struct Worker {
    int64_t id = 0;
    int32_t simd_level = 0;
    int32_t num_free = 0;  // bits of `free`
    int32_t num_held = 0;  // of all slots, also of those above num_slots
    bool usable = false;
    bool removed = false;
    absl::InlinedVector<uint64_t, 1> free;                  // bit by slot: offered, and nobody's
    absl::InlinedVector<int32_t, 2> classes = {kNoLabels};  // that have a gang asking for labels which it has
    absl::InlinedVector<int32_t, 8> holder;                 // by slot
    absl::InlinedVector<uint64_t, 1> offered;               // bit by slot: below num_slots and not withheld
    int32_t num_slots = 0;
    int32_t num_offered = 0;  // of these
    std::vector<std::string> labels;
  };
  // Workers by number of free slots. Ordinals, that is in order of ids.
  struct Buckets {
    IndexSet not_empty;
    std::vector<IndexSet> by_num_free;

    void Insert(int32_t num_free, int32_t ordinal);
    void Erase(int32_t num_free, int32_t ordinal);
  };
  // The usable workers that have these labels.
  struct LabelClass {
    std::vector<std::string> labels;
    int64_t num_users = 0;
    std::array<Buckets, kNumSimdLevels> buckets;  // of those of just that level
  };

  LabelClass& mutable_class(int32_t label_class) { return classes_[static_cast<size_t>(label_class)]; }
  const LabelClass& class_of(int32_t label_class) const { return classes_[static_cast<size_t>(label_class)]; }
  static bool IsOffered(const Worker& worker, int32_t slot) {
    const auto word = static_cast<size_t>(slot) / 64;
    return word < worker.offered.size() && ((worker.offered[word] >> (slot % 64)) & 1) != 0;
  }
  static bool IsOf(const Worker& worker, int32_t label_class, int32_t simd_level);

  int32_t Find(int64_t id) const;
  int32_t FindOrAdd(int64_t id);
  // Puts the workers in order of their ids again and drops removed ones.
  void Reorder();
  void SetSlots(const SchedulerWorker& put, Worker* worker) const;
  // Adds what the worker means for buckets and sums (sign 1) or takes it away (sign -1): of one class, or of all.
  void CountIn(int32_t label_class, int32_t ordinal, int sign);
  void Count(int32_t ordinal, int sign);
  // An entry for one more class.
  void AddEntry();
  // The classes that nobody asks for any more.
  void ForgetClasses();
  int32_t ClassOf(const std::vector<std::string>& labels);
  void SetNumFree(int32_t ordinal, int32_t num_free);
  // The bucket for so many ranks on workers of these levels: the tightest that holds them all, else the largest.
  struct Choice {
    int32_t level = 0;
    int32_t num_free = 0;  // 0: none is free
  };
  Choice Choose(const LabelClass& label_class, int32_t lowest_level, int32_t highest_level, int32_t num_ranks) const;
  void Fill(int32_t label_class, int32_t lowest_level, int32_t highest_level, int32_t num_ranks, int32_t holder,
            Taken* taken);
  // Takes as many as it can of those that are not kept.
  void TakeUnkeptFirst(const SlotRequest& request, int32_t holder, Taken* taken);
  // As Fill, on workers that the request may have, among them those alone that are kept, or are not.
  void FillByLook(const SlotRequest& request, bool is_kept, int32_t num_ranks, int32_t holder, Taken* taken);
  void TakeFrom(int32_t ordinal, int32_t num_ranks, int32_t holder, Taken* taken);

  std::vector<Worker> workers_;  // by ordinal, ids ascending
  absl::flat_hash_map<int64_t, int32_t> ordinals_;
  // By class; [0] is of all workers. Sums apart from the rest, for those who compare them with what gangs need.
  std::vector<LabelClass> classes_;
  SlotsByClass num_free_;
  SlotsByClass capacity_;
  int64_t num_usable_workers_ = 0;
  int64_t num_withheld_ = 0;
  int64_t num_removed_ = 0;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_FREE_SLOTS_H_
