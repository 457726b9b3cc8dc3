// The bugs that the mutation test plants, one at a time, in copies of the production libraries (base/planted_bug.h).
#ifndef URSA_TESTS_SIMULATION_PLANTED_BUGS_H_
#define URSA_TESTS_SIMULATION_PLANTED_BUGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace ursa::sim {

struct PlantedBug {
  const char* name;  // in URSA_PLANTED_BUG
  const char* what;
};

const std::vector<PlantedBug>& AllPlantedBugs();

struct Hunt {
  bool is_found = false;
  std::string how;  // the invariant that did not hold, or how the process died
  uint64_t seed = 0;
  absl::Duration time;
};

// Runs seeds from 1 in a process of its own, with the bug planted, until one fails or the time is over.
Hunt HuntBug(const PlantedBug& bug, absl::Duration limit);

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_PLANTED_BUGS_H_
