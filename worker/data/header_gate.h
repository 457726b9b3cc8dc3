// The gate before every image decoder: says from the first bytes what a file is and how large its picture claims to be,
// and refuses what no decoder should see. Pure code without a decoder, so a hostile header costs microseconds.
#ifndef URSA_WORKER_DATA_HEADER_GATE_H_
#define URSA_WORKER_DATA_HEADER_GATE_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ursa {

enum class ImageFormat { kJpeg, kPng, kBmp, kTiff, kWebp, kPnm };

// "JPEG", "PNG", "BMP", "TIFF", "WebP", "PNM".
std::string_view ImageFormatName(ImageFormat format);

struct ImageHeader {
  ImageFormat format = ImageFormat::kJpeg;
  int width = 0;   // pixels, > 0, as stored: an EXIF orientation is not applied
  int height = 0;  // pixels, > 0
};

struct ImageLimits {
  int64_t bytes_max = int64_t{256} << 20;  // of the file
  int64_t pixels_max = 178'956'970;        // Pillow's bound against decompression bombs
  int64_t side_max = 1 << 20;              // OpenCV's own bound on each side

  // INVALID_ARGUMENT where a limit is not positive.
  absl::Status Validate() const;
};

// Reads the header of an image file that is wholly in `bytes`. The format is told by the magic bytes, never by a name.
// For PNG the checksums of the critical chunks before the pixel data are checked; for PNG, BMP and PNM, where the
// format bounds it, also that the file is long enough for the pixels that it claims. Errors: INVALID_ARGUMENT for what
// is not a supported image (empty, text, "unsupported format GIF"); RESOURCE_EXHAUSTED over a limit, naming it;
// DATA_LOSS for a damaged or cut-off header. Thread-safe; allocates nothing but error texts.
absl::StatusOr<ImageHeader> ReadImageHeader(std::string_view bytes, const ImageLimits& limits);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_HEADER_GATE_H_
