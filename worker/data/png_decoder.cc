#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "worker/data/codecs.h"

namespace ursa {
namespace {

// Bound on what ancillary chunks (profiles, compressed text) may make libpng allocate.
constexpr png_alloc_size_t kChunkBytesMax = 8 << 20;

struct Session {
  std::string_view rest;  // input not yet read
  char text[200] = "";
};

[[noreturn]] void Fail(png_structp png, png_const_charp text) {
  auto* session = static_cast<Session*>(png_get_error_ptr(png));
  std::snprintf(session->text, sizeof(session->text), "%s", text);
  std::longjmp(*png_set_longjmp_fn(png, std::longjmp, sizeof(std::jmp_buf)), 1);
}

void IgnoreWarning(png_structp, png_const_charp) {}

void ReadInput(png_structp png, png_bytep output, size_t num_bytes) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  if (num_bytes > session->rest.size()) Fail(png, "the file is cut off");
  std::memcpy(output, session->rest.data(), num_bytes);
  session->rest.remove_prefix(num_bytes);
}

// 16-bit gray as Pillow converts it: clipped, not scaled.
void ClipGrayRow(const uint8_t* gray16, int width, uint8_t* rgb) {
  for (int x = 0; x < width; ++x) {
    const uint8_t value = gray16[2 * x] != 0 ? 255 : gray16[2 * x + 1];  // big endian
    rgb[3 * x] = rgb[3 * x + 1] = rgb[3 * x + 2] = value;
  }
}

// The part that may be left by longjmp: no object with a destructor lives here. `rows` and `wide` are memory for row
// pointers and for 16-bit gray.
bool Decode(png_structp png, png_infop info, std::vector<png_bytep>* rows, std::vector<uint8_t>* wide,
            RgbImage* image) {
  if (setjmp(*png_set_longjmp_fn(png, std::longjmp, sizeof(std::jmp_buf))) != 0) return false;
  // Pixel data with a wrong checksum is used, as Pillow does; critical chunks before it were checked by the header
  // gate.
  png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_WARN_DISCARD);
  png_set_chunk_malloc_max(png, kChunkBytesMax);
  png_set_user_limits(png, image->width, image->height);
  png_read_info(png, info);
  if (static_cast<int>(png_get_image_width(png, info)) != image->width ||
      static_cast<int>(png_get_image_height(png, info)) != image->height) {
    Fail(png, "two headers of different size");
  }
  const int bit_depth = png_get_bit_depth(png, info);
  const int colour_type = png_get_color_type(png, info);
  const bool gray16 = colour_type == PNG_COLOR_TYPE_GRAY && bit_depth == 16;
  if (!gray16) {
    png_set_strip_16(png);
    if (colour_type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (colour_type == PNG_COLOR_TYPE_GRAY && bit_depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if ((colour_type & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
  }
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  const size_t row_bytes = static_cast<size_t>(image->width) * (gray16 ? 2 : 3);
  if (png_get_rowbytes(png, info) != row_bytes) Fail(png, "unexpected layout of rows");
  rows->resize(image->height);
  if (gray16) wide->resize(row_bytes * image->height);
  for (int y = 0; y < image->height; ++y) (*rows)[y] = gray16 ? wide->data() + row_bytes * y : image->Row(y);
  // The end chunk is not asked for: a file without it is accepted.
  png_read_image(png, rows->data());
  for (int y = 0; gray16 && y < image->height; ++y) ClipGrayRow((*rows)[y], image->width, image->Row(y));
  return true;
}

}  // namespace

absl::Status DecodePng(std::string_view bytes, RgbImage* image) {
  Session session{bytes};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &session, Fail, IgnoreWarning);
  png_infop info = png == nullptr ? nullptr : png_create_info_struct(png);
  if (info == nullptr) {
    png_destroy_read_struct(&png, nullptr, nullptr);
    return absl::ResourceExhaustedError("image: libpng has no memory");
  }
  png_set_read_fn(png, &session, ReadInput);
  std::vector<png_bytep> rows;
  std::vector<uint8_t> wide;
  const bool decoded = Decode(png, info, &rows, &wide, image);
  png_destroy_read_struct(&png, &info, nullptr);
  if (decoded) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("image: cannot decode PNG, ", session.text));
}

}  // namespace ursa
