#include "worker/task/warm_up.h"

#include <ATen/ops/zeros.h>

#include <exception>
#include <memory>

#include "base/status_macros.h"
#include "worker/comm/device.h"
#include "worker/nn/model.h"
#include "worker/nn/torch_error.h"
#include "worker/train/loss.h"

namespace ursa {
namespace {

// Of a small model: what it costs is mostly what every first step costs.
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

}  // namespace ursa
