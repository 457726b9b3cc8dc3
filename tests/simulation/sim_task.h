// The processes of tasks, as far as an agent and a coordinator can tell them from real ones.
#ifndef URSA_TESTS_SIMULATION_SIM_TASK_H_
#define URSA_TESTS_SIMULATION_SIM_TASK_H_

#include <cstdint>
#include <memory>

#include "ursa/worker/v1/task.pb.h"
#include "worker/agent/task_table.h"

namespace ursa::sim {

class SimAgent;

// One process. Owned by its agent, which it outlives never; ends by SimAgent::Exit.
class SimTask {
 public:
  virtual ~SimTask() = default;
  virtual void Start() = 0;
  // It is told to stop, and whether the state is its to keep if its group is lost.
  virtual void OnStop(bool) {}
  // The group of that epoch is the newest one.
  virtual void OnReform(int64_t) {}
  // It has died, or its agent has: nothing of it runs any more.
  virtual void OnDeath() {}
};

// A process for the assignment: a rank of a training, an ingest, an evaluation.
std::unique_ptr<SimTask> MakeTask(SimAgent* agent, int64_t process_id, const ProcessKey& key,
                                  const worker::v1::TaskAssignment& assignment);

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_SIM_TASK_H_
