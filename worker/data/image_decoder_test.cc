#include "worker/data/image_decoder.h"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "gtest/gtest.h"
#include "worker/data/golden_testing.h"

namespace ursa {
namespace {

std::array<double, 3> Mean(const RgbImage& image) {
  std::array<double, 3> sum = {};
  for (size_t i = 0; i < image.NumBytes(); ++i) sum[i % 3] += image.pixels[i];
  for (double& value : sum) value /= static_cast<double>(image.width) * image.height;
  return sum;
}

std::array<int, 3> Pixel(const RgbImage& image, int x, int y) {
  const uint8_t* pixel = image.Row(y) + 3 * x;
  return {pixel[0], pixel[1], pixel[2]};
}

// Every file of probe_formats is accepted or refused as Pillow and fastai do, and decodes to the same pixels. GIF and
// ICO are the exceptions by name: not supported, whatever their state.
TEST(ImageDecoderGoldenTest, ProbeFormats) {
  const Json fixture = ReadGolden("probe_formats/cases.json");
  const double lossless_tolerance = fixture["tolerance"]["rgb_mean_lossless"].number();
  const double lossy_tolerance = fixture["tolerance"]["rgb_mean_jpeg_or_lossy_webp"].number();
  const int pixel_tolerance = static_cast<int>(fixture["tolerance"]["pixel_jpeg"].number());
  int num_compared = 0;
  int num_unsupported = 0;
  for (const Json& expected : fixture["cases"].array()) {
    const std::string name = expected["file"].string();
    SCOPED_TRACE(name);
    const std::string bytes = ReadGoldenBytes("probe_formats/" + name);
    const absl::StatusOr<RgbImage> image = DecodeImage(bytes, ImageLimits());
    const absl::StatusOr<ImageHeader> probe = ProbeImage(bytes, ImageLimits());
    EXPECT_EQ(image.status(), probe.status());
    const std::string format = Text(expected, "format");
    if (format == "GIF" || format == "ICO") {
      ++num_unsupported;
      EXPECT_EQ(image.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(std::string(image.status().message()), "image: unsupported format " + format);
      continue;
    }
    ++num_compared;
    const bool valid = expected["verify_image"].boolean() && expected.Find("error") == nullptr;
    EXPECT_EQ(image.ok(), valid) << image.status();
    if (!valid || !image.ok()) continue;
    const std::vector<int> size = Integers(expected["decoded_size_wh"]);
    ASSERT_EQ(image->width, size[0]);
    ASSERT_EQ(image->height, size[1]);
    EXPECT_EQ(probe->width, size[0]);
    EXPECT_EQ(probe->height, size[1]);
    const bool lossy = format == "JPEG" || (format == "WEBP" && name.find("lossless") == std::string::npos);
    const std::array<double, 3> mean = Mean(*image);
    const std::array<int, 3> first = Pixel(*image, 0, 0);
    const std::array<int, 3> last = Pixel(*image, image->width - 1, image->height - 1);
    for (int c = 0; c < 3; ++c) {
      EXPECT_NEAR(mean[c], expected["rgb_mean"][c].number(), lossy ? lossy_tolerance : lossless_tolerance);
      EXPECT_NEAR(first[c], expected["first_pixel"][c].number(), lossy ? pixel_tolerance : 0);
      EXPECT_NEAR(last[c], expected["last_pixel"][c].number(), lossy ? pixel_tolerance : 0);
    }
  }
  EXPECT_GT(num_compared, 0);
  std::printf("%d cases compared, %d refused as unsupported (GIF, ICO)\n", num_compared, num_unsupported);
}

// No prefix of a valid file crashes, and none that cuts pixels off is accepted.
TEST(ImageDecoderTest, RefusesEveryCutOfAFile) {
  for (const char* name : {"ok.jpg", "progressive.jpg", "cmyk.jpg"}) {
    const std::string bytes = ReadGoldenBytes(std::string("probe_formats/") + name);
    for (size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_FALSE(DecodeImage(std::string_view(bytes).substr(0, length), ImageLimits()).ok()) << name << " " << length;
    }
  }
  for (const char* name : {"ok.png", "ok.bmp", "ok.tif", "ok.ppm", "lossy.webp", "lossless.webp", "palette.png"}) {
    const std::string bytes = ReadGoldenBytes(std::string("probe_formats/") + name);
    const absl::StatusOr<RgbImage> whole = DecodeImage(bytes, ImageLimits());
    ASSERT_TRUE(whole.ok()) << whole.status();
    for (size_t length = 0; length < bytes.size(); ++length) {
      const absl::StatusOr<RgbImage> cut = DecodeImage(std::string_view(bytes).substr(0, length), ImageLimits());
      if (!cut.ok()) continue;
      EXPECT_EQ(MaxDifference(*cut, *whole), 0) << name << " cut to " << length;
    }
  }
}

// Damage anywhere ends in a status, never in a crash or an exception; asan watches the memory.
TEST(ImageDecoderTest, SurvivesFlippedBytes) {
  for (const char* name : {"ok.jpg", "progressive.jpg", "cmyk.jpg", "gray.jpg", "ok.png", "palette.png", "gray16.png",
                           "rgba.png", "ok.bmp", "ok.tif", "ok.ppm", "lossy.webp", "lossless.webp"}) {
    const std::string bytes = ReadGoldenBytes(std::string("probe_formats/") + name);
    ImageLimits limits;
    limits.pixels_max = 1 << 20;  // keeps the test fast where the damage hits the size
    for (size_t position = 0; position < bytes.size(); position += 1 + bytes.size() / 400) {
      for (const int flip : {0x01, 0x80, 0xFF}) {
        std::string damaged = bytes;
        damaged[position] = static_cast<char>(damaged[position] ^ flip);
        const absl::StatusOr<RgbImage> image = DecodeImage(damaged, limits);
        if (!image.ok()) continue;
        EXPECT_GT(image->NumBytes(), 0u);
      }
    }
  }
}

TEST(ImageDecoderTest, DecodesEveryRealPhoto) {
  const char* data = std::getenv("URSA_DATA");
  if (data == nullptr) GTEST_SKIP() << "URSA_DATA is not set, no real photos";
  int num_photos = 0;
  RgbImage image;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(data) + "/bears")) {
    if (entry.path().extension() != ".jpg") continue;
    const absl::StatusOr<std::string> bytes = ReadFile(entry.path().string());
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    const absl::Status status = DecodeImage(*bytes, ImageLimits(), &image);
    EXPECT_TRUE(status.ok()) << entry.path() << " " << status;
    ++num_photos;
  }
  EXPECT_GT(num_photos, 0);
}

TEST(ImageDecoderTest, ReusesMemoryAcrossSizes) {
  RgbImage image;
  ASSERT_TRUE(DecodeImage(ReadGoldenBytes("probe_formats/ok.png"), ImageLimits(), &image).ok());
  ASSERT_TRUE(DecodeImage(ReadGoldenBytes("probe_formats/one_pixel.jpg"), ImageLimits(), &image).ok());
  EXPECT_EQ(image.width, 1);
  EXPECT_EQ(image.NumBytes(), 3u);
}

}  // namespace
}  // namespace ursa
