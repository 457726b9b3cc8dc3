#include "worker/nn/golden_files.h"

#include <cstdlib>
#include <iostream>

#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/log.h"

namespace ursa {

std::string GoldenPath(const std::string& name) {
  const char* folder = std::getenv("URSA_FIXTURES");
  if (folder != nullptr && *folder != '\0') return std::string(folder) + "/" + name;
  const char* runfiles = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  if (runfiles == nullptr || workspace == nullptr) return "tests/golden/" + name;
  return std::string(runfiles) + "/" + workspace + "/tests/golden/" + name;
}

std::string ReadGoldenBytes(const std::string& name) {
  absl::StatusOr<std::string> bytes = ReadFile(GoldenPath(name));
  URSA_CHECK_OK(bytes.status());
  return *std::move(bytes);
}

Json ReadGolden(const std::string& name) {
  absl::StatusOr<Json> json = Json::Parse(ReadGoldenBytes(name));
  URSA_CHECK_OK(json.status());
  return *std::move(json);
}

GoldenScope::~GoldenScope() {
  size_t num_skipped = 0;
  for (const auto& [why, names] : skipped_) num_skipped += names.size();
  // tidy: allow(print) a test says what it left out
  std::cout << "golden " << file_ << ": " << num_checked_ << " cases checked, " << num_skipped << " out of scope\n";
  for (const auto& [why, names] : skipped_) {
    // tidy: allow(print) as above
    std::cout << "  out of scope: " << why << ": " << absl::StrJoin(names, ", ") << "\n";
  }
}

}  // namespace ursa
