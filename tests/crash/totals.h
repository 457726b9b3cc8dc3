// What came of all kills, and how it is told.
#ifndef URSA_TESTS_CRASH_TOTALS_H_
#define URSA_TESTS_CRASH_TOTALS_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/crash/subject.h"

namespace ursa::crash {

struct Totals {
  std::map<std::string, int> kills;      // deaths at a point, by its name
  std::map<std::string, int> fatal;      // of these: a call was made to fail, and the process ended by it
  std::map<std::string, int> failures;   // calls made to fail by point, where the process lived on
  std::map<std::string, int> random;     // deaths at a random moment, by program
  std::map<std::string, int> passed;     // in how many processes each point was passed; all points are in it
  std::vector<absl::Duration> restarts;  // of the coordinator, from its start to its first answer
  int64_t num_store_checks = 0;
  int64_t num_audit_events = 0;  // in the last store check
  int64_t num_blobs = 0;
  size_t num_subjects = 0;
  Tally tally;  // of all subjects

  int num_kills() const;
  int num_failures() const;  // fatal or not
  // Points of those that were passed by no process, and at which none was killed.
  std::vector<std::string> NeverPassed() const;
  std::vector<std::string> NeverKilledAt() const;

  // A table of the points, and what was found.
  std::string ToString() const;
  // The same in one line.
  std::string Summary() const;
};

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_TOTALS_H_
