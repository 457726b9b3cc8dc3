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
  // On workers of this level or above at most so many slots may be taken; others wait for those (backfill).
  int32_t kept_level = kNumSimdLevels;
  int64_t kept_max = 0;
};

// The workers of one pool, and who holds each of their slots. A value; kept by deltas: each costs a few instructions,
// whatever the number of workers. What it chooses depends on its content only, not on the order of the deltas.
class FreeSlots {
 public:
  static constexpr int32_t kNobody = -1;

  // Adds a worker or changes one; who holds its slots stays.
  void PutWorker(int64_t id, int32_t simd_level, int32_t num_slots, bool usable);
  // Slots that are still held come back with the worker.
  void RemoveWorker(int64_t id);

  // `holder` >= 0 says who it is. The slot must be nobody's; the worker may be unknown.
  void Occupy(const RankPlace& place, int32_t holder);
  // Slots that are held; those of one worker should stand together.
  void Release(const std::vector<RankPlace>& places);

  // Chooses free slots of usable workers and gives them to `holder`. The fewest workers: those with the most free slots
  // whole, and for the last ranks the worker with the fewest free slots that holds them; among equal ones the lowest
  // SIMD level, then the lowest id. Ranks of one worker stand together. The request must fit (num_free).
  std::vector<RankPlace> Take(const SlotRequest& request, int32_t holder);
  // The slot that a request for one would get; nothing if none is free.
  std::optional<RankPlace> FindOne() const;

  // Slots of usable workers.
  const SlotsByLevel& num_free() const { return num_free_; }
  const SlotsByLevel& capacity() const { return capacity_; }
  int64_t num_usable_workers() const { return num_usable_workers_; }
  int64_t num_workers() const { return static_cast<int64_t>(workers_.size()) - num_removed_; }

  // SIMD level of the worker; -1 if it is not usable or not known.
  int32_t UsableLevel(int64_t worker_id) const;
  bool IsHeld(int64_t worker_id) const;  // whether anybody holds a slot of it
  // Who holds slots of the worker, each once.
  std::vector<int32_t> HoldersOf(int64_t worker_id) const;

  // Everything, as text in a fixed order, one line for each worker.
  std::string DebugExport() const;

 private:
  struct Worker {
    int64_t id = 0;
    int32_t simd_level = 0;
    int32_t num_slots = 0;
    bool usable = false;
    bool removed = false;
    int32_t num_held = 0;                    // of all slots, also of those above num_slots
    int32_t num_free = 0;                    // bits of `free`
    absl::InlinedVector<uint64_t, 1> free;   // bit by slot: below num_slots and nobody's
    absl::InlinedVector<int32_t, 8> holder;  // by slot
  };

  int32_t Find(int64_t id) const;
  int32_t FindOrAdd(int64_t id);
  // Puts the workers in order of their ids again and drops removed ones.
  void Reorder();
  // Adds what the worker means for buckets and sums (sign 1) or takes it away (sign -1).
  void Count(int32_t ordinal, int sign);
  void SetNumFree(int32_t ordinal, int32_t num_free);
  // The bucket for so many ranks on workers of these levels: the tightest that holds them all, else the largest.
  struct Choice {
    int32_t level = 0;
    int32_t num_free = 0;  // 0: none is free
  };
  Choice Choose(int32_t lowest_level, int32_t highest_level, int32_t num_ranks) const;
  void Fill(int32_t lowest_level, int32_t highest_level, int32_t num_ranks, int32_t holder,
            std::vector<RankPlace>* places);
  void TakeFrom(int32_t ordinal, int32_t num_ranks, int32_t holder, std::vector<RankPlace>* places);

  // Workers by number of free slots. Ordinals, that is in order of ids.
  struct Buckets {
    IndexSet not_empty;
    std::vector<IndexSet> by_num_free;
  };

  std::vector<Worker> workers_;  // by ordinal, ids ascending
  absl::flat_hash_map<int64_t, int32_t> ordinals_;
  std::array<Buckets, kNumSimdLevels> buckets_;  // of the usable workers of just that level
  SlotsByLevel num_free_{};
  SlotsByLevel capacity_{};
  int64_t num_usable_workers_ = 0;
  int64_t num_removed_ = 0;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_FREE_SLOTS_H_
