// EfficientNet-Lite0 with the packaged ImageNet weights on real photos, against timm: golden pretrained_lite0.json. The
// whole way from file to logits: decoder, resize, normalisation, weights reader, model. Needs URSA_DATA.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "worker/data/image_decoder.h"
#include "worker/data/resize.h"
#include "worker/nn/architectures.h"
#include "worker/nn/golden_testing.h"
#include "worker/nn/state_dict_reader.h"

namespace ursa {
namespace {

constexpr int kSize = 224;

// The classifier that the weights were trained with.
std::unique_ptr<Model> MakeClassifier() {
  auto model = ClassifierModel(MakeEfficientNetLite0({}));
  auto file = ReadWeightsFile(std::getenv("URSA_WEIGHTS"));
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return model;
  for (NamedTensor& entry : *file) {
    const std::string name = BodyEntryName("efficientnet_lite0", entry.name);
    entry.name = name.empty() ? "1.2." + entry.name.substr(entry.name.rfind('.') + 1) : name;
  }
  const absl::Status status = model->LoadState(*file);
  EXPECT_TRUE(status.ok()) << status;
  return model;
}

TEST(PretrainedTest, Golden) {
  const char* data = std::getenv("URSA_DATA");
  if (data == nullptr || *data == '\0') GTEST_SKIP() << "URSA_DATA is not set: no photos";
  const Json golden = ReadGolden("pretrained_lite0.json");
  const double tolerance = golden["tolerance"]["logits_abs"].number();
  const auto model = MakeClassifier();
  const at::NoGradGuard no_grad;
  GoldenScope scope("pretrained_lite0.json");
  for (const Json& item : golden["cases"].array()) {
    const std::string& photo = item["photo"].string();
    SCOPED_TRACE(photo);
    const auto bytes = ReadFile(std::string(data) + "/bears/" + photo);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    const auto image = DecodeImage(*bytes, {});
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->width, item["size_wh"][0].number());
    EXPECT_EQ(image->height, item["size_wh"][1].number());
    RgbImage resized;
    ResizeScratch scratch;
    ResizeBilinear(*image, {0, 0, image->width, image->height}, kSize, kSize, {0, 0, kSize, kSize}, &scratch, &resized);
    const at::Tensor pixels = at::from_blob(resized.pixels.data(), {1, kSize, kSize, 3}, at::kByte);
    const at::Tensor mean = pixels.to(at::kDouble).mean({0, 1, 2});
    EXPECT_TRUE(
        at::allclose(mean, GoldenTensor(item["resized_mean"]), 0, golden["tolerance"]["resized_mean_abs"].number()))
        << mean;
    const at::Tensor images = pixels.permute({0, 3, 1, 2}).to(at::kFloat).div(255).sub(0.5).div(0.5);

    const at::Tensor pooled = model->Features(images).mean({2, 3}).flatten().to(at::kDouble);
    const at::Tensor logits = model->Forward(images).flatten().to(at::kDouble);
    const at::Tensor first = GoldenTensor(item["logits_first16"]);
    EXPECT_TRUE(at::allclose(logits.slice(0, 0, first.numel()), first, 0, tolerance));
    const auto top = std::get<1>(logits.topk(5));
    for (int64_t i = 0; i < 5; ++i) {
      const auto at = static_cast<size_t>(i);
      EXPECT_EQ(top[i].item<int64_t>(), item["top5"][at].number());
      EXPECT_NEAR(logits[top[i].item<int64_t>()].item<double>(), item["top5_logits"][at].number(), tolerance);
    }
    EXPECT_NEAR(logits.sum().item<double>(), item["logits_sum"].number(), 0.2);
    EXPECT_NEAR(logits.norm().item<double>(), item["logits_l2"].number(), 0.02);
    const at::Tensor features = GoldenTensor(item["pooled_features_first8"]);
    EXPECT_TRUE(at::allclose(pooled.slice(0, 0, features.numel()), features, 0, tolerance));
    scope.Checked();
  }
  EXPECT_EQ(scope.num_checked(), static_cast<int>(golden["cases"].size()));
}

}  // namespace
}  // namespace ursa
