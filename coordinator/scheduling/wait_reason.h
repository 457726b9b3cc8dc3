// Why a gang waits: from the same values, by the same rules, as the decision that did not start it.
#ifndef URSA_COORDINATOR_SCHEDULING_WAIT_REASON_H_
#define URSA_COORDINATOR_SCHEDULING_WAIT_REASON_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "coordinator/scheduling/gang.h"
#include "coordinator/scheduling/pool.h"

namespace ursa {

enum class WaitCause {
  kNoWorker,         // the pool has no worker that takes new tasks
  kWithheld,         // none of its slots is offered
  kNoLabels,         // no worker that takes new tasks has the labels
  kNoSimd,           // none of those has the instruction set
  kTooLarge,         // all of them together have too few slots
  kUserLimit,        // the user has no room under its limit
  kWorkspaceLimit,   // nor the workspace
  kExperimentLimit,  // nor the experiment
  kStopping,         // it is the head: gangs are stopping, of which it gets slots
  kSlots,            // it is the head: others hold the slots
  kBehind,           // too few are free, and another gang comes first
  kKept,             // enough are free, but they are kept for the head
  kNext,             // nothing: it starts with the next decision
};

struct WaitReason {
  struct Holder {
    GangId id;
    int64_t num_slots = 0;
    bool is_preempted = false;
  };

  WaitCause cause = WaitCause::kNext;
  PoolKey pool;
  Owner owner;
  GangId gang;
  int64_t num_needed = 0;  // slots
  int64_t num_free = 0;    // of those that it could use
  int64_t num_total = 0;
  int32_t simd_level = 0;
  bool is_simd_scarce = false;      // not every worker of the pool has it
  std::vector<std::string> labels;  // that its workers must have
  int64_t num_labelled = 0;         // workers of the pool that have them, whether they take new tasks or not
  int64_t num_workers = 0;          // of the pool
  int64_t num_withheld = 0;         // slots that are not offered, of workers that take new tasks
  int64_t num_absent = 0;           // workers of the pool that take no new tasks
  int64_t limit_used = 0;           // of a limit that has been reached
  int64_t limit_max = 0;
  std::optional<GangId> behind;  // the head
  // Who holds the slots that it waits for: the highest priorities first, of these the longest running; a few of them.
  std::vector<Holder> holders;
  int64_t num_other_holders = 0;

  // One line, in plain words: "needs 4 slots, 3 free in pool gpu; behind e17; e12 runs there".
  std::string ToText() const;
};

// Reasons for the gangs of one pool, which must not change meanwhile. What they have in common is computed once.
class WaitExplainer {
 public:
  explicit WaitExplainer(const Pool* pool);

  WaitReason Explain(int32_t waiting_handle);
  // Who comes first; Pool::kNone if nobody could start.
  int32_t first() const { return first_; }

 private:
  struct Holders {
    std::vector<WaitReason::Holder> top;
    int64_t num_others = 0;
  };

  bool ExplainLimits(const WaitingQueue::Job& job, WaitReason* reason) const;
  void AddHolders(bool stopping, const WaitingQueue::Job& job, WaitReason* reason);
  Holders FindHolders(bool stopping, const WaitingQueue::Job& job) const;

  const Pool& pool_;
  int32_t first_;
  std::map<std::tuple<bool, int32_t, int32_t>, Holders> holders_;  // by stopping, label class and SIMD level
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_WAIT_REASON_H_
