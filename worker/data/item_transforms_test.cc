#include "worker/data/item_transforms.h"

#include <cmath>
#include <map>
#include <string>

#include "gtest/gtest.h"
#include "worker/data/golden_testing.h"
#include "worker/data/image_decoder.h"
#include "worker/data/pixel_kernels.h"

namespace ursa {
namespace {

constexpr char kFolder[] = "image_transforms/";

RgbImage Decode(const std::string& name) {
  absl::StatusOr<RgbImage> image = DecodeImage(ReadGoldenBytes(kFolder + name), ImageLimits());
  EXPECT_TRUE(image.ok()) << name << " " << image.status();
  return image.ok() ? *std::move(image) : RgbImage();
}

bool IsJpeg(const Json& expected) { return expected["input"].string().find(".jpg") != std::string::npos; }

// Plays recorded draws back, and checks that they are asked for in the same order with the same bounds.
class RecordedDraws : public Draws {
 public:
  struct Draw {
    bool is_integer = false;
    double low = 0;
    double high = 0;
    double value = 0;
  };

  explicit RecordedDraws(const Json& expected) {
    if (const Json* fractions = expected.Find("pcts"); fractions != nullptr && fractions->is_array()) {
      for (const double value : Numbers(*fractions)) draws_.push_back({false, 0, 1, value});
    }
    if (const Json* draws = expected.Find("draws"); draws != nullptr && draws->is_array()) {
      for (const Json& draw : draws->array()) {
        draws_.push_back({draw[0].string() == "randint", draw[1].number(), draw[2].number(), draw[3].number()});
      }
    }
  }

  double Uniform(double low, double high) override { return Next(false, low, high); }
  int64_t Integer(int64_t low, int64_t high) override {
    return static_cast<int64_t>(Next(true, static_cast<double>(low), static_cast<double>(high)));
  }
  size_t num_left() const { return draws_.size() - next_; }

 private:
  double Next(bool is_integer, double low, double high) {
    if (next_ == draws_.size()) {
      ADD_FAILURE() << "more draws than recorded";
      return low;
    }
    const Draw& draw = draws_[next_++];
    EXPECT_EQ(draw.is_integer, is_integer);
    EXPECT_NEAR(draw.low, low, 1e-12);
    EXPECT_NEAR(draw.high, high, 1e-12);
    return draw.value;
  }

  std::vector<Draw> draws_;
  size_t next_ = 0;
};

// The transform of a golden case; `name` is Resize or RandomResizedCrop.
ItemTransform TransformOf(const Json& expected) {
  const Json& params = expected["params"];
  const Json& size = params["size"];
  const std::vector<int> sides =
      size.is_array() ? Integers(size) : std::vector<int>(2, static_cast<int>(size.number()));
  if (expected["transform"].string() == "RandomResizedCrop") {
    RandomResizedCropOptions options;
    options.height = sides[0];
    options.width = sides[1];
    if (const Json* min_scale = params.Find("min_scale")) options.min_scale = min_scale->number();
    if (const Json* ratio = params.Find("ratio")) {
      options.min_ratio = (*ratio)[0].number();
      options.max_ratio = (*ratio)[1].number();
    }
    return options;
  }
  ResizeOptions options;
  options.height = sides[0];
  options.width = sides[1];
  const std::string method = Text(params, "method");
  if (method == "squish") options.method = ResizeMethod::kSquish;
  if (method == "pad") options.method = ResizeMethod::kPad;
  const std::string pad_mode = Text(params, "pad_mode");
  if (pad_mode == "zeros") options.pad_mode = PadMode::kZeros;
  if (pad_mode == "border") options.pad_mode = PadMode::kBorder;
  return options;
}

void CheckItemTransform(const Json& expected, int lsb_tolerance) {
  const ItemTransform transform = TransformOf(expected);
  ASSERT_TRUE(ValidateItemTransform(transform).ok());
  const RgbImage input = Decode(expected["input"].string());
  const bool training = expected["split_idx"].number() == 0;
  RecordedDraws draws(expected);
  if (!training) draws = RecordedDraws(*Json::Parse("{}"));
  const CropPlan plan = PlanCrop(transform, input.width, input.height,
                                 training ? TransformMode::kTraining : TransformMode::kEvaluation, &draws);
  EXPECT_EQ(draws.num_left(), 0u);
  if (const Json* window = expected.Find("window_wh")) {
    EXPECT_EQ(plan.window.width, (*window)[0].number());
    EXPECT_EQ(plan.window.height, (*window)[1].number());
    EXPECT_EQ(plan.window.left, expected["top_left_xy"][0].number());
    EXPECT_EQ(plan.window.top, expected["top_left_xy"][1].number());
  }
  if (const Json* scaled = expected.Find("resized_to_wh")) {
    EXPECT_EQ(plan.scaled_width, (*scaled)[0].number());
    EXPECT_EQ(plan.scaled_height, (*scaled)[1].number());
  }
  ResizeScratch scratch;
  RgbImage output;
  ASSERT_TRUE(ApplyCrop(input, plan, &scratch, &output).ok());
  EXPECT_LE(MaxDifference(output, Decode(expected["output"].string())), lsb_tolerance);
  const PixelBox size = OutputSize(transform);
  EXPECT_EQ(output.width, size.width);
  EXPECT_EQ(output.height, size.height);
}

void CheckResize(const Json& expected, int lsb_tolerance) {
  const RgbImage input = Decode(expected["input"].string());
  const std::vector<int> size = Integers(expected["size_wh"]);
  ResizeScratch scratch;
  RgbImage output;
  ResizeBilinear(input, {0, 0, input.width, input.height}, size[0], size[1], {0, 0, size[0], size[1]}, &scratch,
                 &output);
  EXPECT_LE(MaxDifference(output, Decode(expected["output"].string())), lsb_tolerance);
}

void CheckDecode(const Json& expected, int lsb_tolerance) {
  const RgbImage image = Decode(expected["input"].string());
  EXPECT_EQ(image.width, expected["decoded"]["size_wh"][0].number());
  EXPECT_EQ(image.height, expected["decoded"]["size_wh"][1].number());
  double sums[3] = {};
  for (size_t i = 0; i < image.NumBytes(); ++i) sums[i % 3] += image.pixels[i];
  for (int c = 0; c < 3; ++c) {
    const double num_pixels = static_cast<double>(image.width) * image.height;
    EXPECT_NEAR(sums[c], expected["decoded"]["sum_rgb"][c].number(), lsb_tolerance * num_pixels);
    for (int x = 0; x < 4; ++x) {
      EXPECT_NEAR(image.Row(0)[3 * x + c], expected["first_row_first4"][x][c].number(), lsb_tolerance);
    }
  }
}

// Why a case is not compared, or "".
std::string OutOfScope(const Json& expected) {
  const std::string kind = expected["kind"].string();
  if (kind == "item_tfm") {
    const std::string transform = expected["transform"].string();
    return transform == "Resize" || transform == "RandomResizedCrop" ? "" : "recipes have no " + transform;
  }
  if (kind == "pillow_resize") {
    const std::string filter = expected["filter"].string();
    return filter == "bilinear" ? "" : "transforms use the bilinear filter, not " + filter;
  }
  if (kind == "pillow_resize_box") return "windows are whole pixels";
  if (kind == "resize_images") return "import does not scale files";
  return kind == "decode" ? "" : "unknown kind " + kind;
}

// All cases in scope, without any tolerance where the input is lossless.
void CheckAllCases() {
  const Json fixture = ReadGolden(std::string(kFolder) + "cases.json");
  GoldenScope scope(std::string(kFolder) + "cases.json");
  for (size_t i = 0; i < fixture["cases"].size(); ++i) {
    const Json& expected = fixture["cases"][i];
    const std::string reason = OutOfScope(expected);
    if (!reason.empty()) {
      scope.OutOfScope(std::to_string(i), reason);
      continue;
    }
    SCOPED_TRACE("case " + std::to_string(i) + " " + expected["kind"].string() + " " + expected["input"].string());
    scope.Checked();
    const int lsb_tolerance = IsJpeg(expected) ? 3 : 0;
    const std::string kind = expected["kind"].string();
    if (kind == "item_tfm") CheckItemTransform(expected, lsb_tolerance);
    if (kind == "pillow_resize") CheckResize(expected, lsb_tolerance);
    if (kind == "decode") CheckDecode(expected, lsb_tolerance);
  }
  EXPECT_GT(scope.num_checked(), 0);
}

TEST(ItemTransformsGoldenTest, ImageTransforms) { CheckAllCases(); }

TEST(ItemTransformsGoldenTest, ImageTransformsWithoutAvx2) {
  ForceBaselinePixelKernels(true);
  CheckAllCases();
  ForceBaselinePixelKernels(false);
}

TEST(ResizeTest, BothInstructionSetsGiveEqualBits) {
  ResizeScratch scratch;
  for (const auto& [in, out] : std::vector<std::pair<PixelBox, PixelBox>>{{{0, 0, 1, 1}, {0, 0, 5, 3}},
                                                                          {{0, 0, 9, 2}, {0, 0, 1, 1}},
                                                                          {{3, 1, 97, 61}, {0, 0, 33, 47}},
                                                                          {{0, 5, 100, 40}, {0, 0, 224, 7}},
                                                                          {{50, 0, 50, 66}, {0, 0, 50, 20}}}) {
    const RgbImage image = Noise(100, 66, 1);
    RgbImage fast, plain;
    ResizeBilinear(image, in, out.width, out.height, out, &scratch, &fast);
    ForceBaselinePixelKernels(true);
    ResizeBilinear(image, in, out.width, out.height, out, &scratch, &plain);
    ForceBaselinePixelKernels(false);
    EXPECT_EQ(MaxDifference(fast, plain), 0) << in.width << " to " << out.width;
  }
}

TEST(ResizeTest, KeepingAPartEqualsThePartOfTheWhole) {
  const RgbImage image = Noise(90, 70, 1);
  ResizeScratch scratch;
  RgbImage whole, part;
  ResizeBilinear(image, {0, 0, 90, 70}, 56, 48, {0, 0, 56, 48}, &scratch, &whole);
  ResizeBilinear(image, {0, 0, 90, 70}, 56, 48, {5, 9, 20, 30}, &scratch, &part);
  for (int y = 0; y < 30; ++y) {
    for (int i = 0; i < 60; ++i) ASSERT_EQ(part.Row(y)[i], whole.Row(y + 9)[15 + i]);
  }
}

TEST(ItemTransformsTest, WindowsOfTheSpecification) {
  ResizeOptions crop;
  ResizeOptions pad;
  pad.method = ResizeMethod::kPad;
  const auto window = [](const ResizeOptions& options, int size, int width, int height) {
    ResizeOptions sized = options;
    sized.height = sized.width = size;
    return PlanCrop(sized, width, height, TransformMode::kEvaluation, nullptr).window;
  };
  EXPECT_EQ(window(crop, 224, 640, 480), (PixelBox{80, 0, 480, 480}));
  EXPECT_EQ(window(pad, 224, 640, 480), (PixelBox{0, -80, 640, 640}));
  EXPECT_EQ(window(crop, 128, 500, 375), (PixelBox{62, 0, 375, 375}));
  EXPECT_EQ(window(pad, 128, 500, 375), (PixelBox{0, -62, 500, 500}));
  EXPECT_EQ(window(crop, 224, 333, 500), (PixelBox{0, 83, 333, 333}));
  EXPECT_EQ(window(pad, 224, 333, 500), (PixelBox{-83, 0, 500, 500}));
}

TEST(ItemTransformsTest, MarginOfTheValidationSquish) {
  for (const auto& [size, extra] : std::map<int, int>{{224, 32}, {128, 24}, {64, 16}, {32, 8}}) {
    RandomResizedCropOptions options;
    options.height = options.width = size;
    EXPECT_EQ(PlanCrop(options, 500, 375, TransformMode::kEvaluation, nullptr).scaled_width, size + extra);
  }
}

TEST(ItemTransformsTest, VeryThinPicturesAreScaledOrRefusedButNeverPaddedWithoutBound) {
  const RgbImage thin = Noise(40000, 1, 1);
  ResizeScratch scratch;
  RgbImage output;
  ResizeOptions options;
  options.height = options.width = 32;
  ASSERT_TRUE(
      ApplyCrop(thin, PlanCrop(options, 40000, 1, TransformMode::kEvaluation, nullptr), &scratch, &output).ok());
  options.method = ResizeMethod::kPad;
  const absl::Status status =
      ApplyCrop(thin, PlanCrop(options, 40000, 1, TransformMode::kEvaluation, nullptr), &scratch, &output);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST(ItemTransformsTest, RefusesBadOptions) {
  const auto code = [](const ItemTransform& transform) { return ValidateItemTransform(transform).code(); };
  ResizeOptions resize;
  EXPECT_EQ(code(resize), absl::StatusCode::kOk);
  resize.width = 0;
  EXPECT_EQ(code(resize), absl::StatusCode::kInvalidArgument);
  RandomResizedCropOptions random;
  random.min_scale = std::nan("");
  EXPECT_EQ(code(random), absl::StatusCode::kInvalidArgument);
  random.min_scale = 0.5;
  random.max_scale = 0.4;
  EXPECT_EQ(code(random), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ursa
