// Golden values for the tests of this folder: JSON, safetensors and files.
#ifndef URSA_WORKER_DATA_GOLDEN_TESTING_H_
#define URSA_WORKER_DATA_GOLDEN_TESTING_H_

#include <map>
#include <string>
#include <vector>

#include "worker/data/image.h"
#include "worker/nn/json.h"

namespace ursa {

// The file `name` of the fixtures: of the folder URSA_FIXTURES, else of tests/golden.
std::string FixturePath(const std::string& name);

// These end the process with the reason if the file is missing or wrong.
std::string ReadFixture(const std::string& name);
Json ReadFixtureJson(const std::string& name);

// A tensor of a safetensors file. Bytes are widened to float.
struct FixtureTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
std::map<std::string, FixtureTensor> ReadFixtureTensors(const std::string& name);

// The text of member `name`, or "" without it.
std::string Text(const Json& json, const std::string& name);

std::vector<double> Numbers(const Json& array);
std::vector<int> Integers(const Json& array);

// Largest difference of a value; 256 where the sizes differ.
int MaxDifference(const RgbImage& a, const RgbImage& b);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_GOLDEN_TESTING_H_
