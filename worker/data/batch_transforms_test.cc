#include "worker/data/batch_transforms.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "worker/data/golden_testing.h"
#include "worker/data/pixel_kernels.h"

namespace ursa {
namespace {

constexpr double kTolerance = 2e-5;
constexpr double kCoordinateTolerance = 1e-5;
constexpr double kLogitTolerance = 5e-5;  // near 0 and 1, as the fixture says

// Image `index` of an NCHW batch as [height, width, 3].
std::vector<float> ImageOf(const FixtureTensor& batch, int index) {
  const int64_t height = batch.shape[2];
  const int64_t width = batch.shape[3];
  std::vector<float> image(height * width * 3);
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t i = 0; i < height * width; ++i) {
      image[3 * i + c] = batch.values[(3 * index + c) * height * width + i];
    }
  }
  return image;
}

double MaxDifference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference = std::max<double>(difference, std::abs(a[i] - b[i]));
  return difference;
}

// The draws of image `index` as far as they are recorded.
AugDraws DrawsOf(const Json& expected, int index) {
  const Json& recorded = expected["draws"];
  const auto value = [&recorded, index](const char* name, double neutral) {
    const Json* list = recorded.Find(name);
    return list == nullptr ? neutral : (*list)[index].number();
  };
  AugDraws draws;
  draws.dihedral = static_cast<int>(value("k", value("flip", 0)));
  draws.degrees = value("deg", 0);
  draws.zoom = value("zoom", 1);
  draws.zoom_x = value("cx", 0.5);
  draws.zoom_y = value("cy", 0.5);
  draws.warp_x = value("x", 0);
  draws.warp_y = value("y", 0);
  return draws;
}

// Without recorded draws the matrix and the moved corners say what was drawn.
CoordinateMap MapOf(const Json& expected, int index, int width, int height) {
  const Json& matrix = expected["affine_2x3"][index];
  CoordinateMap map = MakeCoordinateMap(DrawsOf(expected, index), width, height);
  if (!expected["draws"].members().empty() || expected["split_idx"].number() == 1) {
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 3; ++j) EXPECT_NEAR(map.matrix[i][j], matrix[i][j].number(), 2e-6);
    }
    return map;
  }
  if (const Json* corners = expected.Find("warp_target_points")) {
    AugDraws draws;  // the first corner goes to (-1 - y, -1 - x)
    draws.warp_y = -1 - (*corners)[index][0][0].number();
    draws.warp_x = -1 - (*corners)[index][0][1].number();
    map = MakeCoordinateMap(draws, width, height);
  }
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) map.matrix[i][j] = matrix[i][j].number();
  }
  return map;
}

PadMode PadModeOf(const Json& expected) {
  const std::string name = Text(expected, "pad_mode");
  return name == "zeros" ? PadMode::kZeros : name == "border" ? PadMode::kBorder : PadMode::kReflection;
}

void CheckAffine(const Json& expected, const std::map<std::string, FixtureTensor>& tensors) {
  const FixtureTensor& input = tensors.at(expected["input"].string());
  const FixtureTensor& output = tensors.at(expected["output"].string());
  const int height = static_cast<int>(input.shape[2]);
  const int width = static_cast<int>(input.shape[3]);
  const int out_height = static_cast<int>(output.shape[2]);
  const int out_width = static_cast<int>(output.shape[3]);
  const auto grid = tensors.find(expected["output"].string() + ".coords");
  BatchScratch scratch;
  for (int index = 0; index < expected["n_images"].number(); ++index) {
    const CoordinateMap map = MapOf(expected, index, width, height);
    if (grid != tensors.end()) {
      for (int y = 0; y < out_height; ++y) {
        for (int x = 0; x < out_width; ++x) {
          const auto position = MapCoordinate(map, 2.0 * x / (out_width - 1) - 1, 2.0 * y / (out_height - 1) - 1);
          const float* recorded = grid->second.values.data() + ((index * out_height + y) * out_width + x) * 2;
          ASSERT_NEAR(position[0], recorded[0], kCoordinateTolerance * std::max(1.0, std::abs(position[0])));
          ASSERT_NEAR(position[1], recorded[1], kCoordinateTolerance * std::max(1.0, std::abs(position[1])));
        }
      }
    }
    std::vector<float> result(static_cast<size_t>(out_height) * out_width * 3);
    TransformPixels(ImageOf(input, index).data(), width, height, map, PadModeOf(expected), Lighting(), ChannelScale(),
                    out_width, out_height, &scratch, result.data());
    EXPECT_LE(MaxDifference(result, ImageOf(output, index)), kTolerance) << "image " << index;
  }
}

void CheckLighting(const Json& expected, const std::map<std::string, FixtureTensor>& tensors) {
  const FixtureTensor& input = tensors.at(expected["input"].string());
  const FixtureTensor& output = tensors.at(expected["output"].string());
  const Json* changes = expected.Find("lighting_changes");
  const auto change = [changes](const char* name, int index, double neutral) {
    const Json* list = changes == nullptr ? nullptr : changes->Find(name);
    return list == nullptr ? neutral : (*list)[index].number();
  };
  BatchScratch scratch;
  const int height = static_cast<int>(input.shape[2]);
  const int width = static_cast<int>(input.shape[3]);
  for (int index = 0; index < expected["n_images"].number(); ++index) {
    const Lighting lighting = {change("_BrightnessLogit", index, 0.5), change("_ContrastLogit", index, 1)};
    std::vector<float> result(static_cast<size_t>(height) * width * 3);
    TransformPixels(ImageOf(input, index).data(), width, height, CoordinateMap(), PadMode::kReflection, lighting,
                    ChannelScale(), width, height, &scratch, result.data());
    EXPECT_LE(MaxDifference(result, ImageOf(output, index)), kLogitTolerance) << "image " << index;
  }
}

// A batch that is only converted and scaled: IntToFloatTensor, Normalize.
void CheckScale(const Json& expected, const std::map<std::string, FixtureTensor>& tensors) {
  const FixtureTensor& input = tensors.at(expected["input"].string());
  const FixtureTensor& output = tensors.at(expected["output"].string());
  const bool normalize = expected["name"].string() == "Normalize(imagenet)";
  const ChannelScale scale = normalize ? ChannelScale::FromNormalize(NormalizeOptions()) : ChannelScale();
  const int height = static_cast<int>(input.shape[2]);
  const int width = static_cast<int>(input.shape[3]);
  BatchScratch scratch;
  for (int index = 0; index < input.shape[0]; ++index) {
    const std::vector<float> values = ImageOf(input, index);
    std::vector<float> result(values.size());
    if (normalize) {
      TransformPixels(values.data(), width, height, CoordinateMap(), PadMode::kReflection, Lighting(), scale, width,
                      height, &scratch, result.data());
    } else {
      RgbImage image(width, height);
      for (size_t i = 0; i < values.size(); ++i) image.pixels[i] = static_cast<uint8_t>(values[i]);
      TransformPixels(image, CoordinateMap(), PadMode::kReflection, Lighting(), scale, width, height, &scratch,
                      result.data());
    }
    EXPECT_LE(MaxDifference(result, ImageOf(output, index)), kTolerance);
  }
}

enum class Kind { kAffine, kLighting, kScale, kOutOfScope };

// What a case asks for; `reason` says why it is not compared.
Kind KindOf(const Json& expected, std::string* reason) {
  const std::string name = expected["name"].string();
  if (name == "Normalize(imagenet)" || name == "IntToFloatTensor") return Kind::kScale;
  const auto out_of_scope = [reason](const char* text) {
    *reason = text;
    return Kind::kOutOfScope;
  };
  if (name.find("align_corners=False") != std::string::npos || name.find("nearest") != std::string::npos) {
    return out_of_scope("sampling is bilinear with align_corners");
  }
  if (name.find("pre-shrink") != std::string::npos) return out_of_scope("augmentation does not change the size");
  if (name == "saturation" || name == "hue") return out_of_scope("aug_transforms has no saturation and hue");
  if (name.find("RandomErasing") == 0) return out_of_scope("recipes have no RandomErasing");
  if (name.find("RandomResizedCropGPU") == 0) return out_of_scope("recipes have no RandomResizedCropGPU");
  if (name.find("decode") != std::string::npos || name.find("order of") == 0 || name.find("logit clamps") == 0) {
    return out_of_scope("no image goes in and out");
  }
  if (expected.Find("affine_2x3") != nullptr) return Kind::kAffine;
  if (expected.Find("lighting_changes") != nullptr || name.find("brightness") == 0) return Kind::kLighting;
  return out_of_scope("unknown case");
}

void CheckAllCases() {
  const Json fixture = ReadGolden("batch_transforms.json");
  const std::map<std::string, FixtureTensor> tensors = ReadFixtureTensors("batch_transforms.safetensors");
  GoldenScope scope("batch_transforms.json");
  for (const Json& expected : fixture["cases"].array()) {
    SCOPED_TRACE(expected["name"].string() + " " + Text(expected, "output"));
    std::string reason;
    const Kind kind = KindOf(expected, &reason);
    if (kind == Kind::kOutOfScope) {
      scope.OutOfScope(expected["name"].string(), reason);
      continue;
    }
    scope.Checked();
    if (kind == Kind::kAffine) CheckAffine(expected, tensors);
    if (kind == Kind::kLighting) CheckLighting(expected, tensors);
    if (kind == Kind::kScale) CheckScale(expected, tensors);
  }
  EXPECT_GT(scope.num_checked(), 0);
}

TEST(BatchTransformsGoldenTest, BatchTransforms) { CheckAllCases(); }

TEST(BatchTransformsGoldenTest, BatchTransformsWithoutAvx2) {
  ForceBaselinePixelKernels(true);
  CheckAllCases();
  ForceBaselinePixelKernels(false);
}

std::vector<float> Transform(const RgbImage& image, const AugDraws& draws, PadMode pad_mode) {
  BatchScratch scratch;
  std::vector<float> result(image.NumBytes());
  TransformPixels(image, MakeCoordinateMap(draws, image.width, image.height), pad_mode,
                  {draws.brightness, draws.contrast}, ChannelScale::FromNormalize(NormalizeOptions()), image.width,
                  image.height, &scratch, result.data());
  return result;
}

TEST(BatchTransformsTest, BothInstructionSetsGiveEqualBits) {
  AugTransformsOptions options;
  options.mult = 3;
  options.flip_vert = true;
  SeededRng rng(5);
  RngDraws draws(&rng);
  for (int round = 0; round < 60; ++round) {
    const RgbImage image = Noise(1 + round * 3 % 50, 1 + round * 7 % 43, 7);
    const AugDraws drawn = DrawAug(options, &draws);
    const auto pad_mode = static_cast<PadMode>(round % 3);
    const std::vector<float> fast = Transform(image, drawn, pad_mode);
    ForceBaselinePixelKernels(true);
    const std::vector<float> plain = Transform(image, drawn, pad_mode);
    ForceBaselinePixelKernels(false);
    ASSERT_EQ(fast, plain) << "round " << round;
    for (const float value : fast) ASSERT_TRUE(std::isfinite(value));
  }
}

// Bytes and floats take different ways through the sampler.
TEST(BatchTransformsTest, BytesAndFloatsAgree) {
  const RgbImage image = Noise(31, 22, 7);
  std::vector<float> floats(image.NumBytes());
  for (size_t i = 0; i < floats.size(); ++i) floats[i] = image.pixels[i] / 255.0f;
  AugDraws draws;
  draws.degrees = 8;
  draws.warp_x = 0.1;
  BatchScratch scratch;
  std::vector<float> result(floats.size());
  TransformPixels(floats.data(), 31, 22, MakeCoordinateMap(draws, 31, 22), PadMode::kReflection, Lighting(),
                  ChannelScale::FromNormalize(NormalizeOptions()), 31, 22, &scratch, result.data());
  EXPECT_LE(MaxDifference(result, Transform(image, draws, PadMode::kReflection)), kTolerance);
}

TEST(BatchTransformsTest, ExtremePerspectiveStaysFinite) {
  const RgbImage image = Noise(64, 64, 7);
  for (const PadMode pad_mode : {PadMode::kZeros, PadMode::kBorder, PadMode::kReflection}) {
    for (const double warp : {0.5, 0.9, 0.99}) {
      AugDraws draws;
      draws.warp_x = warp;
      draws.warp_y = -warp;
      for (const float value : Transform(image, draws, pad_mode)) ASSERT_TRUE(std::isfinite(value));
    }
  }
}

TEST(BatchTransformsTest, DrawsStayInRangeAndMultiplyWithMult) {
  AugTransformsOptions options;
  options.mult = 2;
  SeededRng rng(1);
  RngDraws draws(&rng);
  AugDraws most;
  int num_flips = 0;
  int num_rotations = 0;
  constexpr int kRounds = 4000;
  most.zoom = 0;
  for (int i = 0; i < kRounds; ++i) {
    const AugDraws drawn = DrawAug(options, &draws);
    num_flips += drawn.dihedral == 1;
    num_rotations += drawn.degrees != 0;
    most.degrees = std::max(most.degrees, std::abs(drawn.degrees));
    most.warp_x = std::max(most.warp_x, std::abs(drawn.warp_x));
    most.zoom = std::max(most.zoom, drawn.zoom);
    most.brightness = std::max(most.brightness, drawn.brightness);
    most.contrast = std::max(most.contrast, drawn.contrast);
  }
  EXPECT_NEAR(num_flips, kRounds / 2, 200);
  EXPECT_NEAR(num_rotations, kRounds * 3 / 4, 200);
  EXPECT_NEAR(most.degrees, 20, 0.1);
  EXPECT_NEAR(most.warp_x, 0.4, 0.01);
  EXPECT_NEAR(most.zoom, 1.1, 0.01);
  EXPECT_NEAR(most.brightness, 0.7, 0.01);
  EXPECT_NEAR(most.contrast, 1 / 0.6, 0.01);
}

TEST(BatchTransformsTest, RefusesBadOptions) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  AugTransformsOptions options;
  EXPECT_TRUE(ValidateAugTransforms(options).ok());
  options.mult = 5;  // lighting would reach 1
  EXPECT_EQ(ValidateAugTransforms(options).code(), invalid);
  options.mult = std::nan("");
  EXPECT_EQ(ValidateAugTransforms(options).code(), invalid);
  NormalizeOptions normalize;
  normalize.std[1] = 0;
  EXPECT_EQ(ValidateNormalize(normalize).code(), invalid);
}

}  // namespace
}  // namespace ursa
