// Many runs, and what they add up to.
#ifndef URSA_TESTS_SIMULATION_CAMPAIGN_H_
#define URSA_TESTS_SIMULATION_CAMPAIGN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/simulation/simulation.h"

namespace ursa::sim {

class Campaign {
 public:
  // `options` of every run, but for the seed.
  explicit Campaign(const SimulationOptions& options) : options_(options) {}

  // True if all held. What a failure says ends with the command that replays it.
  bool Run(uint64_t seed);

  const std::vector<std::string>& failures() const { return failures_; }
  uint64_t last_trace_hash() const { return last_trace_hash_; }
  int64_t num_faults() const;
  absl::Duration cpu_time() const { return cpu_time_; }
  // Totals: runs, virtual time and that of the core, faults by kind, and the failures.
  std::string Report() const;

 private:
  const SimulationOptions options_;
  std::vector<std::string> failures_;
  uint64_t last_trace_hash_ = 0;
  int64_t num_runs_ = 0;
  int64_t num_events_ = 0;
  int64_t num_jobs_ = 0;
  int64_t num_compared_ = 0;
  absl::Duration virtual_time_;
  absl::Duration cpu_time_;
  FaultCounts faults_ = {};
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_CAMPAIGN_H_
