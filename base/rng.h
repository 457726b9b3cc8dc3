// Random numbers. `Rng` is the seam for choices; `CounterRng` makes draws that depend only on their key.
#ifndef URSA_BASE_RNG_H_
#define URSA_BASE_RNG_H_

#include <array>
#include <cstdint>

namespace ursa {

// A source of random bits, passed in wherever something chooses. Not thread-safe.
class Rng {
 public:
  virtual ~Rng() = default;
  virtual uint64_t Next() = 0;

  // Uniform in [0, 1), 53 bits.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

  // Uniform in [0, bound); `bound` > 0. Unbiased (rejection).
  uint64_t Below(uint64_t bound);
};

// SplitMix64 (Steele, Lea and Flood 2014): the same sequence for the same seed.
class SeededRng : public Rng {
 public:
  explicit SeededRng(uint64_t seed) : state_(seed) {}
  uint64_t Next() override;

 private:
  uint64_t state_;
};

// Philox4x32-10 (Salmon et al., SC 2011): a counter-based generator. The n-th number for a key is a pure function of
// (key, n), so the augmentation of an example does not depend on which thread or rank draws it, nor on what was drawn
// before.
class CounterRng : public Rng {
 public:
  // `stream` and `substream` name the sequence, for example the example's index and the epoch.
  CounterRng(uint64_t seed, uint64_t stream, uint32_t substream);
  uint64_t Next() override;

  // One block of the bijection, for tests against the published vectors.
  static std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_;
  int used_ = 4;  // 32-bit words of block_ already given out
};

}  // namespace ursa

#endif  // URSA_BASE_RNG_H_
