#include "experiments/mt19937.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace ursa {
namespace {

std::vector<int64_t> Range(int64_t n) {
  std::vector<int64_t> range(static_cast<size_t>(n));
  std::iota(range.begin(), range.end(), 0);
  return range;
}

std::vector<int64_t> Sorted(std::vector<int64_t> list) {
  std::sort(list.begin(), list.end());
  return list;
}

// Vectors of the authors' mt19937ar.out: init_by_array of 0x123, 0x234, 0x345, 0x456.
TEST(Mt19937Test, AuthorsVectors) {
  Mt19937 generator(std::vector<uint32_t>{0x123, 0x234, 0x345, 0x456});
  for (uint32_t expected : {1067595299u, 955945823u, 477289528u, 4107218783u, 4228976476u}) {
    EXPECT_EQ(generator.Next(), expected);
  }
}

// The C++ standard fixes the 10 000th number of the default seed.
TEST(Mt19937Test, TenThousandthNumber) {
  Mt19937 generator(5489u);
  for (int i = 1; i < 10000; ++i) generator.Next();
  EXPECT_EQ(generator.Next(), 4123659995u);
}

TEST(TorchMt19937Test, RandPermIsAPermutation) {
  for (int64_t n : {0, 1, 2, 3, 17, 1000}) EXPECT_EQ(Sorted(TorchMt19937(7).RandPerm(n)), Range(n));
}

TEST(TorchMt19937Test, OnlyTheLowSeedBitsCount) {
  EXPECT_EQ(TorchMt19937(5).RandPerm(50), TorchMt19937((uint64_t{9} << 32) + 5).RandPerm(50));
}

TEST(TorchMt19937Test, RandIntStaysInRange) {
  TorchMt19937 generator(1);
  for (int i = 0; i < 1000; ++i) {
    const int64_t small = generator.RandInt(-3, 4);
    EXPECT_TRUE(small >= -3 && small < 4);
    const int64_t wide = generator.RandInt(INT64_MIN, INT64_MAX);
    EXPECT_LT(wide, INT64_MAX);
  }
}

TEST(PyRandomTest, SampleDrawsDifferentIndices) {
  PyRandom random(3);
  for (int64_t k : {0, 1, 5, 6, 100}) {
    const std::vector<int64_t> sample = Sorted(random.Sample(5000, k));
    EXPECT_EQ(static_cast<int64_t>(sample.size()), k);
    EXPECT_EQ(std::adjacent_find(sample.begin(), sample.end()), sample.end());
  }
}

TEST(PyRandomTest, SkipSampleLeavesTheSameState) {
  for (int64_t n : {0, 1, 13, 700}) {
    PyRandom drawn(11);
    PyRandom skipped(11);
    drawn.Sample(n, n);
    skipped.SkipSample(n);
    EXPECT_EQ(drawn.GetRandBits(64), skipped.GetRandBits(64)) << n;
  }
}

TEST(LoaderOrderTest, EachEpochIsAnotherPermutation) {
  LoaderOrder order(42, 100);
  const std::vector<int64_t> first = order.EpochOrder(0);
  const std::vector<int64_t> second = order.EpochOrder(1);
  EXPECT_EQ(Sorted(first), Range(100));
  EXPECT_EQ(Sorted(second), Range(100));
  EXPECT_NE(first, second);
}

TEST(LoaderOrderTest, WhatWasAskedBeforeDoesNotMatter) {
  LoaderOrder forwards(42, 57);
  std::vector<std::vector<int64_t>> epochs;
  for (int64_t epoch = 0; epoch < 6; ++epoch) epochs.push_back(forwards.EpochOrder(epoch));
  LoaderOrder jumping(42, 57);
  for (int64_t epoch : {4, 0, 5, 2, 2, 3, 1}) {
    EXPECT_EQ(jumping.EpochOrder(epoch), epochs[static_cast<size_t>(epoch)]) << epoch;
  }
}

TEST(LoaderOrderTest, SeedsDiffer) { EXPECT_NE(LoaderOrder(1, 50).EpochOrder(0), LoaderOrder(2, 50).EpochOrder(0)); }

TEST(LoaderOrderTest, EmptyDataset) { EXPECT_TRUE(LoaderOrder(1, 0).EpochOrder(3).empty()); }

}  // namespace
}  // namespace ursa
