#include "experiments/mt19937.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_set>

#include "base/log.h"

namespace ursa {
namespace {

constexpr size_t kShift = 397;
constexpr uint32_t kUpperMask = 0x80000000u;
constexpr uint32_t kLowerMask = 0x7fffffffu;
constexpr uint32_t kMatrix = 0x9908b0dfu;
constexpr int64_t kUint32Max = std::numeric_limits<uint32_t>::max();

int BitLength(uint64_t value) {
  int bits = 0;
  for (; value != 0; value >>= 1) ++bits;
  return bits;
}

// CPython hands the absolute value of a seed to init_by_array as 32-bit words, the lowest first, at least one.
std::vector<uint32_t> SeedWords(uint64_t seed) {
  std::vector<uint32_t> words = {static_cast<uint32_t>(seed)};
  if (seed >> 32) words.push_back(static_cast<uint32_t>(seed >> 32));
  return words;
}

}  // namespace

Mt19937::Mt19937(uint32_t seed) {
  state_[0] = seed;
  for (uint32_t i = 1; i < kNumWords; ++i) {
    state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  }
}

Mt19937::Mt19937(const std::vector<uint32_t>& words) : Mt19937(19650218u) {
  URSA_CHECK(!words.empty());
  size_t i = 1;
  size_t j = 0;
  for (size_t k = std::max(kNumWords, words.size()); k > 0; --k) {
    state_[i] =
        (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525u)) + words[j] + static_cast<uint32_t>(j);
    if (++i >= kNumWords) {
      state_[0] = state_[kNumWords - 1];
      i = 1;
    }
    if (++j >= words.size()) j = 0;
  }
  for (size_t k = kNumWords - 1; k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941u)) - static_cast<uint32_t>(i);
    if (++i >= kNumWords) {
      state_[0] = state_[kNumWords - 1];
      i = 1;
    }
  }
  state_[0] = kUpperMask;
}

void Mt19937::Refill() {
  for (size_t i = 0; i < kNumWords; ++i) {
    const uint32_t mixed = (state_[i] & kUpperMask) | (state_[(i + 1) % kNumWords] & kLowerMask);
    state_[i] = state_[(i + kShift) % kNumWords] ^ (mixed >> 1) ^ ((mixed & 1) ? kMatrix : 0);
  }
  next_index_ = 0;
}

uint32_t Mt19937::Next() {
  if (next_index_ >= kNumWords) Refill();
  uint32_t word = state_[next_index_++];
  word ^= word >> 11;
  word ^= (word << 7) & 0x9d2c5680u;
  word ^= (word << 15) & 0xefc60000u;
  return word ^ (word >> 18);
}

TorchMt19937::TorchMt19937(uint64_t seed) : engine_(static_cast<uint32_t>(seed)) {}

uint64_t TorchMt19937::Random64() {
  const uint64_t high = engine_.Next();
  return (high << 32) | engine_.Next();
}

std::vector<int64_t> TorchMt19937::RandPerm(int64_t n) {
  URSA_CHECK(n >= 0);
  std::vector<int64_t> result(static_cast<size_t>(n));
  std::iota(result.begin(), result.end(), 0);
  // Above this size torch takes 64-bit draws, which keeps the skew of `%` small.
  const bool wide = n >= kUint32Max / 20;
  for (int64_t i = 0; i < n - 1; ++i) {
    const auto left = static_cast<uint64_t>(n - i);
    const auto offset = static_cast<int64_t>((wide ? Random64() : Random()) % left);
    std::swap(result[static_cast<size_t>(i)], result[static_cast<size_t>(i + offset)]);
  }
  return result;
}

int64_t TorchMt19937::RandInt(int64_t low, int64_t high) {
  URSA_CHECK(low < high);
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  const uint64_t draw = range >= (uint64_t{1} << 28) ? Random64() : Random();
  return static_cast<int64_t>(draw % range + static_cast<uint64_t>(low));
}

float TorchMt19937::Rand() { return static_cast<float>(Random() & ((1u << 24) - 1)) * 0x1.0p-24f; }

double TorchMt19937::RandFloat64() { return static_cast<double>(Random64() & ((uint64_t{1} << 53) - 1)) * 0x1.0p-53; }

PyRandom::PyRandom(uint64_t seed) : engine_(SeedWords(seed)) {}

double PyRandom::Random() {
  const uint32_t high = engine_.Next() >> 5;
  const uint32_t low = engine_.Next() >> 6;
  return (high * 67108864.0 + low) * 0x1.0p-53;
}

uint64_t PyRandom::GetRandBits(int num_bits) {
  URSA_CHECK(num_bits >= 1 && num_bits <= 64);
  if (num_bits <= 32) return engine_.Next() >> (32 - num_bits);
  const uint64_t low = engine_.Next();
  return low | (static_cast<uint64_t>(engine_.Next() >> (64 - num_bits)) << 32);
}

uint64_t PyRandom::RandBelow(uint64_t bound) {
  URSA_CHECK(bound >= 1);
  const int num_bits = BitLength(bound);
  uint64_t draw = GetRandBits(num_bits);
  while (draw >= bound) draw = GetRandBits(num_bits);
  return draw;
}

int64_t PyRandom::RandInt(int64_t low, int64_t high) {
  URSA_CHECK(low <= high);
  const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
  return static_cast<int64_t>(static_cast<uint64_t>(low) + RandBelow(span));
}

double PyRandom::Uniform(double low, double high) { return low + (high - low) * Random(); }

std::vector<int64_t> PyRandom::Sample(int64_t n, int64_t k) {
  URSA_CHECK(k >= 0 && k <= n);
  std::vector<int64_t> result(static_cast<size_t>(k));
  // CPython's choice of method, by which of the two takes less memory there.
  double set_size = 21;
  if (k > 5) set_size += std::pow(4.0, std::ceil(std::log(static_cast<double>(k) * 3) / std::log(4.0)));
  if (static_cast<double>(n) <= set_size) {
    std::vector<int64_t> pool(static_cast<size_t>(n));
    std::iota(pool.begin(), pool.end(), 0);
    for (int64_t i = 0; i < k; ++i) {
      const size_t j = RandBelow(static_cast<uint64_t>(n - i));
      result[static_cast<size_t>(i)] = pool[j];
      pool[j] = pool[static_cast<size_t>(n - i - 1)];
    }
    return result;
  }
  std::unordered_set<int64_t> selected;
  for (int64_t& index : result) {
    do {
      index = static_cast<int64_t>(RandBelow(static_cast<uint64_t>(n)));
    } while (!selected.insert(index).second);
  }
  return result;
}

void PyRandom::SkipSample(int64_t n) {
  // A whole population is always drawn by the pool method.
  for (int64_t i = 0; i < n; ++i) RandBelow(static_cast<uint64_t>(n - i));
}

LoaderOrder::LoaderOrder(uint64_t seed, int64_t n) : seed_(seed), n_(n), generator_(FirstGenerator()) {
  URSA_CHECK(n >= 0);
}

PyRandom LoaderOrder::FirstGenerator() const {
  return PyRandom(static_cast<uint64_t>(PyRandom(seed_).RandInt(0, kUint32Max)));
}

std::vector<int64_t> LoaderOrder::EpochOrder(int64_t epoch) {
  URSA_CHECK(epoch >= 0);
  if (epoch < next_epoch_) {
    generator_ = FirstGenerator();
    next_epoch_ = 0;
  }
  for (;; ++next_epoch_) {
    generator_ = PyRandom(static_cast<uint64_t>(generator_.RandInt(0, kUint32Max)));
    if (next_epoch_ == epoch) break;
    generator_.SkipSample(n_);
  }
  ++next_epoch_;
  return generator_.Sample(n_, n_);
}

}  // namespace ursa
