// One run: a cluster, a workload and faults, drawn from one seed, judged all along.
#ifndef URSA_TESTS_SIMULATION_SIMULATION_H_
#define URSA_TESTS_SIMULATION_SIMULATION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/fabric.h"
#include "tests/simulation/faults.h"
#include "tests/simulation/invariants.h"
#include "tests/simulation/network.h"
#include "tests/simulation/promises.h"
#include "tests/simulation/sim_agent.h"
#include "tests/simulation/sim_coordinator.h"
#include "tests/simulation/workload.h"
#include "tests/simulation/world.h"

namespace ursa::sim {

struct SimulationOptions {
  uint64_t seed = 1;
  bool has_faults = true;
  // Instead of what the seed says:
  std::optional<int> num_workers;
  std::optional<absl::Duration> fault_time;
  std::optional<absl::Duration> print_from;  // the trace and all log lines, to standard error
};

struct SimulationResult {
  std::string failure;  // empty: all held
  absl::Duration failed_at;
  std::string last_trace;
  uint64_t trace_hash = 0;
  absl::Duration virtual_time;
  int64_t num_events = 0;
  int64_t num_jobs = 0;
  int64_t num_compared = 0;  // states with records
  FaultCounts faults = {};
};

// Runs to the end or to the first invariant that does not hold:
//
//   start --> faults and workload --Heal--> all must go on within 60 s, and end --> records, audit, slots
SimulationResult RunSimulation(const SimulationOptions& options);

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_SIMULATION_H_
