#include <csetjmp>
#include <cstdio>
#include <string>
#include <vector>

// jpeglib.h needs stdio before it.
#include <jerror.h>
#include <jpeglib.h>

#include "absl/strings/str_cat.h"
#include "worker/data/codecs.h"

namespace ursa {
namespace {

// A progressive file may repeat scans without end, each costing a pass over the whole picture.
constexpr int kScansMax = 500;

// libjpeg reports by callbacks without a user pointer: what they need lies behind the structures they are given.
struct ErrorManager {
  jpeg_error_mgr base;  // first, so that a pointer to it is a pointer to this
  std::jmp_buf on_error;
  char text[JMSG_LENGTH_MAX];
};

struct ProgressMonitor {
  jpeg_progress_mgr base;
};

[[noreturn]] void Fail(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, errors->text);
  std::longjmp(errors->on_error, 1);
}

// Warnings are recovered damage, which Pillow accepts as well; nothing is printed.
void IgnoreMessage(j_common_ptr, int) {}

void CheckScans(j_common_ptr info) {
  auto* decompress = reinterpret_cast<j_decompress_ptr>(info);
  if (decompress->input_scan_number <= kScansMax) return;
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  std::snprintf(errors->text, sizeof(errors->text), "more than %d scans", kScansMax);
  std::longjmp(errors->on_error, 1);
}

// The whole file is in memory, so a request for more means that it is cut off. libjpeg's own memory source would invent
// an end marker and go on with a warning.
boolean FailAtEnd(j_decompress_ptr info) {
  ERREXIT(info, JERR_INPUT_EOF);
  return FALSE;  // not reached
}

void SkipInput(j_decompress_ptr info, long num_bytes) {
  if (num_bytes <= 0) return;
  if (static_cast<size_t>(num_bytes) > info->src->bytes_in_buffer) ERREXIT(info, JERR_INPUT_EOF);
  info->src->next_input_byte += num_bytes;
  info->src->bytes_in_buffer -= num_bytes;
}

void Nothing(j_decompress_ptr) {}

// Pillow's formula, without colour management. `cmyk` is as Adobe stores it, inverted: 255 is no ink.
void CmykRowToRgb(const uint8_t* cmyk, int width, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int light = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[c]) * light + 128;
      rgb[c] = static_cast<uint8_t>(light - ((product + (product >> 8)) >> 8));
    }
  }
}

// The part that may be left by longjmp: no object with a destructor lives here.
bool Decode(std::string_view bytes, ErrorManager* errors, jpeg_decompress_struct* info, uint8_t* cmyk_row,
            RgbImage* image) {
  if (setjmp(errors->on_error) != 0) {
    jpeg_destroy_decompress(info);
    return false;
  }
  jpeg_create_decompress(info);
  jpeg_source_mgr source = {};
  source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  source.bytes_in_buffer = bytes.size();
  source.init_source = Nothing;
  source.fill_input_buffer = FailAtEnd;
  source.skip_input_data = SkipInput;
  source.resync_to_restart = jpeg_resync_to_restart;
  source.term_source = Nothing;
  info->src = &source;
  ProgressMonitor progress = {};
  progress.base.progress_monitor = CheckScans;
  info->progress = &progress.base;

  jpeg_read_header(info, TRUE);
  const bool cmyk = info->num_components == 4;
  info->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(info);
  if (static_cast<int>(info->output_width) != image->width || static_cast<int>(info->output_height) != image->height) {
    std::snprintf(errors->text, sizeof(errors->text), "two frame headers of different size");
    jpeg_destroy_decompress(info);
    return false;
  }
  while (info->output_scanline < info->output_height) {
    uint8_t* const rgb = image->Row(static_cast<int>(info->output_scanline));
    JSAMPROW row = cmyk ? cmyk_row : rgb;
    jpeg_read_scanlines(info, &row, 1);
    if (cmyk) CmykRowToRgb(cmyk_row, image->width, rgb);
  }
  jpeg_finish_decompress(info);
  jpeg_destroy_decompress(info);
  return true;
}

}  // namespace

absl::Status DecodeJpeg(std::string_view bytes, RgbImage* image) {
  ErrorManager errors;
  jpeg_decompress_struct info = {};
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = Fail;
  errors.base.emit_message = IgnoreMessage;
  std::vector<uint8_t> cmyk_row(static_cast<size_t>(image->width) * 4);
  if (Decode(bytes, &errors, &info, cmyk_row.data(), image)) return absl::OkStatus();
  if (errors.base.msg_code == JERR_INPUT_EOF) {
    return absl::DataLossError("image: the JPEG file is cut off, its end marker is missing");
  }
  return absl::DataLossError(absl::StrCat("image: cannot decode JPEG, ", errors.text));
}

}  // namespace ursa
