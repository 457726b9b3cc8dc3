#include "base/text.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace ursa {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";
constexpr size_t kWordLengthMax = 256;  // the cost of a distance is the product of both lengths

uint8_t At(std::string_view text, size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; }

// Optimal string alignment distance (Damerau-Levenshtein without repeated edits of one substring).
size_t EditDistance(std::string_view a, std::string_view b) {
  // Distances of a's first i, i - 1 and i - 2 letters to each beginning of b.
  std::vector<size_t> row(b.size() + 1), before(b.size() + 1), two_before(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    two_before.swap(before);
    before.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = before[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({before[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], two_before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

size_t Utf8SequenceLength(std::string_view text) {
  const uint8_t lead = At(text, 0);
  if (lead < 0x80) return text.empty() ? 0 : 1;
  size_t length = 0;
  uint8_t low = 0x80, high = 0xbf;  // of the second byte
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;  // surrogates
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;  // past U+10FFFF
  } else {
    return 0;
  }
  if (At(text, 1) < low || At(text, 1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (At(text, i) < 0x80 || At(text, i) > 0xbf) return 0;
  }
  return length;
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

bool IsPrintableUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
    const uint8_t lead = At(text, 0);
    if (length == 0 || lead < 0x20 || lead == 0x7f || (lead == 0xc2 && At(text, 1) < 0xa0)) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string ToValidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
    out.append(length == 0 ? kReplacement : text.substr(0, length));
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

std::string NearestWord(std::string_view word, const std::vector<std::string>& words) {
  if (word.size() > kWordLengthMax) return "";
  std::string nearest;
  size_t best = 0;
  for (const std::string& candidate : words) {
    const size_t distance = EditDistance(word, candidate);
    const size_t forgiven = std::max<size_t>(word.size() < 4 ? 1 : 2, std::max(word.size(), candidate.size()) / 3);
    if (distance > forgiven || distance >= candidate.size()) continue;
    if (!nearest.empty() && distance >= best) continue;
    nearest = candidate;
    best = distance;
  }
  return nearest;
}

}  // namespace ursa
