// One function per decoding library; private to image_decoder. Each is given a file that has passed the header gate,
// and fills `image`, which already has the header's size. Errors: DATA_LOSS or INVALID_ARGUMENT with the library's
// text.
#ifndef URSA_WORKER_DATA_CODECS_H_
#define URSA_WORKER_DATA_CODECS_H_

#include <string_view>

#include "absl/status/status.h"
#include "worker/data/header_gate.h"
#include "worker/data/image.h"

namespace ursa {

absl::Status DecodeJpeg(std::string_view bytes, RgbImage* image);
absl::Status DecodePng(std::string_view bytes, RgbImage* image);

// BMP, TIFF, WebP, PNM.
absl::Status DecodeWithOpenCv(std::string_view bytes, const ImageHeader& header, RgbImage* image);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_CODECS_H_
