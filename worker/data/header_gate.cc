#include "worker/data/header_gate.h"

#include <algorithm>
#include <cctype>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

// Bytes with a fixed byte order. Reading past the end gives 0 and is remembered, so a parser checks once per field
// group.
class Reader {
 public:
  Reader(std::string_view bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  uint64_t Integer(size_t position, int num_bytes) {
    if (position > bytes_.size() || bytes_.size() - position < static_cast<size_t>(num_bytes)) {
      overrun_ = true;
      return 0;
    }
    uint64_t value = 0;
    for (int i = 0; i < num_bytes; ++i) {
      const int at = big_endian_ ? i : num_bytes - 1 - i;
      value = value << 8 | static_cast<uint8_t>(bytes_[position + at]);
    }
    return value;
  }
  uint8_t Byte(size_t position) { return static_cast<uint8_t>(Integer(position, 1)); }
  bool overrun() const { return overrun_; }

 private:
  std::string_view bytes_;
  bool big_endian_;
  bool overrun_ = false;
};

bool StartsWith(std::string_view bytes, std::string_view prefix) { return bytes.substr(0, prefix.size()) == prefix; }

// A literal that may hold NUL.
template <size_t kSize>
constexpr std::string_view Bytes(const char (&literal)[kSize]) {
  return std::string_view(literal, kSize - 1);
}

absl::Status CutOff(ImageFormat format) {
  return absl::DataLossError(
      absl::StrCat("image: the file ends inside its ", std::string(ImageFormatName(format)), " header"));
}

absl::Status Damaged(ImageFormat format, std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("image: damaged ", std::string(ImageFormatName(format)), " header, ", std::string(what)));
}

absl::Status Unsupported(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("image: unsupported format ", std::string(what)));
}

// A size as the header claims it, before any limit is checked. 64 bits, as TIFF could say more than 31.
struct ClaimedSize {
  int64_t width = 0;
  int64_t height = 0;
  int64_t file_bytes_min = 0;  // shortest file that can hold the pixels, where the format bounds it
};

absl::StatusOr<ClaimedSize> ReadJpeg(std::string_view bytes) {
  Reader reader(bytes, /*big_endian=*/true);
  size_t position = 2;
  while (true) {
    // Marker segments up to the frame header; any byte before 0xFF is skipped, as libjpeg does.
    while (position < bytes.size() && reader.Byte(position) != 0xFF) ++position;
    while (position < bytes.size() && reader.Byte(position) == 0xFF) ++position;
    if (position >= bytes.size()) return CutOff(ImageFormat::kJpeg);
    const uint8_t marker = reader.Byte(position++);
    if (marker == 0x00 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7)) continue;  // no segment follows
    if (marker == 0xD8) return Damaged(ImageFormat::kJpeg, "a second start marker");
    if (marker == 0xD9 || marker == 0xDA) return Damaged(ImageFormat::kJpeg, "no frame before the data");
    const int64_t length = reader.Integer(position, 2);
    if (reader.overrun()) return CutOff(ImageFormat::kJpeg);
    if (length < 2) return Damaged(ImageFormat::kJpeg, "a segment shorter than its length field");
    const bool is_frame = marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (is_frame) {
      ClaimedSize size;
      size.height = reader.Integer(position + 3, 2);
      size.width = reader.Integer(position + 5, 2);
      if (reader.overrun()) return CutOff(ImageFormat::kJpeg);
      return size;
    }
    position += length;
  }
}

// CRC-32 of PNG (ISO 3309), bit by bit: only a few hundred bytes of header pass through it.
uint32_t Crc32(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1)));
  }
  return ~crc;
}

absl::StatusOr<ClaimedSize> ReadPng(std::string_view bytes) {
  Reader reader(bytes, /*big_endian=*/true);
  constexpr size_t kSignatureBytes = 8;
  constexpr uint32_t kPaletteBytesMax = 768;
  ClaimedSize size;
  int64_t row_bits = 0;
  for (size_t position = kSignatureBytes;;) {
    const uint64_t length = reader.Integer(position, 4);
    const std::string_view type = bytes.substr(std::min(position + 4, bytes.size()), 4);
    if (reader.overrun() || type.size() < 4) return CutOff(ImageFormat::kPng);
    if (length > 0x7FFFFFFFu) return Damaged(ImageFormat::kPng, "a chunk longer than 2^31");
    const bool first = position == kSignatureBytes;
    if (first != (type == "IHDR")) return Damaged(ImageFormat::kPng, "IHDR is not the first chunk");
    if (type == "IEND") return Damaged(ImageFormat::kPng, "no pixel data");
    if (type == "IDAT") {
      // Deflate cannot do better than 1032:1, so a short file cannot hold a huge picture.
      constexpr int64_t kDeflateRatioMax = 1032;
      size.file_bytes_min = static_cast<int64_t>((static_cast<double>(row_bits) / 8 * size.height) / kDeflateRatioMax);
      return size;
    }
    const bool palette = type == "PLTE";
    if (first ? length != 13 : palette && (length > kPaletteBytesMax || length % 3 != 0)) {
      return Damaged(ImageFormat::kPng, absl::StrCat("a chunk ", std::string(type), " of ", length, " bytes"));
    }
    const uint32_t expected = reader.Integer(position + 8 + length, 4);
    if (reader.overrun()) return CutOff(ImageFormat::kPng);
    if ((first || palette) && Crc32(bytes.substr(position + 4, 4 + length)) != expected) {
      return Damaged(ImageFormat::kPng, absl::StrCat("wrong checksum of chunk ", std::string(type)));
    }
    if (first) {
      size.width = reader.Integer(position + 8, 4);
      size.height = reader.Integer(position + 12, 4);
      constexpr int kChannels[7] = {1, 0, 3, 1, 2, 0, 4};
      const int colour_type = reader.Byte(position + 17);
      if (colour_type > 6 || kChannels[colour_type] == 0) {
        return Damaged(ImageFormat::kPng, absl::StrCat("colour type ", colour_type));
      }
      row_bits = size.width * kChannels[colour_type] * reader.Byte(position + 16);
    }
    position += 12 + length;
  }
}

absl::StatusOr<ClaimedSize> ReadBmp(std::string_view bytes) {
  Reader reader(bytes, /*big_endian=*/false);
  const uint64_t header_bytes = reader.Integer(14, 4);
  ClaimedSize size;
  int64_t bits = 0;
  bool compressed = false;
  if (header_bytes == 12) {
    size.width = reader.Integer(18, 2);
    size.height = reader.Integer(20, 2);
    bits = reader.Integer(24, 2);
  } else {
    size.width = static_cast<int32_t>(reader.Integer(18, 4));
    size.height = static_cast<int32_t>(reader.Integer(22, 4));
    if (size.height < 0) size.height = -size.height;  // stored from top to bottom
    bits = reader.Integer(28, 2);
    const uint64_t compression = reader.Integer(30, 4);
    compressed = compression != 0 && compression != 3;  // neither plain nor bit fields
  }
  if (reader.overrun()) return CutOff(ImageFormat::kBmp);
  if (header_bytes != 12 && header_bytes < 40) return Damaged(ImageFormat::kBmp, "unknown kind");
  if (!compressed) {
    const double row_bytes = static_cast<double>((size.width * bits + 31) / 32 * 4);
    // The last row's padding may be cut off.
    size.file_bytes_min = static_cast<int64_t>(std::min(row_bytes * size.height - 3, 1e18));
  }
  return size;
}

absl::StatusOr<ClaimedSize> ReadTiff(std::string_view bytes) {
  Reader reader(bytes, /*big_endian=*/bytes[0] == 'M');
  const size_t directory = reader.Integer(4, 4);
  const int num_entries = reader.Integer(directory, 2);
  if (reader.overrun()) return CutOff(ImageFormat::kTiff);
  constexpr int kTagWidth = 256;
  constexpr int kTagHeight = 257;
  constexpr int kTagSamplesPerPixel = 277;
  constexpr int kTagExtraSamples = 338;
  constexpr int kTypeShort = 3;
  constexpr int kTypeLong = 4;
  ClaimedSize size;
  int64_t samples_per_pixel = 1;
  bool extra_samples = false;
  for (int i = 0; i < num_entries; ++i) {
    const size_t entry = directory + 2 + size_t{12} * i;
    const int tag = reader.Integer(entry, 2);
    const int type = reader.Integer(entry + 2, 2);
    if (tag == kTagSamplesPerPixel) samples_per_pixel = static_cast<int64_t>(reader.Integer(entry + 8, 2));
    if (tag == kTagExtraSamples) extra_samples = true;
    if (tag != kTagWidth && tag != kTagHeight) continue;
    if (type != kTypeShort && type != kTypeLong) return Damaged(ImageFormat::kTiff, "a size that is no integer");
    const int64_t value = reader.Integer(entry + 8, type == kTypeShort ? 2 : 4);
    (tag == kTagWidth ? size.width : size.height) = value;
  }
  if (reader.overrun()) return CutOff(ImageFormat::kTiff);
  // OpenCV's decoder multiplies the colours by alpha, which cannot be undone.
  if (samples_per_pixel > 3 && extra_samples) return Unsupported("TIFF with alpha");
  return size;
}

absl::StatusOr<ClaimedSize> ReadWebp(std::string_view bytes) {
  Reader reader(bytes, /*big_endian=*/false);
  const std::string_view kind = bytes.substr(12, std::min<size_t>(4, bytes.size() - 12));
  ClaimedSize size;
  if (kind == "VP8 ") {
    if (reader.Integer(23, 3) != 0x2A019D && !reader.overrun()) return Damaged(ImageFormat::kWebp, "no start code");
    size.width = reader.Integer(26, 2) & 0x3FFF;
    size.height = reader.Integer(28, 2) & 0x3FFF;
  } else if (kind == "VP8L") {
    if (reader.Byte(20) != 0x2F && !reader.overrun()) return Damaged(ImageFormat::kWebp, "no signature");
    const uint64_t packed = reader.Integer(21, 4);
    size.width = (packed & 0x3FFF) + 1;
    size.height = (packed >> 14 & 0x3FFF) + 1;
  } else if (kind == "VP8X") {
    constexpr int kAnimated = 0x02;
    if (reader.Byte(20) & kAnimated) return Unsupported("animated WebP");
    size.width = reader.Integer(24, 3) + 1;
    size.height = reader.Integer(27, 3) + 1;
  } else if (kind.size() == 4) {
    return Damaged(ImageFormat::kWebp, "unknown kind of data");
  }
  if (reader.overrun() || kind.size() < 4) return CutOff(ImageFormat::kWebp);
  return size;
}

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

absl::StatusOr<ClaimedSize> ReadPnm(std::string_view bytes) {
  size_t position = 2;
  const auto next_number = [&bytes, &position]() -> int64_t {
    bool comment = false;
    while (position < bytes.size() && (comment || bytes[position] == '#' || IsSpace(bytes[position]))) {
      if (bytes[position] == '#') comment = true;
      if (bytes[position] == '\n' || bytes[position] == '\r') comment = false;
      ++position;
    }
    constexpr size_t kDigitsMax = 10;
    int64_t value = 0;
    size_t digits = 0;
    for (; position < bytes.size() && bytes[position] >= '0' && bytes[position] <= '9'; ++position, ++digits) {
      if (digits == kDigitsMax) return -1;
      value = value * 10 + (bytes[position] - '0');
    }
    return digits == 0 ? -1 : value;
  };
  const char kind = bytes[1];
  ClaimedSize size;
  size.width = next_number();
  size.height = next_number();
  const bool bitmap = kind == '1' || kind == '4';
  const int64_t value_max = bitmap ? 1 : next_number();
  if (size.width < 0 || size.height < 0 || value_max < 0) {
    if (position >= bytes.size()) return CutOff(ImageFormat::kPnm);
    return Damaged(ImageFormat::kPnm, "a size that is no number");
  }
  if (value_max < 1 || value_max > 65535) return Damaged(ImageFormat::kPnm, absl::StrCat("maximum ", value_max));
  // OpenCV's decoder does not scale other maxima of binary files.
  if (value_max != 255 && value_max != 65535 && kind >= '5') {
    return Unsupported(absl::StrCat("PNM with maximum ", value_max));
  }
  const int channels = kind == '3' || kind == '6' ? 3 : 1;
  double data_bytes = static_cast<double>(size.width) * size.height * channels;
  if (kind == '4') data_bytes = static_cast<double>((size.width + 7) / 8) * size.height;
  if (kind >= '5' && value_max > 255) data_bytes *= 2;
  size.file_bytes_min = static_cast<int64_t>(std::min(data_bytes + position, 1e18));
  return size;
}

// Names what is not a supported image, as well as a few bytes allow.
absl::Status RefuseUnknown(std::string_view bytes) {
  if (StartsWith(bytes, "GIF87a") || StartsWith(bytes, "GIF89a")) return Unsupported("GIF");
  if (StartsWith(bytes, Bytes("\0\0\1\0"))) return Unsupported("ICO");
  if (StartsWith(bytes, Bytes("\0\0\2\0"))) return Unsupported("CUR");
  if (StartsWith(bytes, Bytes("II\x2B\0")) || StartsWith(bytes, Bytes("MM\0\x2B"))) return Unsupported("BigTIFF");
  if (StartsWith(bytes, Bytes("\0\0\0\x0CjP  "))) return Unsupported("JPEG 2000");
  if (StartsWith(bytes, "8BPS")) return Unsupported("PSD");
  if (StartsWith(bytes, "%PDF")) return Unsupported("PDF");
  if (StartsWith(bytes, "P7\n")) return Unsupported("PAM");
  if (StartsWith(bytes, "PK\3\4")) return Unsupported("ZIP");
  if (bytes.size() >= 12 && bytes.substr(4, 4) == "ftyp") {
    const std::string_view brand = bytes.substr(8, 4);
    if (brand == "avif" || brand == "avis") return Unsupported("AVIF");
    if (brand == "heic" || brand == "heix" || brand == "mif1" || brand == "msf1") return Unsupported("HEIF");
    return Unsupported("ISO media (video)");
  }
  const std::string_view head = bytes.substr(0, 512);
  const bool text =
      std::all_of(head.begin(), head.end(), [](char c) { return static_cast<uint8_t>(c) >= 0x20 || IsSpace(c); }) &&
      std::none_of(head.begin(), head.end(), [](char c) { return c == '\x7F'; });
  if (text) {
    std::string lower(head);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
      return c < 0x80 ? static_cast<char>(std::tolower(c)) : static_cast<char>(c);
    });
    if (lower.find("<svg") != std::string::npos) return Unsupported("SVG");
    if (lower.find("<html") != std::string::npos || lower.find("<!doctype") != std::string::npos) {
      return absl::InvalidArgumentError("image: not an image but an HTML page");
    }
    if (std::all_of(head.begin(), head.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; })) {
      return absl::InvalidArgumentError("image: not an image but text");
    }
  }
  return absl::InvalidArgumentError("image: not an image, the first bytes are of no known format");
}

absl::StatusOr<ClaimedSize> ReadClaimedSize(std::string_view bytes, ImageFormat* format) {
  const auto as = [format](ImageFormat found) { *format = found; };
  if (StartsWith(bytes, "\xFF\xD8\xFF")) return as(ImageFormat::kJpeg), ReadJpeg(bytes);
  if (StartsWith(bytes, "\x89PNG\r\n\x1A\n")) return as(ImageFormat::kPng), ReadPng(bytes);
  if (StartsWith(bytes, "BM") && bytes.size() > 14) {
    const uint64_t kind = Reader(bytes, false).Integer(14, 4);
    if (kind == 12 || (kind >= 40 && kind <= 124)) return as(ImageFormat::kBmp), ReadBmp(bytes);
  }
  if (StartsWith(bytes, Bytes("II\x2A\0")) || StartsWith(bytes, Bytes("MM\0\x2A"))) {
    return as(ImageFormat::kTiff), ReadTiff(bytes);
  }
  if (bytes.size() >= 12 && StartsWith(bytes, "RIFF") && bytes.substr(8, 4) == "WEBP") {
    return as(ImageFormat::kWebp), ReadWebp(bytes);
  }
  if (bytes.size() >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' &&
      (IsSpace(bytes[2]) || bytes[2] == '#')) {
    return as(ImageFormat::kPnm), ReadPnm(bytes);
  }
  return RefuseUnknown(bytes);
}

}  // namespace

std::string_view ImageFormatName(ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg:
      return "JPEG";
    case ImageFormat::kPng:
      return "PNG";
    case ImageFormat::kBmp:
      return "BMP";
    case ImageFormat::kTiff:
      return "TIFF";
    case ImageFormat::kWebp:
      return "WebP";
    case ImageFormat::kPnm:
      return "PNM";
  }
  return "unknown";
}

absl::Status ImageLimits::Validate() const {
  if (bytes_max > 0 && pixels_max > 0 && side_max > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("image limits: must be positive, bytes_max is ", bytes_max,
                                                 ", pixels_max ", pixels_max, ", side_max ", side_max));
}

absl::StatusOr<ImageHeader> ReadImageHeader(std::string_view bytes, const ImageLimits& limits) {
  if (bytes.empty()) return absl::InvalidArgumentError("image: the file is empty");
  if (static_cast<int64_t>(bytes.size()) > limits.bytes_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("image: the file has ", bytes.size(), " bytes, the limit is ", limits.bytes_max));
  }
  ImageHeader header;
  URSA_ASSIGN_OR_RETURN(const ClaimedSize size, ReadClaimedSize(bytes, &header.format));
  if (size.width <= 0 || size.height <= 0) {
    return Damaged(header.format, absl::StrCat("a size of ", size.width, " x ", size.height));
  }
  if (size.width > limits.side_max || size.height > limits.side_max) {
    return absl::ResourceExhaustedError(absl::StrCat("image: the header claims ", size.width, " x ", size.height,
                                                     " pixels, the limit of a side is ", limits.side_max));
  }
  if (size.width * size.height > limits.pixels_max) {
    return absl::ResourceExhaustedError(absl::StrCat("image: the header claims ", size.width, " x ", size.height, " = ",
                                                     size.width * size.height, " pixels, the limit is ",
                                                     limits.pixels_max));
  }
  if (static_cast<int64_t>(bytes.size()) < size.file_bytes_min) {
    return absl::DataLossError(absl::StrCat("image: the file is cut off, ", size.width, " x ", size.height,
                                            " pixels need at least ", size.file_bytes_min, " bytes, it has ",
                                            bytes.size()));
  }
  header.width = static_cast<int>(size.width);
  header.height = static_cast<int>(size.height);
  return header;
}

}  // namespace ursa
