// What lies between the ranks of a group: they step together, and see when one of them is gone.
#ifndef URSA_TESTS_SIMULATION_FABRIC_H_
#define URSA_TESTS_SIMULATION_FABRIC_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "tests/simulation/invariants.h"
#include "tests/simulation/world.h"
#include "ursa/worker/v1/task.pb.h"

namespace ursa::sim {

// What fails in a rank by itself.
enum class RankFault {
  kCrash,
  kKilled,
  kFailure,      // says that it failed, and not why
  kOutOfMemory,  // says so; the others likewise
  kNotFinite,
  kHardware,
  kHang,
};

// Where a rank stands, as worker/train/group_sync.h has it.
struct Standing {
  bool has_state = false;    // false: it was started in the place of one that died
  int64_t step = 0;          // optimizer steps done
  int64_t epoch = 0;         // epochs ended
  int64_t points_after = 0;  // it knows the metric points of later steps

  bool IsAt(const Standing& other) const {
    return has_state == other.has_state && step == other.step && epoch == other.epoch;
  }
};

// A rank, as its group sees it.
class GroupMember {
 public:
  virtual ~GroupMember() = default;
  virtual int64_t process_epoch() const = 0;
  virtual const Standing& standing() const = 0;
  virtual bool WantsStop() const = 0;
  virtual absl::Time PausedUntil() const = 0;
  // Another rank's state becomes its own.
  virtual void TakeState(const Standing& theirs) = 0;
  // It has done a step; it has ended an epoch.
  virtual void OnStepDone() = 0;
  virtual void OnEpochDone() = 0;
  // All stand at the same place; all have done a step. To rank 0 alone, which answers with Continue or End.
  virtual void OnFormed() = 0;
  virtual void OnStep(bool stop) = 0;
  // The work is done, or was stopped.
  virtual void OnGroupEnd(worker::v1::TaskFinished::Outcome outcome) = 0;
  // Its collective throws: a peer is gone, or cannot be reached.
  virtual void OnPeerLost() = 0;
  virtual void OnFault(RankFault fault) = 0;
};

// The ranks of one group epoch of a task: those that were started for it, and those of an older group that has lost a
// rank. Owned by Fabric.
//
//   meeting --all have joined--> taking over the state --all have it--> stepping --End--> over
//      `----------------------------------+----------------------------------+--Leave--> over
class Group : public std::enable_shared_from_this<Group> {
 public:
  struct Options {
    std::string task_id;
    int64_t epoch = 0;
    int64_t world_size = 1;
    int64_t fails_at = -1;  // the step at which rank 0 reports a failure, each time it gets there
  };
  Group(class Fabric* fabric, Options options);

  void Join(int64_t rank, GroupMember* member);
  // It has died, or leaves. Peers see it a little later, unless the work was done.
  void Leave(int64_t rank);
  void Continue();
  void BeginEpochEnd();
  void EndEpoch();
  void End(worker::v1::TaskFinished::Outcome outcome);
  void KillIfHung();

 private:
  enum class Doing { kNothing, kStep, kEpochEnd };

  void Form();
  // The rank whose state all go on from; -1: none has it. As ChooseLeader of worker/train/group_sync.h.
  int64_t Leader() const;
  void ShareState(const Standing& theirs);
  // Runs it when no member's machine stands still, if the group is not over by then.
  void WhenAwake(std::function<void()> then);
  void Step();
  bool Fail();
  void Break();
  void TellLost(int64_t rank);

  Fabric& fabric_;
  World& world_;
  const Options options_;
  const absl::Duration step_time_;
  std::map<int64_t, GroupMember*> members_;  // by rank; those that are there
  int64_t hung_rank_ = -1;
  Doing doing_ = Doing::kNothing;  // what has been begun
  bool is_over_ = false;           // somebody left before the end, or all is done
};

// Owns groups by (task, epoch). Borrows world and invariants.
class Fabric {
 public:
  struct Options {
    absl::Duration step_least = absl::Milliseconds(50);
    absl::Duration step_most = absl::Milliseconds(500);
    absl::Duration share_most = absl::Milliseconds(300);   // until a rank has the state of another
    double fault_share = 0;                                // of steps in which a rank fails
    double hang_share = 0;                                 // of those: it hangs instead
    double break_share = 0;                                // of steps in which ranks lose each other, and none dies
    double ignored_stop_share = 0;                         // of ranks that do not stop when told
    absl::Duration notice_most = absl::Milliseconds(200);  // until peers see a death
    bool bit_equal = true;                                 // a step gives the same bits at every epoch
  };

  Fabric(World* world, Invariants* invariants, const Options& options)
      : world_(*world), invariants_(*invariants), options_(options) {}

  // The group of that epoch; made by the first of its ranks that gets there.
  std::shared_ptr<Group> FindOrMake(const Group::Options& options);
  // From now on nothing fails by itself, and whoever operates the cluster kills what hangs.
  void Heal();

  World& world() { return world_; }
  Invariants& invariants() { return invariants_; }
  const Options& options() const { return options_; }

 private:
  World& world_;
  Invariants& invariants_;
  Options options_;
  std::map<std::pair<std::string, int64_t>, std::shared_ptr<Group>> groups_;
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_FABRIC_H_
