// Golden values as pictures and numbers, for the tests of this folder; and the files that they are in.
#ifndef URSA_WORKER_DATA_GOLDEN_TESTING_H_
#define URSA_WORKER_DATA_GOLDEN_TESTING_H_

#include <map>
#include <string>
#include <vector>

#include "worker/data/image.h"
#include "worker/nn/golden_files.h"  // for whoever includes this
#include "worker/nn/json.h"

namespace ursa {

// A tensor of a safetensors file. Bytes are widened to float.
struct FixtureTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
// Ends the process with the reason if the file is missing or wrong.
std::map<std::string, FixtureTensor> ReadFixtureTensors(const std::string& name);

// The text of member `name`, or "" without it.
std::string Text(const Json& json, const std::string& name);

std::vector<double> Numbers(const Json& array);
std::vector<int> Integers(const Json& array);

// A picture that no rule of a transform fits.
RgbImage Noise(int width, int height, uint32_t seed);

// Largest difference of a value; 256 where the sizes differ.
int MaxDifference(const RgbImage& a, const RgbImage& b);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_GOLDEN_TESTING_H_
