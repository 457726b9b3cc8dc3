#include "client/cli/text.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/text.h"

namespace ursa::cli {

std::string Printable(std::string_view text) {
  std::string out;
  const std::string valid = ToValidUtf8(text);
  for (size_t i = 0; i < valid.size(); ++i) {
    const unsigned char c = valid[i];
    if (c == '\n') {
      out.append("\\n");
    } else if (c == '\t') {
      out.push_back(' ');
    } else if (c < 0x20 || c == 0x7f) {
      out.append(absl::StrFormat("\\x%02x", c));
    } else if (c == 0xc2 && static_cast<unsigned char>(valid[i + 1]) < 0xa0) {  // C1 controls
      out.append(absl::StrFormat("\\x%02x", static_cast<unsigned char>(valid[++i])));
    } else {
      out.push_back(static_cast<char>(c));
    }
  }
  return out;
}

size_t DisplayWidth(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

std::string FormatBytes(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KB", "MB", "GB", "TB", "PB"};
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < std::size(kUnits)) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 || bytes >= 9.95 ? absl::StrFormat("%.0f %s", bytes, kUnits[unit])
                                    : absl::StrFormat("%.1f %s", bytes, kUnits[unit]);
}

std::string FormatSeconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "-";
  if (seconds < 59.95) return absl::StrFormat("%.1fs", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return absl::StrFormat("%dm%02ds", whole / 60, whole % 60);
  return absl::StrFormat("%dh%02dm", whole / 3600, whole / 60 % 60);
}

std::string FormatMetric(double value) { return std::isnan(value) ? "-" : absl::StrFormat("%.6f", value); }

std::string FormatCount(int64_t count) {
  std::string digits = absl::StrFormat("%d", count);
  const size_t first = count < 0 ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3;) {
    i -= 3;
    digits.insert(i, 1, ' ');
  }
  return digits;
}

std::string Plural(int64_t count, std::string_view one, std::string_view many) {
  std::string text = FormatCount(count) + " ";
  return text.append(count == 1 ? one : many);
}

std::string LocalTimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", time, absl::LocalTimeZone());
}

}  // namespace ursa::cli
