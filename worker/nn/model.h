// Image classifiers: a convolutional body and fastai's head, with the parameter groups that fine-tuning needs.
#ifndef URSA_WORKER_NN_MODEL_H_
#define URSA_WORKER_NN_MODEL_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/nn/layers.h"
#include "worker/nn/tensors.h"

namespace ursa {

// One trainable tensor and what the optimizer must know about it.
struct Parameter {
  std::string name;      // as fastai names it, for example "0.model.blocks.0.0.bn1.weight"
  at::Tensor tensor;     // a leaf; shares memory with the model
  int group = 0;         // learning-rate group, 0 = nearest to the input
  bool is_norm = false;  // belongs to a normalisation layer
  bool decays = true;    // weight decay applies: neither of a norm layer nor called "bias"
};

// A model: body, head, their parameters in forward order. Owns its tensors. Not thread-safe.
// State entries are named as fastai's `learn.model.state_dict()` names them, in the same order.
class Model {
 public:
  struct Parts {
    std::string body_name = "0";  // prefix of the body's entries; empty: the body's own names
    std::unique_ptr<Layer> body;  // may be null
    std::string head_name = "1";
    std::unique_ptr<Layer> head;
    std::function<int(const std::string& parameter_name)> group_of;  // null: all in group 0
    int num_classes = 0;
    int num_features = 0;  // channels of the body's output
  };
  explicit Model(Parts parts);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // `images` [N, 3, H, W] float32, normalised, any memory format (channels_last is fastest; others are converted).
  // Returns logits [N, num_classes] float32. Records an autograd graph for parameters that require gradients; in
  // training mode updates running statistics and draws dropout from torch's default generator.
  at::Tensor Forward(const at::Tensor& images);

  // The body's output for `images`: [N, num_features, H', W'].
  at::Tensor Features(const at::Tensor& images);

  // Training mode (batch statistics, dropout) or evaluation mode. Models start in evaluation mode.
  void SetTraining(bool training);

  // Calls `visit` for every layer, parents first, with its full name.
  void VisitLayers(const std::function<void(const std::string& name, Layer*)>& visit);

  // Trains only groups >= `num_frozen`; with `train_norms`, norm layers of the frozen groups train too (fastai's
  // train_bn). With `hold_norm_statistics`, frozen norm layers that do not train use and keep their running statistics
  // (fastai's BnFreeze), else these move even when frozen.
  void Freeze(int num_frozen, bool train_norms, bool hold_norm_statistics = false);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  // Running statistics and counters, in state order.
  const NamedTensors& buffers() const { return buffers_; }
  // Parameters and buffers in fastai's order; they share memory with the model.
  const NamedTensors& state() const { return state_; }

  // Copies values into the model. `tensors` must have exactly the entries of state(), in any order. Errors:
  // INVALID_ARGUMENT naming the first entry that is missing, unknown, or of another shape or type; the model is then
  // unchanged.
  absl::Status LoadState(const NamedTensors& tensors);

  // Moves parameters and buffers; to be called before optimizers or reducers hold them.
  void To(at::Device device);

  int num_groups() const { return num_groups_; }
  int num_classes() const { return num_classes_; }
  int num_features() const { return num_features_; }

 private:
  void Collect();

  std::unique_ptr<Layer> body_;
  std::unique_ptr<Layer> head_;
  std::string body_name_;
  std::string head_name_;
  std::function<int(const std::string&)> group_of_;
  int num_groups_ = 1;
  int num_classes_;
  int num_features_;
  std::vector<Parameter> parameters_;
  NamedTensors buffers_;
  NamedTensors state_;
};

// fastai's head options; the defaults are those of `vision_learner`.
struct HeadOptions {
  double dropout = 0.5;             // of the last dropout; earlier ones have half of it. In [0, 1)
  std::vector<int> hidden = {512};  // widths of the hidden linear layers
  bool concat_pool = true;          // max pooling and average pooling, concatenated in this order; else average only
  bool first_norm = true;           // batch norm straight after pooling
};

struct ModelConfig {
  // "efficientnet_lite0" (timm's tf_efficientnet_lite0: SAME padding, BN eps 1e-3), "resnet18", "resnet34",
  // "resnet50" (torchvision).
  std::string architecture;
  int num_classes = 0;  // in [1, 100 000]
  // A torch state dict (.pth, read without executing anything) or .safetensors file with the architecture's entry
  // names; entries of its classifier are ignored. Without it the body is drawn from `seed` too.
  std::optional<std::string> pretrained_path;
  uint64_t seed = 0;
  HeadOptions head;
};

// The names that ModelConfig::architecture accepts.
const std::vector<std::string>& ArchitectureNames();

// Mean and deviation per channel (RGB, of images in 0..1) that an architecture's published weights expect.
struct Normalization {
  double mean[3];
  double deviation[3];
};
absl::StatusOr<Normalization> PretrainedNormalization(const std::string& architecture);

// Builds the model in evaluation mode, nothing frozen; the same config gives the same bits. Errors: INVALID_ARGUMENT
// (unknown architecture, class count, entries that do not fit), NOT_FOUND (weights file), DATA_LOSS (damaged weights
// file).
absl::StatusOr<std::unique_ptr<Model>> BuildModel(const ModelConfig& config);

}  // namespace ursa

#endif  // URSA_WORKER_NN_MODEL_H_
