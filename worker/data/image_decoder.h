// Image files to 8-bit RGB, as Pillow's open().convert("RGB") does it: EXIF orientation not applied, alpha dropped (not
// blended), palette and gray expanded, first page of a TIFF, 16-bit colour keeps the high byte, 16-bit gray is clipped
// to 255, CMYK by Pillow's simple formula.
#ifndef URSA_WORKER_DATA_IMAGE_DECODER_H_
#define URSA_WORKER_DATA_IMAGE_DECODER_H_

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/data/header_gate.h"
#include "worker/data/image.h"

namespace ursa {

// Decodes the image file in `bytes` into `image`, whose memory is reused. Passes the header gate first.
// JPEG by libjpeg-turbo: truncated data, also if only the end marker lacks, is refused; what follows the end marker is
// ignored; damage inside the entropy data that libjpeg recovers from is accepted, as Pillow does.
// PNG by libpng: a wrong checksum of pixel data and a missing end chunk are accepted; bad zlib data is refused.
// BMP, TIFF, WebP, PNM by OpenCV.
// Errors: those of ReadImageHeader; DATA_LOSS where the data cannot be decoded; INVALID_ARGUMENT for a valid file of a
// kind that is not supported (such as floating-point TIFF). No exception leaves. Thread-safe.
absl::Status DecodeImage(std::string_view bytes, const ImageLimits& limits, RgbImage* image);

absl::StatusOr<RgbImage> DecodeImage(std::string_view bytes, const ImageLimits& limits);

// What ingest asks of each file: decodes all of it and throws the pixels away. Same errors as DecodeImage.
absl::StatusOr<ImageHeader> ProbeImage(std::string_view bytes, const ImageLimits& limits);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_IMAGE_DECODER_H_
