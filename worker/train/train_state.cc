#include "worker/train/train_state.h"

#include <ATen/ops/scalar_tensor.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/nn/safetensors.h"

namespace ursa {
namespace {

constexpr const char* kFormat = "ursa.train_state";
constexpr const char* kVersion = "1";
constexpr const char* kCounter = "counter/";
constexpr const char* kValue = "value/";
constexpr const char* kMetric = "metric/";
constexpr const char* kOptimizer = "optimizer/";

// On disk: never rename.
constexpr std::pair<const char*, int64_t TrainState::*> kCounters[] = {
    {"step", &TrainState::step},
    {"epoch", &TrainState::epoch},
    {"phase", &TrainState::phase},
    {"epoch_in_phase", &TrainState::epoch_in_phase},
    {"step_in_epoch", &TrainState::step_in_epoch},
    {"smooth_count", &TrainState::smooth_count},
    {"early_wait", &TrainState::early_wait},
    {"metrics_step", &TrainState::metrics_step},
};
constexpr std::pair<const char*, double TrainState::*> kValues[] = {
    {"smooth_sum", &TrainState::smooth_sum},
    {"early_best", &TrainState::early_best},
    {"best", &TrainState::best},
};
constexpr const char* kStoppedEarly = "stopped_early";

bool TakePrefix(const std::string& name, const std::string& prefix, std::string* rest) {
  if (name.compare(0, prefix.size(), prefix) != 0) return false;
  *rest = name.substr(prefix.size());
  return true;
}

}  // namespace

NamedTensors TrainStateTensors(const TrainState& state, const NamedTensors& optimizer) {
  NamedTensors tensors;
  const auto add = [&](const std::string& name, auto value, at::ScalarType type) {
    tensors.push_back({name, at::scalar_tensor(value, type)});
  };
  for (const auto& [name, member] : kCounters) add(std::string(kCounter) + name, state.*member, at::kLong);
  add(std::string(kCounter) + kStoppedEarly, int64_t{state.stopped_early}, at::kLong);
  for (const auto& [name, member] : kValues) add(std::string(kValue) + name, state.*member, at::kDouble);
  for (const auto& [name, value] : state.metrics) add(kMetric + name, value, at::kDouble);
  for (const NamedTensor& tensor : optimizer) tensors.push_back({kOptimizer + tensor.name, tensor.tensor});
  return tensors;
}

StringMap TrainStateMetadata(const std::string& plan) {
  return {{"format", kFormat}, {"version", kVersion}, {"plan", plan}};
}

absl::StatusOr<TrainStateFile> ParseTrainState(const std::string& bytes) {
  URSA_ASSIGN_OR_RETURN(SafetensorsContents contents, ParseSafetensors(bytes));
  if (contents.metadata["format"] != kFormat || contents.metadata["version"] != kVersion) {
    return absl::InvalidArgumentError(absl::StrCat("train state: format \"", contents.metadata["format"],
                                                   "\" version \"", contents.metadata["version"], "\", expected ",
                                                   kFormat, " ", kVersion));
  }
  TrainStateFile file;
  file.plan = contents.metadata["plan"];
  std::map<std::string, at::Tensor> scalars;
  for (NamedTensor& tensor : contents.tensors) {
    std::string rest;
    if (TakePrefix(tensor.name, kOptimizer, &rest)) {
      file.optimizer.push_back({rest, std::move(tensor.tensor)});
    } else if (tensor.tensor.dim() != 0) {
      return absl::DataLossError(absl::StrCat("train state: entry \"", tensor.name, "\" is not a scalar"));
    } else if (TakePrefix(tensor.name, kMetric, &rest)) {
      file.state.metrics[rest] = tensor.tensor.item<double>();
    } else {
      scalars[tensor.name] = tensor.tensor;
    }
  }
  const auto find = [&](const std::string& name, at::ScalarType type) -> absl::StatusOr<at::Tensor> {
    const auto found = scalars.find(name);
    if (found != scalars.end() && found->second.scalar_type() == type) return found->second;
    return absl::DataLossError(absl::StrCat("train state: entry \"", name, "\" is missing or of another type"));
  };
  for (const auto& [name, member] : kCounters) {
    URSA_ASSIGN_OR_RETURN(const at::Tensor scalar, find(std::string(kCounter) + name, at::kLong));
    file.state.*member = scalar.item<int64_t>();
  }
  for (const auto& [name, member] : kValues) {
    URSA_ASSIGN_OR_RETURN(const at::Tensor scalar, find(std::string(kValue) + name, at::kDouble));
    file.state.*member = scalar.item<double>();
  }
  URSA_ASSIGN_OR_RETURN(const at::Tensor stopped, find(std::string(kCounter) + kStoppedEarly, at::kLong));
  file.state.stopped_early = stopped.item<int64_t>() != 0;
  return file;
}

}  // namespace ursa
