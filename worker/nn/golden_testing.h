// Reads the golden values of tests/golden (or of the folder URSA_FIXTURES) for tests of models and training.
#ifndef URSA_WORKER_NN_GOLDEN_TESTING_H_
#define URSA_WORKER_NN_GOLDEN_TESTING_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "worker/nn/json.h"

namespace ursa {

// The path of the golden file `name`.
std::string GoldenPath(const std::string& name);

// Its parsed contents; ends the test program if it cannot be read.
Json ReadGolden(const std::string& name);

// A number, or one of the strings "nan", "inf", "-inf".
double GoldenNumber(const Json& json);

// Nested arrays of numbers as float64; ragged ones end the program.
at::Tensor GoldenTensor(const Json& json);

// The fixtures' formula: for flat row-major index i, q = (a i^2 + b i + c) mod 65521; q is returned.
std::vector<int64_t> QmodIntegers(uint64_t a, uint64_t b, uint64_t c, int64_t count);

// offset + scale * (2 q / 65521 - 1), in float64; [shape].
at::Tensor Qmod(uint64_t a, uint64_t b, uint64_t c, double scale, double offset, const std::vector<int64_t>& shape);

// The same of an object with the members a, b, c, scale, offset, shape.
at::Tensor Qmod(const Json& json);

std::vector<int64_t> GoldenIntegers(const Json& json);

// Prints "golden FILE: N cases checked, M out of scope" and why.
class GoldenScope {
 public:
  explicit GoldenScope(std::string file) : file_(std::move(file)) {}
  ~GoldenScope();
  void Checked() { ++num_checked_; }
  void OutOfScope(const std::string& name, const std::string& why) { skipped_.push_back(name + ": " + why); }
  int num_checked() const { return num_checked_; }

 private:
  std::string file_;
  int num_checked_ = 0;
  std::vector<std::string> skipped_;
};

}  // namespace ursa

#endif  // URSA_WORKER_NN_GOLDEN_TESTING_H_
