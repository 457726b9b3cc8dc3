// The files of tests/golden (or of the folder URSA_FIXTURES), and an account of which of their cases a test checked.
// Needs no torch.
#ifndef URSA_WORKER_NN_GOLDEN_FILES_H_
#define URSA_WORKER_NN_GOLDEN_FILES_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "worker/nn/json.h"

namespace ursa {

// The path of the golden file `name`.
std::string GoldenPath(const std::string& name);

// Its contents, and those of a JSON file; both end the test program if it cannot be read.
std::string ReadGoldenBytes(const std::string& name);
Json ReadGolden(const std::string& name);

// Prints "golden FILE: N cases checked, M out of scope", and why with the cases' names.
class GoldenScope {
 public:
  explicit GoldenScope(std::string file) : file_(std::move(file)) {}
  ~GoldenScope();
  void Checked() { ++num_checked_; }
  void OutOfScope(const std::string& name, const std::string& why) { skipped_[why].push_back(name); }
  int num_checked() const { return num_checked_; }

 private:
  const std::string file_;
  int num_checked_ = 0;
  std::map<std::string, std::vector<std::string>> skipped_;  // names by reason
};

}  // namespace ursa

#endif  // URSA_WORKER_NN_GOLDEN_FILES_H_
