// What is common to all simulated processes of tasks.
#ifndef URSA_TESTS_SIMULATION_SIM_PROCESS_H_
#define URSA_TESTS_SIMULATION_SIM_PROCESS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/simulation/sim_agent.h"
#include "tests/simulation/sim_task.h"
#include "tests/simulation/world.h"
#include "ursa/worker/v1/task.pb.h"
#include "worker/agent/task_table.h"

namespace ursa::sim {

// Loads its libraries for a while, then runs. All that it asks of its agent is answered only while it lives.
class SimProcess : public SimTask {
 public:
  SimProcess(SimAgent* agent, int64_t process_id, const ProcessKey& key, const worker::v1::TaskAssignment& assignment);

  void Start() override;

 protected:
  virtual void Run() = 0;

  // Fails if it gets one of them not.
  void Fetch(const std::vector<std::string>& hashes, std::function<void(std::vector<std::string> contents)> then);
  virtual void OnFetchFailed(const absl::Status&) {}

  // Ends the process if the agent does not take it.
  void Report(std::vector<worker::v1::TaskEvent> events, std::function<void()> then);

  // Says how its work ended, once, and ends.
  void Finish(worker::v1::TaskFinished::Outcome outcome, const std::string& reason,
              worker::v1::TaskFinished::Cause cause = worker::v1::TaskFinished::CAUSE_UNSPECIFIED);
  bool is_finishing() const { return is_finishing_; }

  SimAgent& agent_;
  World& world_;
  const int64_t process_id_;
  const ProcessKey key_;
  const worker::v1::TaskAssignment assignment_;

 private:
  bool is_finishing_ = false;
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_SIM_PROCESS_H_
