#include "worker/nn/architectures.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace ursa {
namespace {

// timm's DepthwiseSeparableConv (expansion 1) and InvertedResidual, with ReLU6 and without squeeze-and-excitation.
class MobileBlock : public Layer {
 public:
  struct Options {
    int in, out, kernel, stride, expansion;
  };
  MobileBlock(const Options& options, const EfficientNetOptions& net)
      : has_residual_(options.stride == 1 && options.in == options.out) {
    const int middle = options.in * options.expansion;
    const bool expands = options.expansion > 1;
    int norm = 1;
    const auto add = [&](const char* name, Conv2dOptions conv, Activation activation) {
      conv.same_padding = net.same_padding;
      conv.padding = conv.kernel / 2;
      steps_.push_back(AddChild(name, std::make_unique<Conv2d>(conv)));
      const BatchNormOptions batch_norm{conv.out, net.batch_norm_epsilon, 0.1, activation};
      steps_.push_back(AddChild(absl::StrCat("bn", norm++), std::make_unique<BatchNorm>(batch_norm)));
    };
    if (expands) add("conv_pw", {options.in, middle, 1, 1}, Activation::kRelu6);
    add("conv_dw", {middle, middle, options.kernel, options.stride, middle}, Activation::kRelu6);
    add(expands ? "conv_pwl" : "conv_pw", {middle, options.out, 1, 1}, Activation::kNone);
  }
  at::Tensor Forward(const at::Tensor& input) override {
    at::Tensor x = input;
    for (Layer* step : steps_) x = step->Forward(x);
    return has_residual_ ? x.add_(input) : x;
  }

 private:
  bool has_residual_;
  std::vector<Layer*> steps_;
};

class EfficientNetLite0 : public Layer {
 public:
  explicit EfficientNetLite0(const EfficientNetOptions& options) {
    const auto conv = [&](int in, int out, int kernel, int stride) {
      return std::make_unique<Conv2d>(Conv2dOptions{in, out, kernel, stride, 1, kernel / 2, options.same_padding});
    };
    const auto norm = [&](int channels) {
      return std::make_unique<BatchNorm>(
          BatchNormOptions{channels, options.batch_norm_epsilon, 0.1, Activation::kRelu6});
    };
    steps_.push_back(AddChild("conv_stem", conv(3, 32, 3, 2)));
    steps_.push_back(AddChild("bn1", norm(32)));
    struct Stage {
      int repeats, kernel, stride, expansion, out;
    };
    static constexpr Stage kStages[] = {{1, 3, 1, 1, 16},  {2, 3, 2, 6, 24},  {2, 5, 2, 6, 40}, {3, 3, 2, 6, 80},
                                        {3, 5, 1, 6, 112}, {4, 5, 2, 6, 192}, {1, 3, 1, 6, 320}};
    auto stages = std::make_unique<Sequential>();
    int in = 32;
    for (const Stage& stage : kStages) {
      auto blocks = std::make_unique<Sequential>();
      for (int i = 0; i < stage.repeats; ++i) {
        blocks->Emplace<MobileBlock>(
            MobileBlock::Options{in, stage.out, stage.kernel, i == 0 ? stage.stride : 1, stage.expansion}, options);
        in = stage.out;
      }
      stages->Add(std::move(blocks));
    }
    steps_.push_back(AddChild("blocks", std::move(stages)));
    steps_.push_back(AddChild("conv_head", conv(in, kNumFeatures, 1, 1)));
    steps_.push_back(AddChild("bn2", norm(kNumFeatures)));
  }
  static constexpr int kNumFeatures = 1280;

  at::Tensor Forward(const at::Tensor& input) override {
    at::Tensor x = input;
    for (Layer* step : steps_) x = step->Forward(x);
    return x;
  }

 private:
  std::vector<Layer*> steps_;
};

// torchvision's BasicBlock (two 3x3) and Bottleneck (1x1, 3x3 with the stride, 1x1).
class ResidualBlock : public Layer {
 public:
  ResidualBlock(int in, int width, int stride, bool is_bottleneck) {
    const int out = is_bottleneck ? 4 * width : width;
    if (is_bottleneck) {
      Add(1, {in, width, 1, 1}, Activation::kRelu);
      Add(2, {width, width, 3, stride, 1, 1}, Activation::kRelu);
      Add(3, {width, out, 1, 1}, Activation::kNone);
    } else {
      Add(1, {in, width, 3, stride, 1, 1}, Activation::kRelu);
      Add(2, {width, width, 3, 1, 1, 1}, Activation::kNone);
    }
    if (stride == 1 && in == out) return;
    auto downsample = std::make_unique<Sequential>();
    downsample->Emplace<Conv2d>(Conv2dOptions{in, out, 1, stride});
    downsample->Emplace<BatchNorm>(BatchNormOptions{out});
    downsample_ = AddChild("downsample", std::move(downsample));
  }
  at::Tensor Forward(const at::Tensor& input) override {
    at::Tensor x = input;
    for (Layer* step : steps_) x = step->Forward(x);
    return x.add_(downsample_ == nullptr ? input : downsample_->Forward(input)).relu_();
  }

 private:
  void Add(int number, const Conv2dOptions& conv, Activation activation) {
    steps_.push_back(AddChild(absl::StrCat("conv", number), std::make_unique<Conv2d>(conv)));
    steps_.push_back(AddChild(absl::StrCat("bn", number),
                              std::make_unique<BatchNorm>(BatchNormOptions{conv.out, 1e-5, 0.1, activation})));
  }
  std::vector<Layer*> steps_;
  Layer* downsample_ = nullptr;
};

void DrawNormal(at::Tensor* tensor, double deviation, const at::Generator& generator) {
  // Drawn in row-major order whatever the memory format, so that values do not depend on it.
  at::Tensor values = at::empty(tensor->sizes(), at::kFloat);
  values.normal_(0, deviation, generator);
  tensor->copy_(values);
}

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

bool StartsWith(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// efficientnet_pytorch numbers the blocks through, and the norms of a block by role.
std::string FromEfficientNetPytorch(const std::string& name) {
  static constexpr int kRepeats[] = {1, 2, 2, 3, 3, 4, 1};
  if (!StartsWith(name, "_blocks.")) {
    std::string out = Replace(Replace(Replace(name, "_bn1.", "bn2."), "_bn0.", "bn1."), "_conv_", "conv_");
    return Replace(out, "_fc.", "classifier.");
  }
  const size_t dot = name.find('.', 8);
  int block = std::atoi(name.c_str() + 8), stage = 0;
  while (stage < 7 && block >= kRepeats[stage]) block -= kRepeats[stage++];
  if (dot == std::string::npos || stage == 7) return name;
  std::string rest = name.substr(dot + 1);
  if (stage == 0) {
    rest = Replace(Replace(Replace(rest, "_depthwise_conv", "conv_dw"), "_project_conv", "conv_pw"), "_bn", "bn");
  } else {
    rest = Replace(Replace(Replace(rest, "_expand_conv", "conv_pw"), "_depthwise_conv", "conv_dw"), "_project_conv",
                   "conv_pwl");
    rest = Replace(Replace(Replace(rest, "_bn2", "bn3"), "_bn1", "bn2"), "_bn0", "bn1");
  }
  return absl::StrCat("blocks.", stage, ".", block, ".", rest);
}

}  // namespace

BodyInfo MakeEfficientNetLite0(const EfficientNetOptions& options) {
  auto body = std::make_unique<Sequential>();
  // fastai wraps timm's models: their entries start with "model.".
  body->AddNamed("model", std::make_unique<EfficientNetLite0>(options));
  return {std::move(body), EfficientNetLite0::kNumFeatures};
}

BodyInfo MakeResNet(int depth) {
  URSA_CHECK(depth == 18 || depth == 34 || depth == 50) << depth;
  const bool is_bottleneck = depth == 50;
  const std::vector<int> repeats = depth == 18 ? std::vector<int>{2, 2, 2, 2} : std::vector<int>{3, 4, 6, 3};
  auto body = std::make_unique<Sequential>();
  body->AddNamed("0", std::make_unique<Conv2d>(Conv2dOptions{3, 64, 7, 2, 1, 3}));
  body->AddNamed("1", std::make_unique<BatchNorm>(BatchNormOptions{64, 1e-5, 0.1, Activation::kRelu}));
  body->AddNamed("3", std::make_unique<MaxPool2d>(3, 2, 1));  // 2 is the activation, which the norm layer applies
  int in = 64;
  for (int stage = 0; stage < 4; ++stage) {
    auto blocks = std::make_unique<Sequential>();
    const int width = 64 << stage;
    for (int i = 0; i < repeats[static_cast<size_t>(stage)]; ++i) {
      blocks->Emplace<ResidualBlock>(in, width, i == 0 && stage > 0 ? 2 : 1, is_bottleneck);
      in = is_bottleneck ? 4 * width : width;
    }
    body->AddNamed(absl::StrCat(4 + stage), std::move(blocks));
  }
  return {std::move(body), in};
}

std::unique_ptr<Sequential> MakeHead(int num_features, int num_classes, const HeadOptions& options) {
  auto head = std::make_unique<Sequential>();
  head->Emplace<GlobalPool>(options.concat_pool);
  head->Emplace<Flatten>();
  int in = options.concat_pool ? 2 * num_features : num_features;
  for (size_t i = 0; i <= options.hidden.size(); ++i) {
    const bool is_last = i == options.hidden.size();
    const bool has_norm = i > 0 || options.first_norm;
    const int out = is_last ? num_classes : options.hidden[i];
    if (has_norm) head->Emplace<BatchNorm>(BatchNormOptions{in});
    const double dropout = is_last ? options.dropout : options.dropout / 2;
    if (dropout > 0) head->Emplace<Dropout>(dropout);
    head->Emplace<Linear>(in, out, /*has_bias=*/!has_norm);
    if (!is_last) head->Emplace<Relu>();
    in = out;
  }
  return head;
}

void InitializeBody(Layer* body, uint64_t seed) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  body->VisitLayers("", [&](const std::string&, Layer* layer) {
    if (auto* conv = dynamic_cast<Conv2d*>(layer)) {
      const Conv2dOptions& options = conv->options();
      const double fan_out = 1.0 * options.kernel * options.kernel * options.out / options.groups;
      DrawNormal(&conv->weight, std::sqrt(2 / fan_out), generator);
    }
  });
}

void InitializeHead(Layer* head, uint64_t seed) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  head->VisitLayers("", [&](const std::string&, Layer* layer) {
    if (auto* linear = dynamic_cast<Linear*>(layer)) {
      DrawNormal(&linear->weight, std::sqrt(2.0 / static_cast<double>(linear->weight.size(1))), generator);
      if (linear->bias.defined()) linear->bias.zero_();
    } else if (auto* norm = dynamic_cast<BatchNorm*>(layer)) {
      norm->weight.fill_(1);
      norm->bias.fill_(1e-3);
    }
  });
}

std::string BodyEntryName(const std::string& architecture, const std::string& file_name) {
  if (architecture == "efficientnet_lite0") {
    const std::string name = file_name[0] == '_' ? FromEfficientNetPytorch(file_name) : file_name;
    return StartsWith(name, "classifier.") ? "" : "0.model." + name;
  }
  static const std::pair<const char*, const char*> kPrefixes[] = {{"conv1.", "0.0."},  {"bn1.", "0.1."},
                                                                  {"layer1.", "0.4."}, {"layer2.", "0.5."},
                                                                  {"layer3.", "0.6."}, {"layer4.", "0.7."}};
  if (StartsWith(file_name, "fc.")) return "";
  for (const auto& [from, to] : kPrefixes) {
    if (StartsWith(file_name, from)) return to + file_name.substr(std::string(from).size());
  }
  return file_name;
}

}  // namespace ursa
