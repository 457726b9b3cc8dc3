#include "experiments/golden_testlib.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"

namespace ursa {

std::vector<Json> GoldenCases(const std::string& file_name) {
  const char* folder = std::getenv("URSA_FIXTURES");
  const std::string path = std::string(folder != nullptr ? folder : "tests/golden") + "/" + file_name;
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  Json root;
  const auto status = google::protobuf::util::JsonStringToMessage(text.str(), &root);
  if (!file || !status.ok()) {
    ADD_FAILURE() << path << ": cannot be read: " << status.ToString();
    return {};
  }
  const auto& cases = At(root, "cases").list_value().values();
  return {cases.begin(), cases.end()};
}

const Json& At(const Json& object, const std::string& key) {
  const auto& fields = object.struct_value().fields();
  const auto found = fields.find(key);
  if (found != fields.end()) return found->second;
  ADD_FAILURE() << "no member \"" << key << "\" in " << object.ShortDebugString().substr(0, 200);
  return Json::default_instance();
}

bool Has(const Json& object, const std::string& key) { return object.struct_value().fields().count(key) != 0; }

std::string Kind(const Json& golden_case) { return At(golden_case, "kind").string_value(); }

double Number(const Json& value) {
  EXPECT_EQ(value.kind_case(), Json::kNumberValue) << value.ShortDebugString();
  return value.number_value();
}

int64_t Integer(const Json& value) { return static_cast<int64_t>(Number(value)); }

std::vector<double> Numbers(const Json& list) {
  std::vector<double> numbers;
  for (const Json& value : list.list_value().values()) numbers.push_back(Number(value));
  return numbers;
}

std::vector<int64_t> Integers(const Json& list) {
  std::vector<int64_t> numbers;
  for (const Json& value : list.list_value().values()) numbers.push_back(Integer(value));
  return numbers;
}

std::vector<std::string> Strings(const Json& list) {
  std::vector<std::string> strings;
  for (const Json& value : list.list_value().values()) strings.push_back(value.string_value());
  return strings;
}

int GoldenTally::num_checked() const {
  int sum = 0;
  for (const auto& [kind, count] : checked_) sum += count;
  return sum;
}

GoldenTally::~GoldenTally() {
  for (const auto& [kind, count] : checked_) std::printf("golden: checked %d of %s\n", count, kind.c_str());
  for (const auto& [kind, count] : skipped_) std::printf("golden: out of scope %d of %s\n", count, kind.c_str());
}

}  // namespace ursa
