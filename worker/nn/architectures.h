// Bodies and heads of the image classifiers.
#ifndef URSA_WORKER_NN_ARCHITECTURES_H_
#define URSA_WORKER_NN_ARCHITECTURES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "worker/nn/layers.h"
#include "worker/nn/model.h"

namespace ursa {

struct BodyInfo {
  std::unique_ptr<Layer> layer;
  int num_features = 0;
};

struct EfficientNetOptions {
  bool same_padding = true;          // timm's tf_efficientnet_lite0; false: efficientnet_lite0
  double batch_norm_epsilon = 1e-3;  // of the tf_ form; 1e-5 of the other
};

// EfficientNet-Lite0 up to its last activation: [N, 3, H, W] -> [N, 1280, ceil(H/32), ceil(W/32)]. Entry names as
// timm's. Weights are zero until initialised or loaded.
BodyInfo MakeEfficientNetLite0(const EfficientNetOptions& options);

// torchvision's ResNet up to layer4, `depth` 18, 34 or 50. Entries are named by position, as in fastai's body: 0 =
// conv1, 1 = bn1, 4..7 = layer1..layer4.
BodyInfo MakeResNet(int depth);

// fastai's `create_head`.
std::unique_ptr<Sequential> MakeHead(int num_features, int num_classes, const HeadOptions& options);

// Draws the convolutions of `body` from `seed`: normal, deviation sqrt(2 / fan_out) (He et al. 2015; what torchvision
// and timm do). Norm layers keep weight 1, bias 0.
void InitializeBody(Layer* body, uint64_t seed);

// Draws the linear layers of `head` from `seed`: normal, deviation sqrt(2 / fan_in), biases 0; batch norm weights 1,
// biases 0.001, as fastai does.
void InitializeHead(Layer* head, uint64_t seed);

// fastai's name for an entry of a weights file of `architecture`; empty for its classifier's, the name itself for
// unknown ones. Knows torchvision's and timm's names, and those of efficientnet_pytorch (lukemelas).
std::string BodyEntryName(const std::string& architecture, const std::string& file_name);

}  // namespace ursa

#endif  // URSA_WORKER_NN_ARCHITECTURES_H_
