// Models against torchvision, timm and fastai (golden vision_models.json), and the fused batch norm against torch's
// own.
#include "worker/nn/model.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "worker/nn/architectures.h"
#include "worker/nn/golden_testing.h"
#include "worker/nn/state_dict_reader.h"

namespace ursa {
namespace {

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The fixture's weights_rule: entry `t` of the state dict, in order.
at::Tensor RuleTensor(uint64_t t, const std::string& name, const at::Tensor& like, const std::string& arch) {
  double scale = 0.05, offset = 0;
  const bool is_basic = arch == "resnet18" || arch == "resnet34", is_bottleneck = arch == "resnet50";
  if (EndsWith(name, "running_mean")) {
    scale = 0.1;
  } else if (EndsWith(name, "running_var")) {
    scale = 0.2, offset = 1;
  } else if (like.dim() == 1 && EndsWith(name, "weight")) {
    const bool is_last = (is_bottleneck && name.find("bn3.") != std::string::npos) ||
                         (is_basic && name.find("bn2.") != std::string::npos);
    scale = is_last ? 0.05 : 0.1, offset = is_last ? 0.25 : 1;
  } else if (like.dim() > 1) {
    const double fan_in = static_cast<double>(like.numel() / like.size(0));
    scale = std::round(std::sqrt(6 / fan_in) * 1e6) / 1e6;
  }
  return Qmod(1975 + 101 * t, 3617 + 13 * t, 5116 + 31 * t, scale, offset, like.sizes().vec()).to(at::kFloat);
}

void FillByRule(Model* model, const std::string& arch) {
  NamedTensors tensors;
  uint64_t t = 0;
  for (const NamedTensor& entry : model->state()) {
    const bool is_counter = EndsWith(entry.name, "num_batches_tracked");
    tensors.push_back(
        {entry.name, is_counter ? at::zeros({}, at::kLong) : RuleTensor(t, entry.name, entry.tensor, arch)});
    ++t;
  }
  ASSERT_TRUE(model->LoadState(tensors).ok());
}

at::Tensor GoldenInput(const Json& golden, int64_t count) {
  const Json& input = golden["input"];
  return Qmod(static_cast<uint64_t>(input["a"].number()), static_cast<uint64_t>(input["b"].number()),
              static_cast<uint64_t>(input["c"].number()), input["scale"].number(), input["offset"].number(),
              {count, 3, 64, 64})
      .to(at::kFloat);
}

BodyInfo MakeBody(const std::string& arch) {
  if (arch == "efficientnet_lite0") return MakeEfficientNetLite0({/*same_padding=*/false, /*batch_norm_epsilon=*/1e-5});
  return MakeResNet(std::atoi(arch.c_str() + 6));
}

void ExpectClose(const at::Tensor& actual, const Json& expected, double absolute, double relative) {
  const at::Tensor want = GoldenTensor(expected);
  const at::Tensor have = actual.detach().to(at::kDouble).slice(1, 0, want.size(1));
  ASSERT_EQ(have.sizes(), want.sizes());
  EXPECT_TRUE(at::allclose(have, want, relative, absolute)) << (have - want).abs().max().item<double>();
}

double ExpectEntries(const Model& model, const Json& item, const std::string& arch) {
  double num_parameters = 0;
  for (const Parameter& parameter : model.parameters()) num_parameters += static_cast<double>(parameter.tensor.numel());
  if (const Json* entries = item.Find("entries"); entries != nullptr) {
    EXPECT_EQ(entries->size(), model.state().size());
    for (size_t i = 0; i < model.state().size(); ++i) {
      const std::string& golden_name = (*entries)[i][0].string();
      const std::string name =
          item["kind"].string() == "vision_learner model" ? golden_name : BodyEntryName(arch, golden_name);
      if (!name.empty()) {
        EXPECT_EQ(model.state()[i].name, name);
      }
      EXPECT_EQ(model.state()[i].tensor.sizes().vec(), GoldenIntegers((*entries)[i][1])) << golden_name;
    }
  }
  return num_parameters;
}

void ExpectTrainPass(Model* model, const Json& golden, const Json& item) {
  const Json* expected = item.Find("train_output (4 images, dropout p set to 0)");
  if (expected == nullptr) return;
  model->SetTraining(true);
  const at::Tensor logits = model->Forward(GoldenInput(golden, 4));
  ExpectClose(logits, *expected, 1e-3, 1e-3);
  const at::Tensor loss = at::cross_entropy_loss(logits, at::tensor({1, 2, 0, 1}, at::kLong));
  const double want = item["train_ce_loss_targets_1_2_0_1"].number();
  EXPECT_NEAR(loss.item<double>(), want, 1e-3 * want);
  loss.backward();
  const bool is_fastai = item["kind"].string() == "vision_learner model";
  const auto our_name = [&](const std::string& name) {
    if (is_fastai) return name;
    return name.compare(0, 3, "fc.") == 0 ? "1.2." + name.substr(3) : BodyEntryName(item["arch"].string(), name);
  };
  for (const auto& [name, norm] : item["train_grad_norms"].members()) {
    bool found = false;
    for (const Parameter& parameter : model->parameters()) {
      if (parameter.name != our_name(name)) continue;
      found = true;
      EXPECT_NEAR(parameter.tensor.grad().norm().item<double>(), norm.number(), 2e-3 * norm.number()) << name;
    }
    EXPECT_TRUE(found) << name;
  }
  for (const auto& [name, sum] : item["running_stats_after_train"].members()) {
    for (const NamedTensor& buffer : model->buffers()) {
      if (buffer.name != our_name(name)) continue;
      EXPECT_NEAR(buffer.tensor.sum(at::kDouble).item<double>(), sum.number(), 1e-3 * std::abs(sum.number()) + 1e-3)
          << name;
    }
  }
}

// Options of create_head that MakeHead has; false with the reason otherwise.
bool ParseHead(const Json& params, HeadOptions* options, std::string* why) {
  for (const auto& [name, value] : params.members()) {
    if (name == "concat_pool") {
      options->concat_pool = value.boolean();
    } else if (name == "first_bn") {
      options->first_norm = value.boolean();
    } else if (name == "lin_ftrs") {
      options->hidden.clear();
      for (const int64_t width : GoldenIntegers(value)) options->hidden.push_back(static_cast<int>(width));
    } else if (name == "ps" && value.is_number()) {
      options->dropout = value.number();
    } else {
      *why = "head option " + name + " (later work)";
      return false;
    }
  }
  return true;
}

void ExpectFastaiModel(const Json& golden, const Json& item, const HeadOptions& options) {
  const std::string arch = item["arch"].string();
  ModelConfig config;
  config.architecture = arch;
  config.num_classes = static_cast<int>(item["n_out"].number());
  config.head = options;
  auto model = BuildModel(config);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(ExpectEntries(**model, item, arch), item["n_parameters"].number());
  std::vector<int64_t> group_sizes(3), no_decay(1), trainable(1);
  (*model)->Freeze(2, /*train_norms=*/true);
  std::vector<std::vector<std::string>> groups(3);
  for (const Parameter& parameter : (*model)->parameters()) {
    const int64_t count = parameter.tensor.numel();
    group_sizes[static_cast<size_t>(parameter.group)] += count;
    if (!parameter.decays) no_decay[0] += count;
    if (parameter.tensor.requires_grad()) trainable[0] += count;
    groups[static_cast<size_t>(parameter.group)].push_back(parameter.name);
  }
  EXPECT_EQ(group_sizes, GoldenIntegers(item["group_sizes"]));
  EXPECT_EQ(trainable[0], item["trainable_when_frozen"].number());
  double no_wd = item["no_weight_decay"].number();
  EXPECT_EQ(static_cast<double>(no_decay[0]), no_wd);
  if (const Json* names = item.Find("groups"); names != nullptr) {
    for (size_t g = 0; g < 3; ++g) {
      ASSERT_EQ(groups[g].size(), (*names)[g].size());
      for (size_t i = 0; i < groups[g].size(); ++i) {
        EXPECT_EQ(groups[g][i], (*names)[g][i].string());
      }
    }
  }
  (*model)->Freeze(0, true);
  if (item.Find("eval_output") == nullptr) return;

  // A model of our own parts, to reach its dropout.
  BodyInfo body = MakeBody(arch);
  Model::Parts parts;
  parts.head = MakeHead(body.num_features, config.num_classes, options);
  parts.head->VisitLayers("", [](const std::string&, Layer* layer) {
    if (auto* dropout = dynamic_cast<Dropout*>(layer)) dropout->set_probability(0);
  });
  parts.body = std::move(body.layer);
  Model own(std::move(parts));
  FillByRule(&own, arch);
  ExpectClose(own.Forward(GoldenInput(golden, 2)), item["eval_output"], 2e-4, 1e-5);
  ExpectTrainPass(&own, golden, item);
}

TEST(VisionModelsTest, Golden) {
  const Json golden = ReadGolden("vision_models.json");
  GoldenScope scope("vision_models.json");
  for (const Json& item : golden["cases"].array()) {
    const std::string kind = item["kind"].string();
    const Json* arch = item.Find("arch");
    SCOPED_TRACE(kind + " " + (arch != nullptr ? arch->string() : ""));
    if (kind == "torchvision" || kind == "timm") {
      const auto model = ClassifierModel(MakeBody(arch->string()));
      FillByRule(model.get(), arch->string());
      EXPECT_EQ(ExpectEntries(*model, item, arch->string()), item["n_parameters"].number());
      ExpectClose(model->Forward(GoldenInput(golden, 2)), item["eval_output"], 2e-4, 1e-5);
      if (kind == "torchvision") ExpectTrainPass(model.get(), golden, item);
    } else if (kind == "vision_learner model") {
      HeadOptions options;
      std::string why;
      if (!ParseHead(item["params"], &options, &why)) {
        scope.OutOfScope(kind, why);
        continue;
      }
      ExpectFastaiModel(golden, item, options);
    } else if (kind == "head initialisation") {
      const auto head = MakeHead(512, 10, {});
      InitializeHead(head.get(), 7);
      head->Visit("", [&](const LayerTensor& entry) {
        const double mean = entry.tensor->to(at::kDouble).mean().item<double>();
        if (entry.name == "4.weight" || entry.name == "8.weight") {
          const double want = item[entry.name == "4.weight" ? "expected_4" : "expected_8"].number();
          const double count = static_cast<double>(entry.tensor->numel());
          EXPECT_NEAR(entry.tensor->to(at::kDouble).std().item<double>(), want, 4 * want / std::sqrt(2 * count));
          EXPECT_NEAR(mean, 0, 4 * want / std::sqrt(count));
        } else if (EndsWith(entry.name, ".bias")) {
          EXPECT_NEAR(mean, item["bn_bias"][0].number(), 1e-9);
        } else if (EndsWith(entry.name, ".weight")) {
          EXPECT_EQ(mean, item["bn_weight"][0].number());
        }
      });
    } else if (kind == "AdaptiveConcatPool2d") {
      const at::Tensor y = GlobalPool(true).Forward(GoldenTensor(item["x"])).flatten(1);
      EXPECT_TRUE(at::equal(y, GoldenTensor(item["y"]))) << y;
    } else {
      scope.OutOfScope(kind, "checked by tensor_files_test");
      continue;
    }
    scope.Checked();
  }
  EXPECT_GE(scope.num_checked(), 13);
}

TEST(BuildModelTest, SeedDecidesTheBits) {
  ModelConfig config;
  config.architecture = "efficientnet_lite0";
  config.num_classes = 3;
  config.seed = 5;
  const auto a = BuildModel(config), b = BuildModel(config);
  config.seed = 6;
  const auto c = BuildModel(config);
  ASSERT_TRUE(a.ok() && b.ok() && c.ok());
  EXPECT_EQ((*a)->num_groups(), 2);
  bool differs = false;
  for (size_t i = 0; i < (*a)->state().size(); ++i) {
    EXPECT_TRUE(at::equal((*a)->state()[i].tensor, (*b)->state()[i].tensor)) << (*a)->state()[i].name;
    differs |= !at::equal((*a)->state()[i].tensor, (*c)->state()[i].tensor);
  }
  EXPECT_TRUE(differs);
}

TEST(BuildModelTest, PretrainedWeights) {
  ModelConfig config;
  config.architecture = "efficientnet_lite0";
  config.num_classes = 3;
  config.pretrained_path = std::getenv("URSA_WEIGHTS");
  const auto model = BuildModel(config);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto file = ReadWeightsFile(std::getenv("URSA_WEIGHTS"));
  ASSERT_TRUE(file.ok());
  // The file's order is timm's: 294 entries of the body, then the classifier's two.
  for (size_t i = 0; i + 2 < file->size(); ++i) {
    EXPECT_TRUE(at::equal((*file)[i].tensor, (*model)->state()[i].tensor)) << (*file)[i].name;
  }
  config.architecture = "resnet18";
  EXPECT_EQ(BuildModel(config).status().code(), absl::StatusCode::kInvalidArgument);
  config.pretrained_path = "/nonexistent.pth";
  EXPECT_EQ(BuildModel(config).status().code(), absl::StatusCode::kNotFound);
}

TEST(BuildModelTest, BadConfigs) {
  ModelConfig config;
  config.architecture = "vgg";
  config.num_classes = 3;
  EXPECT_EQ(BuildModel(config).status().code(), absl::StatusCode::kInvalidArgument);
  config.architecture = "resnet18";
  config.num_classes = 0;
  EXPECT_EQ(BuildModel(config).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ModelTest, SamePadding) {
  // TensorFlow's SAME on an even extent with stride 2: no row before, one after.
  Conv2d conv({1, 1, 3, 2, 1, 0, true});
  conv.weight.fill_(1);
  const at::Tensor y = conv.Forward(at::arange(16).to(at::kFloat).reshape({1, 1, 4, 4}));
  EXPECT_TRUE(at::equal(y.flatten(), at::tensor({45.f, 39.f, 66.f, 50.f}))) << y;
}

class FusedBatchNormTest : public ::testing::TestWithParam<Activation> {};

// The same in float64 by torch's separate operators.
std::vector<at::Tensor> ReferenceBatchNorm(const at::Tensor& images, const at::Tensor& gradient,
                                           const BatchNorm& norm) {
  at::Tensor x = images.detach().to(at::kDouble).set_requires_grad(true);
  at::Tensor weight = norm.weight.detach().to(at::kDouble).set_requires_grad(true);
  at::Tensor bias = norm.bias.detach().to(at::kDouble).set_requires_grad(true);
  const at::Tensor mean = at::zeros_like(weight), variance = at::ones_like(weight);
  const auto activate = [](const at::Tensor& z) {
    if (FusedBatchNormTest::GetParam() == Activation::kRelu) return at::relu(z);
    return FusedBatchNormTest::GetParam() == Activation::kRelu6 ? at::hardtanh(z, 0, 6) : z;
  };
  const at::Tensor y = activate(at::batch_norm(x, weight, bias, mean, variance, true, 0.1, 1e-3, false));
  y.backward(gradient.to(at::kDouble));
  const at::NoGradGuard no_grad;
  const at::Tensor eval = activate(at::batch_norm(x, weight, bias, mean, variance, false, 0.1, 1e-3, false));
  return {y, x.grad(), weight.grad(), bias.grad(), mean, variance, eval};
}

TEST_P(FusedBatchNormTest, EqualsFloat64) {
  for (const auto& shape : std::vector<std::vector<int64_t>>{{4, 16, 7, 5}, {3, 96, 33, 31}, {2, 1152, 3, 3}}) {
    SCOPED_TRACE(at::IntArrayRef(shape));
    const int channels = static_cast<int>(shape[1]);
    BatchNorm norm({channels, 1e-3, 0.1, GetParam()});
    norm.SetTraining(true);
    norm.weight.copy_(Qmod(3, 5, 7, 1, 1.2, {channels}));
    norm.bias.copy_(Qmod(11, 5, 3, 1, 0.5, {channels}));
    norm.weight.set_requires_grad(true);
    norm.bias.set_requires_grad(true);
    // A mean that is large against the deviation: what naive sums of squares get wrong.
    at::Tensor x = Qmod(13, 17, 19, 3, 30, shape).to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
    x.set_requires_grad(true);
    const at::Tensor gradient =
        Qmod(23, 29, 31, 1, 0.1, shape).to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
    const std::vector<at::Tensor> expected = ReferenceBatchNorm(x, gradient, norm);
    const at::Tensor y = norm.Forward(x);
    y.backward(gradient);
    norm.SetTraining(false);
    const at::NoGradGuard no_grad;
    const std::vector<at::Tensor> actual = {
        y, x.grad(), norm.weight.grad(), norm.bias.grad(), norm.running_mean, norm.running_var, norm.Forward(x)};
    for (size_t i = 0; i < actual.size(); ++i) {
      const double scale = expected[i].abs().max().item<double>();
      const double error = (actual[i].to(at::kDouble) - expected[i]).abs().max().item<double>();
      EXPECT_LE(error, 2e-5 * (1 + scale)) << "result " << i << " of magnitude " << scale;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Activations, FusedBatchNormTest,
                         ::testing::Values(Activation::kNone, Activation::kRelu, Activation::kRelu6));

TEST(FusedBatchNormTest, SameBitsWithAnyNumberOfThreads) {
  at::Tensor outputs[2], gradients[2];
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    BatchNorm norm({32, 1e-3, 0.1, Activation::kRelu6});
    norm.SetTraining(true);
    at::Tensor x = Qmod(13, 17, 19, 3, 0, {4, 32, 56, 56}).to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
    x.set_requires_grad(true);
    outputs[threads - 1] = norm.Forward(x);
    outputs[threads - 1].sum().backward();
    gradients[threads - 1] = x.grad();
  }
  EXPECT_TRUE(at::equal(outputs[0], outputs[1]));
  EXPECT_TRUE(at::equal(gradients[0], gradients[1]));
}

TEST(ModelTest, FrozenWithoutNormsKeepsNoGraphOfTheBody) {
  ModelConfig config;
  config.architecture = "resnet18";
  config.num_classes = 3;
  const auto model = BuildModel(config);
  ASSERT_TRUE(model.ok());
  (*model)->SetTraining(true);
  (*model)->Freeze(2, /*train_norms=*/false);
  const at::Tensor images = at::rand({2, 3, 32, 32});
  const at::Tensor before = (*model)->buffers()[0].tensor.clone();
  EXPECT_FALSE((*model)->Features(images).requires_grad());
  EXPECT_FALSE(at::equal(before, (*model)->buffers()[0].tensor)) << "running statistics move even when frozen";
  (*model)->Freeze(2, /*train_norms=*/false, /*hold_norm_statistics=*/true);
  const at::Tensor held = (*model)->buffers()[0].tensor.clone();
  (*model)->Forward(images);
  EXPECT_TRUE(at::equal(held, (*model)->buffers()[0].tensor));
}

}  // namespace
}  // namespace ursa
