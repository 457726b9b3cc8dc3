// Text for people: what a terminal may be shown, widths, sizes, times.
#ifndef URSA_CLIENT_CLI_TEXT_H_
#define URSA_CLIENT_CLI_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace ursa::cli {

// `text` with control characters shown as "\x1b" and line ends as "\n", so that a file name or a log line cannot steer
// the terminal. Valid UTF-8.
std::string Printable(std::string_view text);

// Columns that valid UTF-8 takes, one per code point.
size_t DisplayWidth(std::string_view utf8);

// "512 B", "1.5 KB", "23 MB": powers of 1000.
std::string FormatBytes(double bytes);

// "4.2s", "3m20s", "2h05m".
std::string FormatSeconds(double seconds);

// A metric for people: 6 decimals as fastai prints them; "-" for NaN.
std::string FormatMetric(double value);

// "416", "60 000": groups of three.
std::string FormatCount(int64_t count);

// "1 file", "2 files".
std::string Plural(int64_t count, std::string_view one, std::string_view many);

// Local time, "2026-01-02 03:04:05".
std::string LocalTimeText(absl::Time time);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_TEXT_H_
