#include <exception>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>

#include "absl/strings/str_cat.h"
#include "worker/data/codecs.h"

namespace ursa {
namespace {

// OpenCV writes to standard error what it also says by its result.
void SilenceOpenCvOnce() {
  static const auto previous = cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
  (void)previous;
}

uint8_t ToByte(uint8_t value, bool /*gray*/) { return value; }

// 16 bits as for PNG: gray is clipped, colour keeps the high byte.
uint8_t ToByte(uint16_t value, bool gray) {
  if (gray) return static_cast<uint8_t>(value > 255 ? 255 : value);
  return static_cast<uint8_t>(value >> 8);
}

// From OpenCV's gray, BGR or BGRA to RGB.
template <typename T>
void ToRgb(const cv::Mat& decoded, RgbImage* image) {
  const int channels = decoded.channels();
  const bool gray = channels == 1;
  for (int y = 0; y < image->height; ++y) {
    const T* in = decoded.ptr<T>(y);
    uint8_t* out = image->Row(y);
    for (int x = 0; x < image->width; ++x, in += channels, out += 3) {
      out[0] = ToByte(in[gray ? 0 : 2], gray);
      out[1] = ToByte(in[gray ? 0 : 1], gray);
      out[2] = ToByte(in[0], gray);
    }
  }
}

}  // namespace

absl::Status DecodeWithOpenCv(std::string_view bytes, const ImageHeader& header, RgbImage* image) {
  SilenceOpenCvOnce();
  const std::string format(ImageFormatName(header.format));
  try {
    const cv::Mat input(1, static_cast<int>(bytes.size()), CV_8U, const_cast<char*>(bytes.data()));
    // "Unchanged" also means that an EXIF orientation is not applied.
    const cv::Mat decoded = cv::imdecode(input, cv::IMREAD_UNCHANGED);
    if (decoded.empty()) {
      return absl::DataLossError(absl::StrCat("image: cannot decode ", format, ", the data is damaged or cut off"));
    }
    if (decoded.cols != header.width || decoded.rows != header.height) {
      return absl::DataLossError(absl::StrCat("image: ", format, " decodes to ", decoded.cols, " x ", decoded.rows,
                                              ", its header claims ", header.width, " x ", header.height));
    }
    const int channels = decoded.channels();
    if ((decoded.depth() != CV_8U && decoded.depth() != CV_16U) || channels == 2 || channels > 4) {
      return absl::InvalidArgumentError(absl::StrCat("image: unsupported ", format, " with ", channels, " channels of ",
                                                     8 * decoded.elemSize1(), " bits"));
    }
    decoded.depth() == CV_8U ? ToRgb<uint8_t>(decoded, image) : ToRgb<uint16_t>(decoded, image);
  } catch (const std::exception& error) {
    return absl::DataLossError(absl::StrCat("image: cannot decode ", format, ", ", error.what()));
  }
  return absl::OkStatus();
}

}  // namespace ursa
