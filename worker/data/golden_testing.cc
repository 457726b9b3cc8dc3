#include "worker/data/golden_testing.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/log.h"

namespace ursa {

std::map<std::string, FixtureTensor> ReadFixtureTensors(const std::string& name) {
  const std::string bytes = ReadGoldenBytes(name);
  uint64_t header_bytes = 0;
  URSA_CHECK(bytes.size() >= sizeof(header_bytes));
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  URSA_CHECK(bytes.size() - sizeof(header_bytes) >= header_bytes);
  const absl::StatusOr<Json> header = Json::Parse(std::string_view(bytes).substr(sizeof(header_bytes), header_bytes));
  URSA_CHECK_OK(header.status());
  const std::string_view data = std::string_view(bytes).substr(sizeof(header_bytes) + header_bytes);

  std::map<std::string, FixtureTensor> tensors;
  for (const auto& [tensor_name, entry] : header->members()) {
    if (tensor_name == "__metadata__") continue;
    FixtureTensor& tensor = tensors[tensor_name];
    for (const double side : Numbers(entry["shape"])) tensor.shape.push_back(static_cast<int64_t>(side));
    const std::vector<double> range = Numbers(entry["data_offsets"]);
    const std::string_view part = data.substr(range[0], range[1] - range[0]);
    if (entry["dtype"].string() == "F32") {
      tensor.values.resize(part.size() / sizeof(float));
      std::memcpy(tensor.values.data(), part.data(), part.size());
    } else {
      URSA_CHECK(entry["dtype"].string() == "U8");
      for (const char c : part) tensor.values.push_back(static_cast<uint8_t>(c));
    }
  }
  return tensors;
}

std::string Text(const Json& json, const std::string& name) {
  const Json* member = json.Find(name);
  return member != nullptr && member->is_string() ? member->string() : "";
}

std::vector<double> Numbers(const Json& array) {
  std::vector<double> numbers;
  for (const Json& element : array.array()) numbers.push_back(element.number());
  return numbers;
}

std::vector<int> Integers(const Json& array) {
  std::vector<int> integers;
  for (const Json& element : array.array()) integers.push_back(static_cast<int>(element.number()));
  return integers;
}

RgbImage Noise(int width, int height, uint32_t seed) {
  RgbImage image(width, height);
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>((seed = seed * 1664525 + 1013904223) >> 24);
  return image;
}

int MaxDifference(const RgbImage& a, const RgbImage& b) {
  if (a.width != b.width || a.height != b.height) return 256;
  int difference = 0;
  for (size_t i = 0; i < a.NumBytes(); ++i) difference = std::max(difference, std::abs(a.pixels[i] - b.pixels[i]));
  return difference;
}

}  // namespace ursa
