#include "coordinator/scheduling/backfill.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace ursa {
namespace {

// Sums that can be reached, as bits.
class Sums {
 public:
  explicit Sums(int64_t sum_max) : words_(static_cast<size_t>(sum_max / 64) + 1) { words_[0] = 1; }

  bool Has(int64_t sum) const { return (words_[static_cast<size_t>(sum / 64)] >> (sum % 64)) & 1; }

  // Every sum, and every sum plus `size`, as far as there is room.
  void Add(int64_t size) {
    const auto num_words = static_cast<size_t>(size / 64);
    const int num_bits = static_cast<int>(size % 64);
    for (size_t i = words_.size(); i-- > num_words;) {
      uint64_t shifted = words_[i - num_words] << num_bits;
      if (num_bits != 0 && i > num_words) shifted |= words_[i - num_words - 1] >> (64 - num_bits);
      words_[i] |= shifted;
    }
  }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace

int64_t LeastSumAtLeast(const SizeCounts& sizes, int64_t least) {
  // One that is enough alone; and sums of smaller ones. A least sum of these is less than 2 * least, since without any
  // one of them it would not be enough.
  int64_t best = -1;
  const auto enough = sizes.lower_bound(static_cast<int32_t>(std::min<int64_t>(least, INT32_MAX)));
  if (enough != sizes.end()) best = enough->first;
  Sums sums(2 * least);
  for (auto it = sizes.begin(); it != enough; ++it) {
    const int64_t size = it->first;
    int64_t num_left = std::min<int64_t>(it->second, (least + size - 1) / size);
    // Any number of them up to num_left is a sum of these multiples.
    for (int64_t multiple = 1; num_left > 0; multiple *= 2) {
      const int64_t num_taken = std::min(multiple, num_left);
      sums.Add(num_taken * size);
      num_left -= num_taken;
    }
    if (sums.Has(least)) return least;
  }
  for (int64_t sum = least; sum < 2 * least && (best < 0 || sum < best); ++sum) {
    if (sums.Has(sum)) return sum;
  }
  return best;
}

int64_t BackfillAllowance(const SizeCounts& running, int64_t num_missing, int64_t missing_max) {
  if (num_missing > missing_max) return 0;
  const int64_t sum = LeastSumAtLeast(running, num_missing);
  return sum < 0 ? 0 : sum - num_missing;
}

}  // namespace ursa
