// Reads the golden values of tests/golden/ (or of the folder that URSA_FIXTURES names) for this room's tests.
#ifndef URSA_EXPERIMENTS_GOLDEN_TESTLIB_H_
#define URSA_EXPERIMENTS_GOLDEN_TESTLIB_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "google/protobuf/struct.pb.h"

namespace ursa {

using Json = google::protobuf::Value;

// The cases of one fixture file, in order. Fails the running test, and gives none, if the file cannot be read.
std::vector<Json> GoldenCases(const std::string& file_name);

// A member of a JSON object; fails the running test if there is none.
const Json& At(const Json& object, const std::string& key);
bool Has(const Json& object, const std::string& key);
std::string Kind(const Json& golden_case);

double Number(const Json& value);
int64_t Integer(const Json& value);
std::vector<double> Numbers(const Json& list);
std::vector<int64_t> Integers(const Json& list);
std::vector<std::string> Strings(const Json& list);

// What a golden test did with each kind of case, for its last lines: nothing is passed over in silence.
class GoldenTally {
 public:
  void Checked(const std::string& kind) { ++checked_[kind]; }
  void Skipped(const std::string& kind, const std::string& why) { ++skipped_[kind + ": " + why]; }
  int num_checked() const;

  // Prints counts by kind.
  ~GoldenTally();

 private:
  std::map<std::string, int> checked_;
  std::map<std::string, int> skipped_;
};

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_GOLDEN_TESTLIB_H_
