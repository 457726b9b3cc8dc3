// Item transforms: what brings one decoded image to the size of the batch, on 8-bit pixels. Behaviour of
// fastai 2.8.12's Resize and RandomResizedCrop.
#ifndef URSA_WORKER_DATA_ITEM_TRANSFORMS_H_
#define URSA_WORKER_DATA_ITEM_TRANSFORMS_H_

#include <variant>

#include "absl/status/status.h"
#include "worker/data/draws.h"
#include "worker/data/image.h"
#include "worker/data/resize.h"

namespace ursa {

// Training uses random draws; evaluation (validation, prediction) uses none.
enum class TransformMode { kTraining, kEvaluation };

enum class ResizeMethod {
  kCrop,    // the largest window of the target's shape: at a random position in training, central in evaluation
  kSquish,  // the whole image, shape not kept
  kPad,     // the smallest window of the target's shape that holds the image; what is outside is padded
};

enum class PadMode {
  kZeros,       // black
  kBorder,      // the edge pixel repeated
  kReflection,  // mirrored, the edge pixel not repeated
};

struct ResizeOptions {
  int height = 224;  // pixels, 1..4096
  int width = 224;
  ResizeMethod method = ResizeMethod::kCrop;
  PadMode pad_mode = PadMode::kReflection;
};

struct RandomResizedCropOptions {
  int height = 224;  // pixels, 1..4096
  int width = 224;
  double min_scale = 0.08;     // smallest share of the image's area, (0, 1]
  double max_scale = 1.0;      // largest, [min_scale, 1]
  double min_ratio = 3.0 / 4;  // width / height of the crop, > 0
  double max_ratio = 4.0 / 3;  // >= min_ratio
  double val_xtra = 0.14;      // evaluation: margin around the central crop, share of the size, [0, 1]
};

using ItemTransform = std::variant<ResizeOptions, RandomResizedCropOptions>;

// INVALID_ARGUMENT naming field, value and range.
absl::Status ValidateItemTransform(const ItemTransform& transform);

// Size of every image that `transform` puts out, at left = top = 0.
PixelBox OutputSize(const ItemTransform& transform);

// Whether the output depends on draws in `mode`.
bool IsRandom(const ItemTransform& transform, TransformMode mode);

// What a transform does to one image: cut `window` out (padding where it reaches over the image), resize it to the
// scaled size, keep the part `keep`.
struct CropPlan {
  PixelBox window;
  int scaled_width = 0;
  int scaled_height = 0;
  PixelBox keep;
  PadMode pad_mode = PadMode::kReflection;
};

// Chooses the crop for an image of `width` x `height` (> 0). Draws only in training: Resize two Uniform(0, 1), for x
// and y; RandomResizedCrop up to ten pairs of area and log ratio, then two Integer.
CropPlan PlanCrop(const ItemTransform& transform, int width, int height, TransformMode mode, Draws* draws);

// Carries a plan out. `output` must not be `image`. RESOURCE_EXHAUSTED if padding would need a window of more than
// kWindowPixelsMax (a very long and thin picture); no other error.
inline constexpr int64_t kWindowPixelsMax = 178'956'970;
absl::Status ApplyCrop(const RgbImage& image, const CropPlan& plan, ResizeScratch* scratch, RgbImage* output);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_ITEM_TRANSFORMS_H_
