// The values that scheduling reads: workers, gangs that run and gangs that wait.
#ifndef URSA_COORDINATOR_SCHEDULING_GANG_H_
#define URSA_COORDINATOR_SCHEDULING_GANG_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"

namespace ursa {

inline constexpr int32_t kPriorityMax = 99;  // of a recipe: 1..99, higher runs first
// Of what is no training but holds a slot all the same (a GPU evaluation): nothing is above it, so it is never
// preempted.
inline constexpr int32_t kAboveAllPriorities = kPriorityMax + 1;
inline constexpr int32_t kNumSimdLevels = 3;

// A trial's task ("t17.2"), or with experiment 0 an auxiliary task that holds a slot ("a4").
struct GangId {
  int64_t experiment_id = 0;
  int64_t number = 0;

  friend bool operator==(const GangId& a, const GangId& b) {
    return a.experiment_id == b.experiment_id && a.number == b.number;
  }
  friend bool operator!=(const GangId& a, const GangId& b) { return !(a == b); }
  friend bool operator<(const GangId& a, const GangId& b) {
    return std::tie(a.experiment_id, a.number) < std::tie(b.experiment_id, b.number);
  }
  template <typename H>
  friend H AbslHashValue(H h, const GangId& id) {
    return H::combine(std::move(h), id.experiment_id, id.number);
  }
};

struct RankPlace {
  int64_t worker_id = 0;
  int32_t slot = 0;
  friend bool operator==(const RankPlace& a, const RankPlace& b) {
    return a.worker_id == b.worker_id && a.slot == b.slot;
  }
};

// Workers of one pool whose slots are of one kind. Such pools have nothing to do with each other: each has a queue,
// shares and limits of its own.
struct PoolKey {
  std::string pool;
  std::string kind;  // cpu or cuda

  friend bool operator==(const PoolKey& a, const PoolKey& b) { return a.pool == b.pool && a.kind == b.kind; }
  friend bool operator<(const PoolKey& a, const PoolKey& b) {
    return std::tie(a.pool, a.kind) < std::tie(b.pool, b.kind);
  }
};

// Whose gang it is.
struct Owner {
  std::string workspace;  // may be empty: the users without one share one
  std::string user;

  friend bool operator==(const Owner& a, const Owner& b) { return a.workspace == b.workspace && a.user == b.user; }
  friend bool operator<(const Owner& a, const Owner& b) {
    return std::tie(a.workspace, a.user) < std::tie(b.workspace, b.user);
  }
  template <typename H>
  friend H AbslHashValue(H h, const Owner& owner) {
    return H::combine(std::move(h), owner.workspace, owner.user);
  }
};

struct SchedulerWorker {
  int64_t id = 0;
  PoolKey pool;
  int32_t simd_level = 0;
  int32_t num_slots = 0;
  bool usable = false;                   // may be given tasks: alive, connected, neither drained nor set aside
  std::vector<std::string> labels = {};  // "gpu=h100", ascending
  std::vector<int32_t> withheld = {};    // slots that are not offered: a check failed there
};

// What a recipe asks.
struct GangSpec {
  PoolKey pool;
  Owner owner;
  int32_t priority = 50;
  int32_t simd_level = 0;  // of its workers, at least
  // Ranks: an elastic gang takes what is free between the two; the others have min_ranks == max_ranks.
  int32_t min_ranks = 1;
  int32_t max_ranks = 1;
  int32_t ranks_divide = 0;  // the number of ranks must divide this, as min_ranks does; 0: any number
  std::optional<int32_t> experiment_slots_max;  // of all trials of its experiment together
  std::vector<std::string> labels = {};         // that its workers have, ascending
};

// Whether a worker with `labels` may run what asks for `needed`; both ascending.
inline bool HasLabels(const std::vector<std::string>& labels, const std::vector<std::string>& needed) {
  return std::includes(labels.begin(), labels.end(), needed.begin(), needed.end());
}

struct WaitingGang {
  GangId id;
  GangSpec spec;
  int64_t position = 0;  // lower first among those that are else equal; kept when it is preempted
  absl::Time since;      // when it began to wait, the last time
};

struct RunningGang {
  GangId id;
  GangSpec spec;
  std::vector<RankPlace> places;  // of the ranks that are not gone
  absl::Time start;
  absl::Time checkpoint;  // of its newest checkpoint, else its start: what it did since then is lost with it
  // Until then it is no victim of gangs of this priority or a lower one (see GangStart).
  int32_t protected_level = 0;
  absl::Time protected_until = absl::InfinitePast();
  bool stopping = false;                // told to end: its slots will come back soon
  std::optional<GangId> preempted_for;  // for whom it is stopping
};

// Slots by SIMD level: [l] counts those on workers of level l or above.
using SlotsByLevel = std::array<int64_t, kNumSimdLevels>;

// What gangs wait for that ask for the same labels: a number that a pool gives out (FreeSlots::AddClass). 0: for none.
inline constexpr int32_t kNoLabels = 0;
// The same by label class.
using SlotsByClass = absl::InlinedVector<SlotsByLevel, 2>;

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_GANG_H_
