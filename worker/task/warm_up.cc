#include "worker/task/warm_up.h"

#include <ATen/ops/zeros.h>

#include <exception>
#include <memory>

#include "base/log.h"
#include "base/status_macros.h"
#include "worker/comm/device.h"
#include "worker/nn/model.h"
#include "worker/nn/torch_error.h"
#include "worker/train/loss.h"

namespace ursa {
namespace {

// Of a small model: what it costs is mostly what every first step costs.
absl::Status TakeStep(at::Device device) {
  ModelConfig config;
  config.architecture = "efficientnet_lite0";
  config.num_classes = 2;
  config.head.dropout = 0;  // would draw from the generator that the task seeds
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, BuildModel(config));
  try {
    model->To(device);
    model->SetTraining(true);
    const at::Tensor images = at::zeros({2, 3, 64, 64}).contiguous(at::MemoryFormat::ChannelsLast).to(device);
    const at::Tensor loss = ClassificationLoss({}, model->Forward(images), at::zeros({2}, at::kLong).to(device));
    loss.backward();
    loss.item<float>();  // waits for the device
  } catch (const std::exception& error) {
    return TorchErrorStatus("warm-up", error, absl::StatusCode::kInternal);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WarmUp(const std::string& kind, const std::string& plugin_path) {
  URSA_RETURN_IF_ERROR(LoadAccelerator(kind, plugin_path));
  return TakeStep(at::Device(at::kCPU));
}

DeviceWarmUp::DeviceWarmUp(at::Device device) {
  if (device.is_cpu()) return;
  thread_ = std::thread([device] {
    const absl::Status warm = TakeStep(device);
    if (!warm.ok()) URSA_LOG(WARNING) << "device " << device.str() << ": " << warm;
  });
}

DeviceWarmUp::~DeviceWarmUp() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace ursa
