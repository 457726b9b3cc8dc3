#include "worker/task/spare.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "absl/strings/ascii.h"
#include "base/file.h"
#include "base/log.h"

namespace ursa {
namespace {

constexpr char kScoreFile[] = "/proc/self/oom_score_adj";
constexpr char kFirstToGo[] = "1000";

// The kernel takes the number in one write.
bool SetScore(const std::string& score) { return bool(std::ofstream(kScoreFile) << score << std::flush); }

}  // namespace

void SetCommandLine(int argc, char** argv, const std::vector<std::string>& words) {
  char* to = argv[0];
  char* const end = argv[argc - 1] + std::strlen(argv[argc - 1]) + 1;  // the kernel lays them out in a row
  for (const std::string& word : words) {
    if (static_cast<size_t>(end - to) <= word.size()) break;
    to = std::copy(word.begin(), word.end(), to);
    *to++ = '\0';
  }
  std::fill(to, end, '\0');
}

FirstToGo::FirstToGo() {
  const absl::StatusOr<std::string> score = ReadFile(kScoreFile);
  if (score.ok() && SetScore(kFirstToGo)) score_ = std::string(absl::StripAsciiWhitespace(*score));
}

FirstToGo::~FirstToGo() {
  if (!score_.empty() && !SetScore(score_)) URSA_LOG(WARNING) << kScoreFile << ": cannot go back to " << score_;
}

}  // namespace ursa
