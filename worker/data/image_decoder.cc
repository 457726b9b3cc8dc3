#include "worker/data/image_decoder.h"

#include "base/status_macros.h"
#include "worker/data/codecs.h"

namespace ursa {
namespace {

absl::Status DecodeBehindGate(std::string_view bytes, const ImageHeader& header, RgbImage* image) {
  image->Reset(header.width, header.height);
  switch (header.format) {
    case ImageFormat::kJpeg:
      return DecodeJpeg(bytes, image);
    case ImageFormat::kPng:
      return DecodePng(bytes, image);
    case ImageFormat::kBmp:
    case ImageFormat::kTiff:
    case ImageFormat::kWebp:
    case ImageFormat::kPnm:
      return DecodeWithOpenCv(bytes, header, image);
  }
  return absl::InternalError("image: the header gate let an unknown format through");
}

}  // namespace

absl::Status DecodeImage(std::string_view bytes, const ImageLimits& limits, RgbImage* image) {
  URSA_ASSIGN_OR_RETURN(const ImageHeader header, ReadImageHeader(bytes, limits));
  return DecodeBehindGate(bytes, header, image);
}

absl::StatusOr<RgbImage> DecodeImage(std::string_view bytes, const ImageLimits& limits) {
  RgbImage image;
  URSA_RETURN_IF_ERROR(DecodeImage(bytes, limits, &image));
  return image;
}

absl::StatusOr<ImageHeader> ProbeImage(std::string_view bytes, const ImageLimits& limits) {
  URSA_ASSIGN_OR_RETURN(const ImageHeader header, ReadImageHeader(bytes, limits));
  RgbImage image;
  URSA_RETURN_IF_ERROR(DecodeBehindGate(bytes, header, &image));
  return header;
}

}  // namespace ursa
