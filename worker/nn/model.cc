#include "worker/nn/model.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "worker/nn/architectures.h"
#include "worker/nn/state_dict_reader.h"
#include "worker/nn/torch_error.h"

namespace ursa {
namespace {

constexpr int kClassesMax = 100'000;
constexpr uint64_t kHeadSeedStep = 0x9e3779b97f4a7c15;  // the head's draws do not repeat the body's

std::string ShapeText(const at::Tensor& tensor) { return absl::StrCat("[", absl::StrJoin(tensor.sizes(), ","), "]"); }

bool EndsWith(const std::string& text, const std::string& suffix) {
  return text.size() >= suffix.size() && text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

// fastai: groups of a torchvision ResNet are children 0-5 of the body, the rest of it, the head; of a timm model, body
// and head.
int ResNetGroup(const std::string& name) {
  if (name.compare(0, 2, "1.") == 0) return 2;
  return name.compare(0, 4, "0.6.") == 0 || name.compare(0, 4, "0.7.") == 0 ? 1 : 0;
}
int TimmGroup(const std::string& name) { return name.compare(0, 2, "1.") == 0 ? 1 : 0; }

// Reads the file, and completes its body entries by the model's own values for the rest.
absl::Status LoadPretrained(const ModelConfig& config, Model* model) {
  URSA_ASSIGN_OR_RETURN(const NamedTensors file, ReadWeightsFile(*config.pretrained_path));
  NamedTensors entries;
  std::set<std::string> names;
  for (const NamedTensor& entry : file) {
    const std::string name = BodyEntryName(config.architecture, entry.name);
    if (name.empty()) continue;
    names.insert(name);
    entries.push_back({name, entry.tensor});
  }
  for (const NamedTensor& own : model->state()) {
    // torch before 0.4.1 wrote no counters of batches; they do not matter to the values.
    const bool is_optional = EndsWith(own.name, ".num_batches_tracked");
    if (names.count(own.name) == 0 && (own.name.compare(0, 2, "1.") == 0 || is_optional)) entries.push_back(own);
  }
  const absl::Status status = model->LoadState(entries);
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("weights ", *config.pretrained_path, " for ", config.architecture,
                                                  ": ", status.message()));
}

absl::Status ValidateConfig(const ModelConfig& config) {
  const auto& known = ArchitectureNames();
  if (std::find(known.begin(), known.end(), config.architecture) == known.end()) {
    return absl::InvalidArgumentError(absl::StrCat("model: unknown architecture \"", config.architecture,
                                                   "\", known are ", absl::StrJoin(known, ", ")));
  }
  if (config.num_classes < 1 || config.num_classes > kClassesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("model: num_classes must be in 1..", kClassesMax, ", it is ", config.num_classes));
  }
  if (!(config.head.dropout >= 0 && config.head.dropout < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("model: dropout must be in [0, 1), it is ", config.head.dropout));
  }
  for (const int width : config.head.hidden) {
    if (width < 1 || width > kClassesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("model: a hidden width must be in 1..", kClassesMax, ", it is ", width));
    }
  }
  return absl::OkStatus();
}

}  // namespace

Model::Model(Parts parts)
    : body_(std::move(parts.body)),
      head_(std::move(parts.head)),
      body_name_(std::move(parts.body_name)),
      head_name_(std::move(parts.head_name)),
      group_of_(std::move(parts.group_of)),
      num_classes_(parts.num_classes),
      num_features_(parts.num_features) {
  Collect();
}

void Model::Collect() {
  parameters_.clear(), buffers_.clear(), state_.clear();
  num_groups_ = 1;
  const auto visit = [&](const LayerTensor& entry) {
    state_.push_back({entry.name, *entry.tensor});
    if (!entry.is_parameter) {
      buffers_.push_back({entry.name, *entry.tensor});
      return;
    }
    entry.tensor->set_requires_grad(true);
    Parameter parameter{entry.name, *entry.tensor};
    parameter.group = group_of_ ? group_of_(entry.name) : 0;
    parameter.is_norm = entry.is_norm;
    parameter.decays = !entry.is_norm && entry.name != "bias" && !EndsWith(entry.name, ".bias");
    num_groups_ = std::max(num_groups_, parameter.group + 1);
    parameters_.push_back(std::move(parameter));
  };
  if (body_ != nullptr) body_->Visit(body_name_, visit);
  if (head_ != nullptr) head_->Visit(head_name_, visit);
}

at::Tensor Model::Features(const at::Tensor& images) {
  const at::Tensor input = images.dim() == 4 ? images.contiguous(at::MemoryFormat::ChannelsLast) : images;
  return body_ != nullptr ? body_->Forward(input) : input;
}

at::Tensor Model::Forward(const at::Tensor& images) {
  const at::Tensor features = Features(images);
  return head_ != nullptr ? head_->Forward(features) : features;
}

void Model::SetTraining(bool training) {
  if (body_ != nullptr) body_->SetTraining(training);
  if (head_ != nullptr) head_->SetTraining(training);
}

void Model::Freeze(int num_frozen, bool train_norms, bool hold_norm_statistics) {
  std::set<std::string> trained;
  for (Parameter& parameter : parameters_) {
    const bool trains = parameter.group >= num_frozen || (train_norms && parameter.is_norm);
    parameter.tensor.set_requires_grad(trains);
    if (trains) trained.insert(parameter.name);
  }
  VisitLayers([&](const std::string& name, Layer* layer) {
    if (layer->is_norm()) layer->set_held(hold_norm_statistics && trained.count(name + ".weight") == 0);
  });
}

void Model::VisitLayers(const std::function<void(const std::string&, Layer*)>& visit) {
  if (body_ != nullptr) body_->VisitLayers(body_name_, visit);
  if (head_ != nullptr) head_->VisitLayers(head_name_, visit);
}

absl::Status Model::LoadState(const NamedTensors& tensors) {
  std::map<std::string, at::Tensor> given;
  for (const NamedTensor& entry : tensors) {
    if (!given.emplace(entry.name, entry.tensor).second) {
      return absl::InvalidArgumentError(absl::StrCat("entry \"", entry.name, "\" is there twice"));
    }
  }
  for (const NamedTensor& own : state_) {
    const auto found = given.find(own.name);
    if (found == given.end()) return absl::InvalidArgumentError(absl::StrCat("entry \"", own.name, "\" is missing"));
    if (found->second.sizes() != own.tensor.sizes() ||
        found->second.is_floating_point() != own.tensor.is_floating_point()) {
      return absl::InvalidArgumentError(absl::StrCat("entry \"", own.name, "\" has shape ", ShapeText(found->second),
                                                     " or another type, expected ", ShapeText(own.tensor)));
    }
  }
  if (given.size() != state_.size()) {
    for (const NamedTensor& own : state_) given.erase(own.name);
    return absl::InvalidArgumentError(absl::StrCat("entry \"", given.begin()->first, "\" is unknown to the model"));
  }
  const at::NoGradGuard no_grad;
  for (NamedTensor& own : state_) own.tensor.copy_(given[own.name]);
  return absl::OkStatus();
}

void Model::To(at::Device device) {
  const auto visit = [&](const LayerTensor& entry) {
    const at::NoGradGuard no_grad;
    *entry.tensor = entry.tensor->detach().to(device);
  };
  if (body_ != nullptr) body_->Visit(body_name_, visit);
  if (head_ != nullptr) head_->Visit(head_name_, visit);
  Collect();
}

const std::vector<std::string>& ArchitectureNames() {
  static const auto* const kNames =
      new std::vector<std::string>{"efficientnet_lite0", "resnet18", "resnet34", "resnet50"};
  return *kNames;
}

absl::StatusOr<Normalization> PretrainedNormalization(const std::string& architecture) {
  if (architecture == "efficientnet_lite0") return Normalization{{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}};
  const auto& known = ArchitectureNames();
  if (std::find(known.begin(), known.end(), architecture) == known.end()) {
    return absl::InvalidArgumentError(absl::StrCat("model: unknown architecture \"", architecture, "\""));
  }
  return Normalization{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
}

absl::StatusOr<std::unique_ptr<Model>> BuildModel(const ModelConfig& config) {
  URSA_RETURN_IF_ERROR(ValidateConfig(config));
  try {
    const bool is_resnet = config.architecture != "efficientnet_lite0";
    BodyInfo body = is_resnet ? MakeResNet(std::atoi(config.architecture.c_str() + 6)) : MakeEfficientNetLite0({});
    Model::Parts parts;
    parts.head = MakeHead(body.num_features, config.num_classes, config.head);
    InitializeBody(body.layer.get(), config.seed);
    InitializeHead(parts.head.get(), config.seed + kHeadSeedStep);
    parts.body = std::move(body.layer);
    parts.group_of = is_resnet ? ResNetGroup : TimmGroup;
    parts.num_classes = config.num_classes;
    parts.num_features = body.num_features;
    auto model = std::make_unique<Model>(std::move(parts));
    if (config.pretrained_path) URSA_RETURN_IF_ERROR(LoadPretrained(config, model.get()));
    return model;
  } catch (const std::exception& e) {
    return TorchErrorStatus(absl::StrCat("model ", config.architecture), e, absl::StatusCode::kInternal);
  }
}

}  // namespace ursa
