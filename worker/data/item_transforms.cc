#include "worker/data/item_transforms.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr int kSizeMax = 4096;
constexpr int kTriesMax = 10;  // of RandomResizedCrop, to find a crop that fits

absl::Status OutOfRange(const char* field, double value, const char* range) {
  return absl::InvalidArgumentError(absl::StrCat("item transform: ", field, " is ", value, ", must be in ", range));
}

absl::Status ValidateSize(int height, int width) {
  if (height < 1 || height > kSizeMax) return OutOfRange("height", height, "1..4096");
  if (width < 1 || width > kSizeMax) return OutOfRange("width", width, "1..4096");
  return absl::OkStatus();
}

absl::Status Validate(const ResizeOptions& options) { return ValidateSize(options.height, options.width); }

// Written so that not-a-number fails.
absl::Status Validate(const RandomResizedCropOptions& options) {
  URSA_RETURN_IF_ERROR(ValidateSize(options.height, options.width));
  if (!(options.min_scale > 0 && options.min_scale <= 1)) return OutOfRange("min_scale", options.min_scale, "(0, 1]");
  if (!(options.max_scale >= options.min_scale && options.max_scale <= 1)) {
    return OutOfRange("max_scale", options.max_scale, "[min_scale, 1]");
  }
  if (!(options.min_ratio > 0 && options.min_ratio <= 1000)) {
    return OutOfRange("min_ratio", options.min_ratio, "(0, 1000]");
  }
  if (!(options.max_ratio >= options.min_ratio && options.max_ratio <= 1000)) {
    return OutOfRange("max_ratio", options.max_ratio, "[min_ratio, 1000]");
  }
  if (!(options.val_xtra >= 0 && options.val_xtra <= 1)) return OutOfRange("val_xtra", options.val_xtra, "[0, 1]");
  return absl::OkStatus();
}

PixelBox WholeBox(int width, int height) { return {0, 0, width, height}; }

CropPlan Plan(const ResizeOptions& options, int width, int height, TransformMode mode, Draws* draws) {
  CropPlan plan;
  plan.scaled_width = options.width;
  plan.scaled_height = options.height;
  plan.keep = WholeBox(options.width, options.height);
  plan.pad_mode = options.pad_mode;
  if (options.method == ResizeMethod::kSquish) {
    plan.window = WholeBox(width, height);
    return plan;
  }
  double share_x = 0.5;
  double share_y = 0.5;
  if (mode == TransformMode::kTraining) {
    share_x = draws->Uniform(0, 1);
    share_y = draws->Uniform(0, 1);
  }
  const double ratio_x = static_cast<double>(width) / options.width;
  const double ratio_y = static_cast<double>(height) / options.height;
  const double m = options.method == ResizeMethod::kCrop ? std::min(ratio_x, ratio_y) : std::max(ratio_x, ratio_y);
  // A very long picture may leave less than a pixel of the other side, or ask for more than an integer of padding.
  constexpr double kWindowSideMax = 1 << 30;
  plan.window.width = static_cast<int>(std::clamp(m * options.width, 1.0, kWindowSideMax));
  plan.window.height = static_cast<int>(std::clamp(m * options.height, 1.0, kWindowSideMax));
  plan.window.left = static_cast<int>(share_x * (width - plan.window.width));
  plan.window.top = static_cast<int>(share_y * (height - plan.window.height));
  return plan;
}

// The largest central crop with its ratio clamped to the range.
PixelBox FallbackCrop(const RandomResizedCropOptions& options, int width, int height) {
  PixelBox box = WholeBox(width, height);
  const double ratio = static_cast<double>(width) / height;
  if (ratio < options.min_ratio) {
    box.height = std::max(1, static_cast<int>(width / options.min_ratio));
  } else if (ratio > options.max_ratio) {
    box.width = std::max(1, static_cast<int>(height * options.max_ratio));
  }
  box.left = (width - box.width) / 2;
  box.top = (height - box.height) / 2;
  return box;
}

PixelBox RandomCrop(const RandomResizedCropOptions& options, int width, int height, Draws* draws) {
  for (int i = 0; i < kTriesMax; ++i) {
    const double area = draws->Uniform(options.min_scale, options.max_scale) * width * height;
    const double ratio = std::exp(draws->Uniform(std::log(options.min_ratio), std::log(options.max_ratio)));
    PixelBox box;
    box.width = static_cast<int>(std::nearbyint(std::sqrt(area * ratio)));  // half to even
    box.height = static_cast<int>(std::nearbyint(std::sqrt(area / ratio)));
    if (box.width < 1 || box.height < 1 || box.width > width || box.height > height) continue;
    box.left = static_cast<int>(draws->Integer(0, width - box.width));
    box.top = static_cast<int>(draws->Integer(0, height - box.height));
    return box;
  }
  return FallbackCrop(options, width, height);
}

CropPlan Plan(const RandomResizedCropOptions& options, int width, int height, TransformMode mode, Draws* draws) {
  CropPlan plan;
  plan.keep = WholeBox(options.width, options.height);
  if (mode == TransformMode::kTraining) {
    plan.window = RandomCrop(options, width, height, draws);
    plan.scaled_width = options.width;
    plan.scaled_height = options.height;
    return plan;
  }
  // The whole picture, its shape not kept, to a size a little larger; of that the middle.
  const int extra = static_cast<int>(std::ceil(std::max(options.width, options.height) * options.val_xtra / 8)) * 8;
  plan.window = WholeBox(width, height);
  plan.scaled_width = options.width + extra;
  plan.scaled_height = options.height + extra;
  plan.keep.left = extra / 2;
  plan.keep.top = extra / 2;
  return plan;
}

// Position in 0..size-1 that stands for `i`, which may lie outside; -1 for black.
int PaddedIndex(int i, int size, PadMode mode) {
  if (i >= 0 && i < size) return i;
  if (mode == PadMode::kZeros) return -1;
  if (mode == PadMode::kBorder || size == 1) return i < 0 ? 0 : size - 1;
  const int period = 2 * (size - 1);
  const int within = ((i % period) + period) % period;
  return within < size ? within : period - within;
}

// Cuts `window`, which reaches over the image, out of it.
void Pad(const RgbImage& image, const PixelBox& window, PadMode mode, RgbImage* output) {
  output->Reset(window.width, window.height);
  const int inside_begin = std::clamp(-window.left, 0, window.width);
  const int inside_end = std::clamp(image.width - window.left, inside_begin, window.width);
  for (int y = 0; y < window.height; ++y) {
    uint8_t* const out = output->Row(y);
    const int from = PaddedIndex(window.top + y, image.height, mode);
    if (from < 0) {
      std::memset(out, 0, static_cast<size_t>(window.width) * 3);
      continue;
    }
    const uint8_t* const in = image.Row(from);
    const auto pad = [&](int x) {
      const int column = PaddedIndex(window.left + x, image.width, mode);
      for (int c = 0; c < 3; ++c) out[3 * x + c] = column < 0 ? 0 : in[3 * column + c];
    };
    for (int x = 0; x < inside_begin; ++x) pad(x);
    std::memcpy(out + 3 * inside_begin, in + 3 * (window.left + inside_begin),
                static_cast<size_t>(inside_end - inside_begin) * 3);
    for (int x = inside_end; x < window.width; ++x) pad(x);
  }
}

}  // namespace

absl::Status ValidateItemTransform(const ItemTransform& transform) {
  return std::visit([](const auto& options) { return Validate(options); }, transform);
}

PixelBox OutputSize(const ItemTransform& transform) {
  return std::visit([](const auto& options) { return WholeBox(options.width, options.height); }, transform);
}

bool IsRandom(const ItemTransform& transform, TransformMode mode) {
  if (mode == TransformMode::kEvaluation) return false;
  const auto* resize = std::get_if<ResizeOptions>(&transform);
  return resize == nullptr || resize->method != ResizeMethod::kSquish;
}

CropPlan PlanCrop(const ItemTransform& transform, int width, int height, TransformMode mode, Draws* draws) {
  return std::visit([&](const auto& options) { return Plan(options, width, height, mode, draws); }, transform);
}

absl::Status ApplyCrop(const RgbImage& image, const CropPlan& plan, ResizeScratch* scratch, RgbImage* output) {
  const PixelBox& window = plan.window;
  const bool inside = window.left >= 0 && window.top >= 0 && window.left + window.width <= image.width &&
                      window.top + window.height <= image.height;
  if (inside) {
    ResizeBilinear(image, window, plan.scaled_width, plan.scaled_height, plan.keep, scratch, output);
    return absl::OkStatus();
  }
  if (int64_t{window.width} * window.height > kWindowPixelsMax) {
    return absl::ResourceExhaustedError(absl::StrCat("image: padding ", image.width, " x ", image.height,
                                                     " pixels to the target's shape takes ", window.width, " x ",
                                                     window.height, ", the limit is ", kWindowPixelsMax, " pixels"));
  }
  Pad(image, window, plan.pad_mode, &scratch->padded);
  ResizeBilinear(scratch->padded, WholeBox(window.width, window.height), plan.scaled_width, plan.scaled_height,
                 plan.keep, scratch, output);
  return absl::OkStatus();
}

}  // namespace ursa
