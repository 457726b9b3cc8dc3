// The gangs that wait for slots of one pool, in the order in which they should start.
#ifndef URSA_COORDINATOR_SCHEDULING_WAITING_QUEUE_H_
#define URSA_COORDINATOR_SCHEDULING_WAITING_QUEUE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "coordinator/scheduling/fair_share.h"
#include "coordinator/scheduling/gang.h"
#include "coordinator/scheduling/handle_table.h"
#include "coordinator/scheduling/index_set.h"
#include "coordinator/scheduling/options.h"
#include "coordinator/scheduling/size_counts.h"

namespace ursa {

// The order, first to last:
//   1 level: priority + one for each full aging step waited, at most kFrontLevel
//   2 fair share, below kFrontLevel: the workspace, then the user with the lower score
//   3 position, then id
// At kFrontLevel nothing but 3 counts: whoever has got there is overtaken only by gangs with a lower position, of which
// there are no more than there were. So nobody waits for ever while slots come free.
//
// Of an experiment with a limit only as many gangs stand in the queue as its limit leaves room for, the first by
// position; the others are held back until slots of the experiment come free. A value, kept by deltas: each costs
// O(log n) plus the number of users in the same workspace and of different sizes that the user waits for; looking for
// the first costs as many steps as users are passed over. Times are as of the last order period (SetTime).
class WaitingQueue {
 public:
  static constexpr int32_t kFrontLevel = kPriorityMax + 1;
  static constexpr int32_t kNone = -1;

  struct Job {
    GangId id;
    int32_t user = 0;
    int32_t priority = 0;
    int32_t simd_level = 0;
    int32_t label_class = kNoLabels;
    int32_t min_ranks = 1;
    int32_t max_ranks = 1;
    int32_t ranks_divide = 0;
    std::optional<int32_t> experiment_slots_max;
    int64_t position = 0;
    absl::Time since;
    // Set by the queue.
    bool waits = false;  // else the entry is nobody's
    int32_t level = 0;
    bool held_back = false;
    int64_t aging_period = 0;  // when its level rises, and its index among those that rise then
    int32_t aging_index = kNone;
  };
  struct ExperimentSlots {
    int64_t num_held = 0;  // by gangs that run
    int64_t max = 0;
  };

  explicit WaitingQueue(const SchedulingOptions& options);

  // Returns a handle, good until Remove.
  int32_t Add(Job job);
  void Remove(int32_t handle);
  const Job& job(int32_t handle) const { return jobs_[handle]; }
  int64_t num_jobs() const { return num_jobs_; }
  // Looks through all of them; kNone if it does not wait here.
  int32_t Find(const GangId& id) const;

  // Trials of the experiment hold so many slots more (or less) by running. For those that have a limit.
  void AddExperimentHeld(int64_t experiment_id, int64_t num_slots, int32_t max);
  // Of an experiment of which gangs wait or run under a limit; null for others.
  std::optional<ExperimentSlots> SlotsOfExperiment(int64_t experiment_id) const;

  // Levels and shares are as of the last period that began by `now`. Returns whether a new one has begun. A time before
  // the one known changes nothing.
  bool SetTime(absl::Time now);
  absl::Time order_time() const;

  // The first gang that needs at most limits[its label class][its SIMD level] slots, is not held back, and whose user
  // and workspace have room under their limits; kNone if there is none.
  int32_t FindFirst(const SlotsByClass& limits) const;
  // Slots that the user may still take, for itself and its workspace.
  int64_t RoomOf(int32_t user) const;
  // How many ranks the job may get of `available` slots, as far as limits go.
  int32_t RanksFor(const Job& job, int64_t available) const;

  // The first `num_max` gangs in the order in which they would start if each of them did in turn (a start counts for
  // the share of its user), then those that are held back.
  std::vector<int32_t> InOrder(size_t num_max) const;

  FairShares& shares() { return shares_; }
  const FairShares& shares() const { return shares_; }

  std::string DebugExport() const;

 private:
  struct JobKey {
    int64_t position = 0;
    GangId id;
    int32_t handle = kNone;
    friend bool operator<(const JobKey& a, const JobKey& b) {
      if (a.position != b.position) return a.position < b.position;
      return a.id < b.id;
    }
  };
  using JobKeys = absl::btree_set<JobKey>;
  // Gangs of one user and one level that differ in nothing but their place in the line. The first of them stands apart
  // from the others: it is all that is looked at most of the time.
  struct Line {
    int32_t label_class = kNoLabels;
    int32_t simd_level = 0;
    int32_t min_ranks = 0;
    JobKey first;
    JobKeys others;

    bool IsOf(const Job& job) const {
      return label_class == job.label_class && simd_level == job.simd_level && min_ranks == job.min_ranks;
    }
  };
  using Lines = std::vector<Line>;  // in order of their firsts
  struct Level {
    int32_t num_queued = 0;    // gangs
    std::vector<Lines> lines;  // by user, of the first users
  };
  struct Experiment {
    ExperimentSlots slots;
    int64_t num_queued = 0;  // slots that its gangs in the queue need
    JobKeys queued;
    JobKeys held_back;
  };

  // Scores of users and workspaces, by index, as they would be.
  struct Scores {
    std::vector<int64_t> users;
    std::vector<int64_t> workspaces;
  };

  // Levels are kept upside down, so that the highest is found first.
  static int32_t UpsideDown(int32_t level) { return kFrontLevel - level; }

  Job& mutable_job(int32_t handle) { return jobs_[handle]; }
  JobKey KeyOf(int32_t handle) const { return {job(handle).position, job(handle).id, handle}; }

  void Enter(int32_t handle);
  void Leave(int32_t handle);
  // Moves the line, the first of which has changed, to where it belongs.
  static void PutInOrder(Lines* lines, size_t line);
  // Moves gangs between queue and held back, as the limit has it.
  void Rebalance(Experiment* experiment);
  void DropIfEmpty(int64_t experiment_id);
  // Sets the level as of now, and notes when it rises.
  void SetLevel(int32_t handle);
  void ForgetRise(int32_t handle);

  SizeCounts* SizesOf(const Job& job);
  bool AnyFits(const SlotsByClass& limits) const;
  int32_t FirstOfLevel(int32_t level, const SlotsByClass& limits) const;
  const JobKey* FirstOfUser(int32_t user, const Lines& lines, const SlotsByClass& limits) const;
  void AppendLevel(int32_t level, size_t num_max, Scores* scores, std::vector<int32_t>* order) const;

  SchedulingOptions options_;
  int64_t period_micros_;       // order_period
  int64_t aging_micros_;        // aging_step; 0: no aging
  int64_t period_ = INT64_MIN;  // the present one: time since the epoch / order_period
  FairShares shares_;
  HandleTable<Job> jobs_;
  int64_t num_jobs_ = 0;
  std::vector<Level> levels_;  // by level; in the queue
  IndexSet used_levels_;       // upside down; that have a gang
  // min_ranks of those in the queue, by label class and SIMD level.
  std::vector<std::array<SizeCounts, kNumSimdLevels>> sizes_;
  absl::flat_hash_map<int64_t, Experiment> experiments_;
  absl::btree_map<int64_t, std::vector<int32_t>> rises_;  // period -> handles whose level rises then
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_WAITING_QUEUE_H_
