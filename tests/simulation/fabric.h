// What lies between the ranks of a gang: they step together, and see when one of them is gone.
#ifndef URSA_TESTS_SIMULATION_FABRIC_H_
#define URSA_TESTS_SIMULATION_FABRIC_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
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

// A rank, as its gang sees it.
class GangMember {
 public:
  virtual ~GangMember() = default;
  virtual bool WantsStop() const = 0;
  virtual absl::Time PausedUntil() const = 0;
  // All have done a step. To rank 0 alone; it answers with Gang::Continue or Gang::End.
  virtual void OnStep(int64_t step, bool stop) = 0;
  // The work is done, or was stopped.
  virtual void OnGangEnd(worker::v1::TaskFinished::Outcome outcome) = 0;
  // Its collective throws: a peer is gone.
  virtual void OnPeerLost() = 0;
  virtual void OnFault(RankFault fault) = 0;
};

// The ranks of one epoch of a task. Owned by Fabric.
class Gang : public std::enable_shared_from_this<Gang> {
 public:
  struct Options {
    int64_t world_size = 1;
    int64_t first_step = 0;
    int64_t fails_at = -1;  // the step at which rank 0 reports a failure, each time it gets there
  };
  Gang(class Fabric* fabric, const Options& options);

  void Join(int64_t rank, GangMember* member);
  // It has died or leaves. Peers see it a little later, unless the work was done.
  void Leave(int64_t rank);
  void Continue() { ScheduleStep(); }
  void End(worker::v1::TaskFinished::Outcome outcome);
  void KillIfHung();

 private:
  void ScheduleStep();
  void Step();

  Fabric& fabric_;
  World& world_;
  const Options options_;
  const absl::Duration step_time_;
  std::map<int64_t, GangMember*> members_;  // by rank; those that live
  int64_t step_;
  int64_t num_joined_ = 0;
  bool is_over_ = false;  // somebody left before the end, or all is done
  bool is_hung_ = false;
};

// Owns gangs by (task, epoch). Borrows the world.
class Fabric {
 public:
  struct Options {
    absl::Duration step_least = absl::Milliseconds(50);
    absl::Duration step_most = absl::Milliseconds(500);
    double fault_share = 0;                                // of steps in which a rank fails
    double hang_share = 0;                                 // of those: it hangs instead
    double ignored_stop_share = 0;                         // of gangs that do not stop when told
    absl::Duration notice_most = absl::Milliseconds(200);  // until peers see a death
    bool bit_equal = true;                                 // a step gives the same bits at every epoch
  };

  Fabric(World* world, const Options& options) : world_(*world), options_(options) {}

  // The gang of that epoch; made by the first of its ranks that has met the others.
  std::shared_ptr<Gang> FindOrMake(const std::string& task_id, int64_t epoch, const Gang::Options& options);
  // From now on nothing fails by itself, and whoever operates the cluster kills what hangs.
  void Heal();

  World& world() { return world_; }
  const Options& options() const { return options_; }

 private:
  friend class Gang;

  World& world_;
  Options options_;
  std::map<std::pair<std::string, int64_t>, std::weak_ptr<Gang>> gangs_;
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_FABRIC_H_
