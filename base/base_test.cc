#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/rng.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

TEST(DigestTest, MatchesFips180Vectors) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 in_pieces;
  in_pieces.Update("a");
  in_pieces.Update("bc");
  EXPECT_EQ(in_pieces.FinishHex(), Sha256Hex("abc"));
}

TEST(DigestTest, AcceptsOnlyLowerCaseHexOfTheRightLength) {
  EXPECT_TRUE(IsDigestHex(Sha256Hex("x")));
  EXPECT_FALSE(IsDigestHex(""));
  EXPECT_FALSE(IsDigestHex(std::string(63, 'a')));
  EXPECT_FALSE(IsDigestHex(std::string(64, 'A')));
  EXPECT_FALSE(IsDigestHex(std::string(62, 'a') + "/."));
}

TEST(DigestTest, RandomHexDiffers) {
  EXPECT_EQ(RandomHex(16).size(), 32u);
  EXPECT_NE(RandomHex(16), RandomHex(16));
}

TEST(IdTest, ParsesItsOwnLetterOnly) {
  EXPECT_EQ(ExperimentId::Parse("e17"), ExperimentId(17));
  EXPECT_EQ(ExperimentId(17).ToString(), "e17");
  for (const char* bad : {"", "e", "w17", "e017", "e-1", "e1x", "e99999999999999999999", "17"}) {
    EXPECT_FALSE(ExperimentId::Parse(bad).has_value()) << bad;
  }
}

TEST(CounterRngTest, MatchesPublishedPhiloxVectors) {
  // Random123's kat_vectors, philox4x32 10.
  EXPECT_EQ(CounterRng::Philox({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(CounterRng::Philox({ones, ones, ones, ones}, {ones, ones}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(CounterRngTest, DependsOnKeyAlone) {
  CounterRng a(1, 2, 3), b(1, 2, 3), c(1, 2, 4);
  const uint64_t first = a.Next();
  EXPECT_EQ(first, b.Next());
  EXPECT_NE(first, c.Next());
}

TEST(RngTest, BelowStaysBelowAndUniformInRange) {
  SeededRng rng(7);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LT(rng.Below(10), 10u);
    const double u = rng.Uniform();
    EXPECT_TRUE(u >= 0 && u < 1);
  }
}

TEST(FakeClockTest, WakesSleeperOnlyWhenTimeComes) {
  FakeClock clock;
  const absl::Time start = clock.Now();
  std::thread sleeper([&] { clock.SleepUntil(start + absl::Seconds(5)); });
  clock.Advance(absl::Seconds(5));
  sleeper.join();
  EXPECT_EQ(clock.Now(), start + absl::Seconds(5));
}

// What both clocks promise of AwaitWithDeadline.
void CheckAwait(Clock* clock, const std::function<void()>& pass_time) {
  absl::Mutex mu;
  bool flag = false;
  {
    absl::MutexLock lock(&mu);
    EXPECT_FALSE(clock->AwaitWithDeadline(&mu, absl::Condition(&flag), clock->Now()));
    flag = true;
    EXPECT_TRUE(clock->AwaitWithDeadline(&mu, absl::Condition(&flag), clock->Now()));
    flag = false;
  }
  const absl::Time deadline = clock->Now() + absl::Milliseconds(20);
  std::thread waiter([&] {
    absl::MutexLock lock(&mu);
    EXPECT_FALSE(clock->AwaitWithDeadline(&mu, absl::Condition(&flag), deadline));
    EXPECT_GE(clock->Now(), deadline);
  });
  pass_time();
  waiter.join();
}

TEST(ClockConformanceTest, RealAndFakeAwait) {
  CheckAwait(Clock::Real(), [] {});
  FakeClock fake;
  CheckAwait(&fake, [&] { fake.Advance(absl::Milliseconds(20)); });
}

TEST(FileTest, WritesAtomicallyWithModeAndReadsBack) {
  const std::string path = testing::TempDir() + "/secret";
  ASSERT_TRUE(WriteFileAtomically(path, "one", 0600).ok());
  ASSERT_TRUE(WriteFileAtomically(path, "two", 0600).ok());
  EXPECT_EQ(*ReadFile(path), "two");
  struct stat info;
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

// Files in a folder, by name.
std::set<std::string> FilesIn(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

TEST(FileTest, WhatKilledWritersLeftIsSwept) {
  const std::string folder = testing::TempDir() + "/swept";
  std::filesystem::create_directory(folder);
  const std::string path = folder + "/token";
  const std::string left = "token.new.0123456789abcdef", held = "token.new.fedcba9876543210";
  const std::set<std::string> others = {"token.new.0123456789abcdex", "token.new.0123", "other.new.0123456789abcdef",
                                        "token.new"};
  for (const std::string& name : others) std::ofstream(folder + "/" + name) << "kept";
  std::ofstream(folder + "/" + left) << "half";
  std::ofstream(folder + "/" + held) << "being written";
  // By its lock, which ends with whoever writes it.
  const int writer = open((folder + "/" + held).c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(flock(writer, LOCK_EX), 0);
  ASSERT_TRUE(WriteFileAtomically(path, "new", 0600).ok());
  std::set<std::string> expected = others;
  expected.insert({"token", held});
  EXPECT_EQ(FilesIn(folder), expected);
  close(writer);
  ASSERT_TRUE(WriteFileAtomically(path, "newer", 0600).ok());
  expected.erase(held);
  EXPECT_EQ(FilesIn(folder), expected);
  EXPECT_EQ(*ReadFile(path), "newer");
  std::filesystem::remove_all(folder);
}

TEST(FileTest, ManyWritersDoNotSweepEachOther) {
  const std::string folder = testing::TempDir() + "/many";
  std::filesystem::create_directory(folder);
  const std::string path = folder + "/value";
  std::vector<std::thread> writers;
  std::atomic<int> num_failed{0};
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < 50; ++i) num_failed += !WriteFileAtomically(path, std::string(100, 'a' + w)).ok();
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(num_failed, 0);
  EXPECT_EQ(FilesIn(folder), std::set<std::string>{"value"});
  EXPECT_EQ(ReadFile(path)->size(), 100u);
  std::filesystem::remove_all(folder);
}

TEST(FileTest, ErrorsNameThePath) {
  const absl::Status missing = ReadFile("/nonexistent/x").status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_TRUE(absl::StrContains(missing.message(), "/nonexistent/x"));
  EXPECT_FALSE(WriteFileAtomically("/nonexistent/x", "").ok());
}

}  // namespace
}  // namespace ursa
