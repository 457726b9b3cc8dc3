#include "worker/data/header_gate.h"

#include <chrono>
#include <string>

#include "gtest/gtest.h"

namespace ursa {
namespace {

std::string BigEndian(uint64_t value, int num_bytes) {
  std::string text;
  for (int i = num_bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

std::string LittleEndian(uint64_t value, int num_bytes) {
  const std::string big = BigEndian(value, num_bytes);
  return std::string(big.rbegin(), big.rend());
}

std::string Jpeg(int width, int height) {
  return "\xFF\xD8\xFF\xE0" + BigEndian(16, 2) + std::string(14, 'j') + "\xFF\xC0" + BigEndian(17, 2) + "\x08" +
         BigEndian(height, 2) + BigEndian(width, 2) + std::string(10, '\1');
}

std::string Bmp(int width, int height, int file_bytes) {
  std::string file = "BM" + std::string(12, '\0') + LittleEndian(40, 4) + LittleEndian(width, 4) +
                     LittleEndian(static_cast<uint32_t>(height), 4) + LittleEndian(1, 2) + LittleEndian(24, 2) +
                     LittleEndian(0, 4);
  file.resize(file_bytes, '\0');
  return file;
}

std::string Tiff(bool big, uint32_t width, uint32_t height) {
  const auto number = big ? BigEndian : LittleEndian;
  const auto entry = [&number](int tag, uint32_t value) {
    return number(tag, 2) + number(4, 2) + number(1, 4) + number(value, 4);
  };
  return (big ? "MM" : "II") + number(42, 2) + number(8, 4) + number(2, 2) + entry(256, width) + entry(257, height);
}

std::string TiffWithAlpha() {
  const auto entry = [](int tag, int value) {
    return LittleEndian(tag, 2) + LittleEndian(3, 2) + LittleEndian(1, 4) + LittleEndian(value, 4);
  };
  return "II" + LittleEndian(42, 2) + LittleEndian(8, 4) + LittleEndian(4, 2) + entry(256, 30) + entry(257, 20) +
         entry(277, 4) + entry(338, 2);
}

std::string Webp(const std::string& kind, const std::string& body) {
  return "RIFF" + LittleEndian(100, 4) + "WEBP" + kind + LittleEndian(body.size(), 4) + body;
}

absl::StatusOr<ImageHeader> Read(const std::string& bytes) { return ReadImageHeader(bytes, ImageLimits()); }

void ExpectSize(const std::string& bytes, ImageFormat format, int width, int height) {
  const auto header = Read(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->format, format);
  EXPECT_EQ(header->width, width);
  EXPECT_EQ(header->height, height);
}

void ExpectRefused(const std::string& bytes, absl::StatusCode code, const std::string& cause) {
  const absl::Status status = Read(bytes).status();
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_NE(status.message().find(cause), std::string::npos) << status << " should say: " << cause;
}

TEST(HeaderGateTest, ReadsTheSizeOfEachFormat) {
  ExpectSize(Jpeg(640, 480), ImageFormat::kJpeg, 640, 480);
  ExpectSize(Bmp(7, 5, 54 + 24 * 5), ImageFormat::kBmp, 7, 5);
  ExpectSize(Bmp(7, -5, 54 + 24 * 5), ImageFormat::kBmp, 7, 5);  // stored from top to bottom
  ExpectSize(Tiff(true, 300, 200), ImageFormat::kTiff, 300, 200);
  ExpectSize(Tiff(false, 300, 200), ImageFormat::kTiff, 300, 200);
  ExpectSize(Webp("VP8 ", std::string(3, '\0') + "\x9D\x01\x2A" + LittleEndian(43, 2) + LittleEndian(28, 2)),
             ImageFormat::kWebp, 43, 28);
  ExpectSize(Webp("VP8L", "\x2F" + LittleEndian(42 | 27 << 14, 4)), ImageFormat::kWebp, 43, 28);
  ExpectSize(Webp("VP8X", std::string(4, '\0') + LittleEndian(42, 3) + LittleEndian(27, 3)), ImageFormat::kWebp, 43,
             28);
  ExpectSize("P6 # comment with 9 9\n3 2\n255\n" + std::string(18, 'x'), ImageFormat::kPnm, 3, 2);
  ExpectSize("P4\n9 2\n" + std::string(4, 'x'), ImageFormat::kPnm, 9, 2);
}

TEST(HeaderGateTest, NamesWhatIsNoSupportedImage) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  ExpectRefused("", invalid, "the file is empty");
  ExpectRefused("GIF89a" + std::string(20, '\1'), invalid, "unsupported format GIF");
  ExpectRefused(std::string("\0\0\1\0\1\0", 6), invalid, "unsupported format ICO");
  ExpectRefused("<?xml version='1.0'?><SVG width='4'/>", invalid, "unsupported format SVG");
  ExpectRefused("<!DOCTYPE html><html></html>", invalid, "HTML");
  ExpectRefused("these are words\n", invalid, "text");
  ExpectRefused(std::string("\0\0\0\x18"
                            "ftypavif",
                            12),
                invalid, "unsupported format AVIF");
  ExpectRefused(std::string(500, '\0'), invalid, "no known format");
  ExpectRefused("P6 1 1 100\nabc", invalid, "unsupported format PNM with maximum 100");
  ExpectRefused(TiffWithAlpha(), invalid, "unsupported format TIFF with alpha");
  ExpectRefused(Webp("VP8X", "\x02" + std::string(9, '\0')), invalid, "animated");
}

TEST(HeaderGateTest, RefusesBombsByNamingTheLimitAndWithoutDelay) {
  const auto begin = std::chrono::steady_clock::now();
  ExpectRefused(Jpeg(65500, 65500), absl::StatusCode::kResourceExhausted, "178956970");
  ExpectRefused(Tiff(false, 0xFFFFFFFF, 1), absl::StatusCode::kResourceExhausted, "limit of a side");
  ExpectRefused("P5 1000000 1000000 255\n", absl::StatusCode::kResourceExhausted, "1000000000000 pixels");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));  // a decoder would take many
  ImageLimits limits;
  limits.bytes_max = 10;
  EXPECT_EQ(ReadImageHeader(Jpeg(3, 3), limits).status().code(), absl::StatusCode::kResourceExhausted);
  limits = ImageLimits();
  limits.pixels_max = 8;
  EXPECT_EQ(ReadImageHeader(Jpeg(3, 3), limits).status().code(), absl::StatusCode::kResourceExhausted);
  limits.pixels_max = 9;
  EXPECT_TRUE(ReadImageHeader(Jpeg(3, 3), limits).ok());
}

TEST(HeaderGateTest, RefusesSizesThatTheFileCannotHold) {
  const auto loss = absl::StatusCode::kDataLoss;
  ExpectRefused(Bmp(1000, 1000, 200), loss, "at least");
  ExpectRefused("P6 100 100 255\nabc", loss, "at least");
  ExpectRefused(Jpeg(0, 5), loss, "0 x 5");
  ExpectRefused("P6 0 5 255\n", loss, "0 x 5");
}

// Every beginning of a valid file is answered with a status: no crash (run it under asan), no success with a wrong
// size.
TEST(HeaderGateTest, SurvivesEveryCut) {
  for (const std::string& whole :
       {Jpeg(640, 480), Bmp(7, 5, 54 + 24 * 5), Tiff(true, 300, 200), Tiff(false, 300, 200),
        Webp("VP8L", "\x2F" + LittleEndian(42 | 27 << 14, 4)), std::string("P6 3 2 255\n" + std::string(18, 'x'))}) {
    const auto header = Read(whole);
    ASSERT_TRUE(header.ok()) << header.status();
    for (size_t length = 0; length < whole.size(); ++length) {
      const auto cut = Read(whole.substr(0, length));
      if (cut.ok()) {
        EXPECT_EQ(cut->width, header->width);
        EXPECT_EQ(cut->height, header->height);
      }
    }
  }
}

TEST(HeaderGateTest, ChecksItsLimits) {
  ImageLimits limits;
  EXPECT_TRUE(limits.Validate().ok());
  limits.pixels_max = 0;
  EXPECT_EQ(limits.Validate().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ursa
