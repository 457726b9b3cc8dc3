// What the groups of a gang do, judged by what is durable of them and by what their ranks bring.
#ifndef URSA_TESTS_SIMULATION_GROUP_LEDGER_H_
#define URSA_TESTS_SIMULATION_GROUP_LEDGER_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/jobs.h"
#include "tests/simulation/world.h"

namespace ursa::sim {

// A gang begins at one epoch; each time that it is re-formed, a group of a newer epoch takes the place of the last one.
//   - a group has exactly the processes that the record of its epoch names, and none forms or steps after a newer one
//   - it goes on from a step that all ranks of the last one had done, or at least one: no step of the group is lost
//   - its steps follow each other: none is left out, none counts twice
// Where two machines have ranks of one job that do not know of each other, these are of two gangs, which are judged
// apart. Borrows the world.
class GroupLedger {
 public:
  explicit GroupLedger(World* world) : world_(*world) {}

  // A gang begins at `epoch`, durably; or goes on at it, after `last_epoch`.
  void OnGang(const JobKey& key, int64_t epoch, std::vector<int64_t> process_epochs);
  void OnReform(const JobKey& key, int64_t last_epoch, int64_t epoch, std::vector<int64_t> process_epochs);

  // The ranks of that epoch have met, and go on from `step`. Until the state is shared those that have one stand at
  // `least_step` at least.
  void OnFormed(const std::string& task_id, int64_t epoch, const std::vector<int64_t>& process_epochs,
                int64_t least_step, int64_t step);
  void OnStateShared(const std::string& task_id, int64_t epoch, int64_t step);
  // All have done the step.
  void OnStep(const std::string& task_id, int64_t epoch, int64_t step);
  // A rank has done the step, others may not have.
  void OnStepOfSome(const std::string& task_id, int64_t epoch, int64_t step);

 private:
  using GroupKey = std::pair<JobKey, int64_t>;  // of that epoch
  struct Group {
    int64_t first_epoch = 0;              // of its gang
    std::vector<int64_t> process_epochs;  // by rank
  };
  struct Gang {
    int64_t epoch = 0;  // of the newest group that has formed; 0: none has
    int64_t step_of_all = 0;
    int64_t step_of_some = 0;
  };

  Gang& GangOf(const JobKey& key, int64_t epoch) { return gangs_[{key, groups_[{key, epoch}].first_epoch}]; }

  World& world_;
  std::map<GroupKey, Group> groups_;  // that are durable
  std::map<GroupKey, Gang> gangs_;    // by job and first epoch
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_GROUP_LEDGER_H_
