// The two generators that a split or a shuffle must agree with bit for bit: torch's CPU generator (fastai's
// RandomSplitter) and CPython's `random.Random` (fastai's training loader). Both are MT19937 (Matsumoto and Nishimura
// 1998) and differ in seeding and in how they make numbers of the 32-bit words.
#ifndef URSA_EXPERIMENTS_MT19937_H_
#define URSA_EXPERIMENTS_MT19937_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace ursa {

// The bare generator. Copies are independent. Not thread-safe, as all classes here.
class Mt19937 {
 public:
  explicit Mt19937(uint32_t seed);                       // init_genrand
  explicit Mt19937(const std::vector<uint32_t>& words);  // init_by_array; at least one word

  // The next tempered 32-bit word.
  uint32_t Next();

 private:
  static constexpr size_t kNumWords = 624;
  void Refill();

  std::array<uint32_t, kNumWords> state_;
  size_t next_index_ = kNumWords;
};

// torch.Generator (CPU) after manual_seed(seed), as torch 2.11. Of the seed only the low 32 bits count, as there.
class TorchMt19937 {
 public:
  explicit TorchMt19937(uint64_t seed);

  uint32_t Random() { return engine_.Next(); }
  uint64_t Random64();

  // torch.randperm(n): a permutation of 0 .. n-1; n >= 0.
  std::vector<int64_t> RandPerm(int64_t n);

  // One element of torch.randint(low, high, ...): in [low, high); low < high.
  int64_t RandInt(int64_t low, int64_t high);

  // One element of torch.rand(...): in [0, 1), 24 bits for float32, 53 for float64.
  float Rand();
  double RandFloat64();

 private:
  Mt19937 engine_;
};

// random.Random(seed) of CPython 3.11, for seeds >= 0.
class PyRandom {
 public:
  explicit PyRandom(uint64_t seed);

  double Random();                             // [0, 1), 53 bits
  uint64_t GetRandBits(int num_bits);          // 1..64 bits
  uint64_t RandBelow(uint64_t bound);          // [0, bound); bound >= 1
  int64_t RandInt(int64_t low, int64_t high);  // [low, high], both ends included; high - low < 2^63
  double Uniform(double low, double high);

  // random.sample(range(n), k): k different indices of 0 .. n-1 in random order; 0 <= k <= n.
  std::vector<int64_t> Sample(int64_t n, int64_t k);

  // Draws what Sample(n, n) draws, without making its result.
  void SkipSample(int64_t n);

  // random.shuffle(items).
  template <typename T>
  void Shuffle(std::vector<T>* items) {
    for (size_t i = items->size(); i-- > 1;) std::swap((*items)[i], (*items)[RandBelow(i + 1)]);
  }

 private:
  Mt19937 engine_;
};

// The order in which fastai's shuffled training loader visits its dataset: after random.seed(seed) the loader takes a
// private generator Random(randint(0, 2^32 - 1)); each epoch replaces it by Random(itself.randint(0, 2^32 - 1)) and
// visits sample(range(n), n). Epochs count from 0 through all phases of a training.
//
// EpochOrder is a pure function of (seed, n, epoch): what was asked before never changes the answer. The object only
// remembers where it stands in the chain, so that the next epoch costs O(n); an earlier one costs O(epoch * n).
class LoaderOrder {
 public:
  LoaderOrder(uint64_t seed, int64_t n);

  // A permutation of 0 .. n-1; epoch >= 0.
  std::vector<int64_t> EpochOrder(int64_t epoch);

 private:
  PyRandom FirstGenerator() const;

  uint64_t seed_;
  int64_t n_;
  PyRandom generator_;  // as epoch next_epoch_ finds it
  int64_t next_epoch_ = 0;
};

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_MT19937_H_
