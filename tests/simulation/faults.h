// What is done to a cluster, and when.
#ifndef URSA_TESTS_SIMULATION_FAULTS_H_
#define URSA_TESTS_SIMULATION_FAULTS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/sim_agent.h"
#include "tests/simulation/workload.h"
#include "tests/simulation/world.h"

namespace ursa::sim {

// Kinds of faults come independently, each at random times of its own rate. Each run has some of the kinds, at rates of
// its own (swarm testing: what always happens hides what happens else). Borrows all it is given.
class Faults {
 public:
  Faults(const Cluster& cluster, Disk* disk, std::vector<std::unique_ptr<SimAgent>>* agents, Workload* workload)
      : cluster_(cluster), world_(*cluster.world), disk_(*disk), agents_(*agents), workload_(*workload) {}

  // Until Stop.
  void Start();
  void Stop() { is_on_ = false; }

 private:
  // Lets `fault` happen, on average once in `mean` before the run's own rate counts; or never in this run.
  void Add(absl::Duration mean, std::function<void()> fault);
  void Repeat(absl::Duration mean, std::function<void()> fault);
  void AddWorkerFaults(absl::Duration per_worker);
  void AddCoordinatorFaults();
  SimAgent& AnyAgent() { return *agents_[static_cast<size_t>(world_.Below(static_cast<int64_t>(agents_.size())))]; }
  // Often short, sometimes up to `most`.
  absl::Duration Some(absl::Duration most);

  const Cluster cluster_;
  World& world_;
  Disk& disk_;
  std::vector<std::unique_ptr<SimAgent>>& agents_;
  Workload& workload_;
  bool is_on_ = false;
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_FAULTS_H_
