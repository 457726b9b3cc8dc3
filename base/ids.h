// Strong ids: a number with a letter that tells its kind, so that a mix-up is seen by the compiler and by the reader of
// a log.
#ifndef URSA_BASE_IDS_H_
#define URSA_BASE_IDS_H_

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ursa {

template <char kLetter>
class Id {
 public:
  Id() = default;
  explicit Id(int64_t number) : number_(number) {}

  // "e17" -> 17; nothing for another letter, a sign, leading zeros or an overflow.
  static std::optional<Id> Parse(std::string_view text) {
    if (text.size() < 2 || text[0] != kLetter || text[1] < '1' || text[1] > '9') return std::nullopt;
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return Id(number);
  }

  int64_t number() const { return number_; }
  std::string ToString() const { return kLetter + std::to_string(number_); }

  friend bool operator==(Id a, Id b) { return a.number_ == b.number_; }
  friend bool operator!=(Id a, Id b) { return a.number_ != b.number_; }
  friend bool operator<(Id a, Id b) { return a.number_ < b.number_; }

 private:
  int64_t number_ = 0;
};

using ExperimentId = Id<'e'>;
using WorkerId = Id<'w'>;
using CheckpointId = Id<'k'>;
using ComparisonId = Id<'c'>;

}  // namespace ursa

#endif  // URSA_BASE_IDS_H_
