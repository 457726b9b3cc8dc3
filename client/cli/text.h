// Text for people: what a terminal may be shown, widths, sizes, times, and the nearest known word to a mistyped one.
#ifndef URSA_CLIENT_CLI_TEXT_H_
#define URSA_CLIENT_CLI_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace ursa::cli {

// `text` with every byte that is not part of well-formed UTF-8 (Unicode 15, table 3-7) replaced by U+FFFD.
std::string ToValidUtf8(std::string_view text);

// Whether all of `text` is well-formed UTF-8.
bool IsValidUtf8(std::string_view text);

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

// The candidate nearest to `word` by edit distance (insert, delete, replace, swap of neighbours), if it is near enough
// to be what was meant: a distance of at most 1 for words under 4 letters, else 2, or a third of its length; or "".
std::string NearestWord(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_TEXT_H_
