// A set of small numbers.
#ifndef URSA_COORDINATOR_SCHEDULING_INDEX_SET_H_
#define URSA_COORDINATOR_SCHEDULING_INDEX_SET_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ursa {

// Ordered set of numbers >= 0 as a bitmap of two levels, of which the upper one says which words of the lower one are
// not empty: inserting, erasing and finding take a few instructions for 10 000 members. As large as its largest member.
class IndexSet {
 public:
  static constexpr int32_t kNone = -1;

  void Insert(int32_t i) {
    const size_t word = Word(i);
    if (word >= words_.size()) {
      words_.resize(word + 1);
      groups_.resize(word / 64 + 1);
    }
    const uint64_t bit = Bit(static_cast<size_t>(i));
    size_ += (words_[word] & bit) == 0 ? 1 : 0;
    words_[word] |= bit;
    groups_[word / 64] |= Bit(word);
  }

  void Erase(int32_t i) {
    const size_t word = Word(i);
    if (word >= words_.size()) return;
    const uint64_t bit = Bit(static_cast<size_t>(i));
    size_ -= (words_[word] & bit) != 0 ? 1 : 0;
    words_[word] &= ~bit;
    if (words_[word] == 0) groups_[word / 64] &= ~Bit(word);
  }

  bool Contains(int32_t i) const {
    return Word(i) < words_.size() && (words_[Word(i)] & Bit(static_cast<size_t>(i))) != 0;
  }

  // The least member >= i; kNone if there is none.
  int32_t NextAtLeast(int32_t i) const {
    size_t word = Word(i);
    if (word >= words_.size()) return kNone;
    const uint64_t rest = words_[word] & From(static_cast<size_t>(i));
    if (rest != 0) return Member(word, __builtin_ctzll(rest));
    ++word;
    size_t group = word / 64;
    if (group >= groups_.size()) return kNone;
    uint64_t left = groups_[group] & From(word);
    while (left == 0) {
      if (++group == groups_.size()) return kNone;
      left = groups_[group];
    }
    word = group * 64 + static_cast<size_t>(__builtin_ctzll(left));
    return Member(word, __builtin_ctzll(words_[word]));
  }

  int32_t First() const { return NextAtLeast(0); }

  int32_t Last() const {
    for (size_t group = groups_.size(); group-- > 0;) {
      if (groups_[group] == 0) continue;
      const size_t word = group * 64 + 63 - static_cast<size_t>(__builtin_clzll(groups_[group]));
      return Member(word, 63 - __builtin_clzll(words_[word]));
    }
    return kNone;
  }

  bool empty() const { return size_ == 0; }

 private:
  static size_t Word(int32_t i) { return static_cast<size_t>(i) / 64; }
  static uint64_t Bit(size_t i) { return uint64_t{1} << (i % 64); }
  static uint64_t From(size_t i) { return ~uint64_t{0} << (i % 64); }
  static int32_t Member(size_t word, int bit) { return static_cast<int32_t>(word * 64) + bit; }

  std::vector<uint64_t> words_;
  std::vector<uint64_t> groups_;
  int32_t size_ = 0;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_INDEX_SET_H_
