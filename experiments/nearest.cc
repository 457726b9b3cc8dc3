#include "experiments/nearest.h"

#include <algorithm>
#include <numeric>

namespace ursa {
namespace {

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);  // distances of a's first i letters to each beginning of b
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string Nearest(std::string_view word, const std::vector<std::string>& words) {
  constexpr size_t kWordLengthMax = 256;  // the cost is the product of both lengths
  if (word.size() > kWordLengthMax) return "";
  std::string nearest;
  size_t best = 0;
  for (const std::string& candidate : words) {
    const size_t distance = EditDistance(word, candidate);
    const size_t forgiven = std::max<size_t>(2, std::max(word.size(), candidate.size()) / 3);
    if (distance > forgiven || distance >= candidate.size()) continue;
    if (!nearest.empty() && distance >= best) continue;
    nearest = candidate;
    best = distance;
  }
  return nearest;
}

}  // namespace ursa
