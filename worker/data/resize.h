// The antialiased bilinear resize of Pillow 13, bit for bit.
#ifndef URSA_WORKER_DATA_RESIZE_H_
#define URSA_WORKER_DATA_RESIZE_H_

#include <cstdint>
#include <vector>

#include "worker/data/image.h"

namespace ursa {

// Memory that is kept between calls. One per thread.
struct ResizeScratch {
  RgbImage padded;  // a window that reaches over the image
  std::vector<uint8_t> between_passes;
  std::vector<int32_t> weights_x, weights_y;
  std::vector<int32_t> first_x, first_y;  // first tap of each output position
};

// Resizes the part `window` of `source` to `scaled_width` x `scaled_height` and writes the part `keep` of the result to
// `output`. The window is cut out first: pixels outside it do not take part. It must lie inside the image, `keep`
// inside the scaled size; all sides > 0.
//
// Triangle filter with support max(1, scale), one pass across and one down, weights of 22 bits, each pass rounded to 8
// bits; the pass down comes first where Pillow 13 does so. Equal to its Image.resize(BILINEAR) in every bit, with and
// without AVX2 (chosen at run time).
void ResizeBilinear(const RgbImage& source, const PixelBox& window, int scaled_width, int scaled_height,
                    const PixelBox& keep, ResizeScratch* scratch, RgbImage* output);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_RESIZE_H_
