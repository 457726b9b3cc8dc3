// Pictures in memory: 8-bit RGB, rows from top to bottom, interleaved channels (height x width x 3), no padding.
#ifndef URSA_WORKER_DATA_IMAGE_H_
#define URSA_WORKER_DATA_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ursa {

// Vector code may read and write this many bytes past a picture's last pixel; their values mean nothing.
inline constexpr size_t kPixelSlackBytes = 16;

struct RgbImage {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> pixels;  // height * width * 3, then kPixelSlackBytes

  RgbImage() = default;
  RgbImage(int image_width, int image_height) { Reset(image_width, image_height); }

  // Changes the size; the pixels' values are then unspecified. Memory is kept where it suffices.
  void Reset(int new_width, int new_height) {
    width = new_width;
    height = new_height;
    pixels.resize(NumBytes() + kPixelSlackBytes);
  }
  size_t NumBytes() const { return static_cast<size_t>(width) * height * 3; }
  uint8_t* Row(int y) { return pixels.data() + static_cast<size_t>(y) * width * 3; }
  const uint8_t* Row(int y) const { return pixels.data() + static_cast<size_t>(y) * width * 3; }
};

// A rectangle in pixels. Left and top may be negative, and the far sides may exceed an image, where padding is meant.
struct PixelBox {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;
};

inline bool operator==(const PixelBox& a, const PixelBox& b) {
  return a.left == b.left && a.top == b.top && a.width == b.width && a.height == b.height;
}

}  // namespace ursa

#endif  // URSA_WORKER_DATA_IMAGE_H_
