#include "worker/task/spare.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>

#include "absl/strings/ascii.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/comm/device.h"
#include "worker/nn/model.h"
#include "worker/nn/torch_error.h"
#include "worker/train/loss.h"

namespace ursa {
namespace {

constexpr char kScoreFile[] = "/proc/self/oom_score_adj";
constexpr char kFirstToGo[] = "1000";

// The kernel takes the number in one write.
bool SetScore(const std::string& score) { return bool(std::ofstream(kScoreFile) << score << std::flush); }

absl::Status TakeStep() {
  ModelConfig config;
  config.architecture = "efficientnet_lite0";
  config.num_classes = 2;
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, BuildModel(config));
  model->SetTraining(true);
  try {
    const at::Tensor images = at::zeros({2, 3, 64, 64}).contiguous(at::MemoryFormat::ChannelsLast);
    ClassificationLoss({}, model->Forward(images), at::zeros({2}, at::kLong)).backward();
  } catch (const std::exception& error) {
    return TorchErrorStatus("warm-up", error, absl::StatusCode::kInternal);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WarmUp(const std::string& kind, const std::string& plugin_path) {
  URSA_RETURN_IF_ERROR(LoadAccelerator(kind, plugin_path));
  return TakeStep();
}

void SetCommandLine(int argc, char** argv, const std::vector<std::string>& words) {
  char* const begin = argv[0];
  char* const end = argv[argc - 1] + std::strlen(argv[argc - 1]) + 1;  // the kernel lays them out in a row
  char* to = begin;
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
