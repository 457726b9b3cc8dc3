// Transforms of float pixels: fastai 2.8.12's aug_transforms (flip or dihedral, warp, rotate and zoom in one
// interpolation; brightness and contrast in one step in logit space) and normalisation. fastai runs them on whole
// batches; here each image is done by itself, straight into its place in the batch, with draws of its own.
#ifndef URSA_WORKER_DATA_BATCH_TRANSFORMS_H_
#define URSA_WORKER_DATA_BATCH_TRANSFORMS_H_

#include <array>
#include <vector>

#include "absl/status/status.h"
#include "worker/data/draws.h"
#include "worker/data/image.h"
#include "worker/data/item_transforms.h"

namespace ursa {

struct AugTransformsOptions {
  double mult = 1.0;  // multiplies max_rotate, max_lighting and max_warp, >= 0
  bool do_flip = true;
  bool flip_vert = false;     // with do_flip: all eight symmetries of the square instead of left-right
  double max_rotate = 10.0;   // degrees, [0, 180] after mult
  double min_zoom = 1.0;      // > 0
  double max_zoom = 1.1;      // >= min_zoom
  double max_lighting = 0.2;  // [0, 1) after mult
  double max_warp = 0.2;      // [0, 1) after mult
  double p_affine = 0.75;     // probability of each of warp, rotate and zoom
  double p_lighting = 0.75;   // probability of each of brightness and contrast
  PadMode pad_mode = PadMode::kReflection;
};

struct NormalizeOptions {
  std::array<double, 3> mean = {0.485, 0.456, 0.406};  // RGB, of pixels in 0..1
  std::array<double, 3> std = {0.229, 0.224, 0.225};   // > 0
};

absl::Status ValidateAugTransforms(const AugTransformsOptions& options);
absl::Status ValidateNormalize(const NormalizeOptions& options);

// What was drawn for one image. The default values change nothing.
struct AugDraws {
  int dihedral = 0;     // 0..7, fastai's numbering; 1 is the left-right flip
  double degrees = 0;   // of rotation
  double zoom = 1;      // divides the extent of the sampled part
  double zoom_x = 0.5;  // centre of the zoom, 0..1
  double zoom_y = 0.5;
  double warp_x = 0;  // perspective
  double warp_y = 0;
  double brightness = 0.5;  // 0..1
  double contrast = 1;
};

// Draws for one image, in this order: flip; warp x, y; rotation; zoom, its centre x, y; brightness; contrast. "With
// probability p" draws the value first and the chance after it, so the number of draws depends on the options alone.
AugDraws DrawAug(const AugTransformsOptions& options, Draws* draws);

// Maps normalised output coordinates (x right, y down, -1..1 at the centres of the outer pixels) to input coordinates:
// (x', y') = matrix * (x, y, 1), then, with `has_warp`, the homography ((a x' + b y' + c) / (g x' + h y' + 1),
// (d x' + e y' + f) / (...)), warp = {a, b, c, d, e, f, g, h}.
struct CoordinateMap {
  std::array<std::array<double, 3>, 2> matrix = {{{1, 0, 0}, {0, 1, 0}}};
  bool has_warp = false;
  std::array<double, 8> warp = {1, 0, 0, 0, 1, 0, 0, 0};

  bool IsIdentity() const;
};

// The map of the affine step for an input of `width` x `height`: flip, rotation and zoom composed in this order, aspect
// factors h/w and w/h on the mixed terms, then the warp.
CoordinateMap MakeCoordinateMap(const AugDraws& draws, int width, int height);

// Where one output pixel is sampled, in normalised input coordinates; for tests against recorded grids.
std::array<double, 2> MapCoordinate(const CoordinateMap& map, double x, double y);

// Brightness b (neutral 0.5) and contrast c (neutral 1): sigmoid((logit(x) + logit(b)) * c), x clamped to
// [1e-7, 1 - 1e-7].
struct Lighting {
  double brightness = 0.5;
  double contrast = 1;

  bool IsIdentity() const { return brightness == 0.5 && contrast == 1; }
};

// Memory that is kept between calls. One per thread.
struct BatchScratch {
  std::vector<uint32_t> packed_bytes;  // the 8-bit input as padded RGBx words
  std::vector<float> packed_floats;
  std::vector<float> row;
};

// How the float stage ends: value * scale + offset per channel.
struct ChannelScale {
  std::array<float, 3> scale = {1, 1, 1};
  std::array<float, 3> offset = {0, 0, 0};

  static ChannelScale FromNormalize(const NormalizeOptions& options);
};

// Samples `image` (8-bit; its values are divided by 255) through `map` by bilinear interpolation with align_corners,
// applies lighting, scales the channels, and writes [out_height, out_width, 3] float32 to `output`. An identity map of
// equal size and an identity lighting are skipped. Same bits with and without AVX2 (chosen at run time).
void TransformPixels(const RgbImage& image, const CoordinateMap& map, PadMode pad_mode, const Lighting& lighting,
                     const ChannelScale& channel_scale, int out_width, int out_height, BatchScratch* scratch,
                     float* output);

// The same for a float image in 0..1, [height, width, 3], contiguous.
void TransformPixels(const float* image, int width, int height, const CoordinateMap& map, PadMode pad_mode,
                     const Lighting& lighting, const ChannelScale& channel_scale, int out_width, int out_height,
                     BatchScratch* scratch, float* output);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_BATCH_TRANSFORMS_H_
