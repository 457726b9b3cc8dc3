#include "tests/crash/subject.h"

namespace ursa::crash {

void Tally::Add(const Tally& other) {
  num_acknowledged += other.num_acknowledged;
  num_unknown += other.num_unknown;
  num_found_done += other.num_found_done;
  num_found_undone += other.num_found_undone;
  num_repeated += other.num_repeated;
}

std::string AuditKey(const std::string& action, const std::string& resource) { return action + " " + resource; }

}  // namespace ursa::crash
