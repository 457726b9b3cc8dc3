#include "worker/agent/log_collector.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);
constexpr size_t kRoom = 1 << 20;

// "<0 first line\n><11 -5>": offset and data, or what was left out, of each chunk.
std::string Text(const std::vector<worker::v1::LogChunk>& chunks) {
  std::string text;
  for (const auto& chunk : chunks) {
    absl::StrAppend(&text, "<", chunk.offset(), " ", chunk.data());
    if (chunk.num_left_out_bytes() > 0) absl::StrAppend(&text, "-", chunk.num_left_out_bytes());
    absl::StrAppend(&text, ">");
  }
  return text;
}

TEST(LogCollectorTest, EmitsWholeLinesWithOffsets) {
  LogCollector log({}, kNow);
  EXPECT_EQ(Text(log.Append("one\ntw", kRoom, kNow)), "<0 one\n>");
  EXPECT_EQ(Text(log.Append("o\nthree\nfo", kRoom, kNow)), "<4 two\nthree\n>");
  EXPECT_EQ(Text(log.Finish(kRoom, kNow)), "<14 fo\n>");
  EXPECT_EQ(log.LastWords(), "one\ntwo\nthree\nfo");
}

TEST(LogCollectorTest, CutsLongLines) {
  LogCollector::Options options;
  options.line_bytes_max = 4;
  LogCollector log(options, kNow);
  EXPECT_EQ(Text(log.Append("abcdefghij", kRoom, kNow)), "<0 abcd><4 efgh>");
}

TEST(LogCollectorTest, ChunksAreBounded) {
  LogCollector::Options options;
  options.chunk_bytes_max = 6;
  LogCollector log(options, kNow);
  EXPECT_EQ(Text(log.Append("aa\nbb\ncc\n", kRoom, kNow)), "<0 aa\nbb\n><6 cc\n>");
}

TEST(LogCollectorTest, HoldsWhatFindsNoRoomAndLeavesOutTheOldest) {
  LogCollector::Options options;
  options.chunk_bytes_max = 5;
  options.held_bytes_max = 5;
  LogCollector log(options, kNow);
  EXPECT_EQ(Text(log.Append("aaaa\n", 3, kNow)), "");
  EXPECT_TRUE(log.holds_lines());
  EXPECT_EQ(Text(log.Append("bbbb\n", 0, kNow)), "");
  EXPECT_EQ(Text(log.Append("cccc\n", 0, kNow)), "") << "one too many";
  EXPECT_EQ(Text(log.Append("", kRoom, kNow)), "<0 -5><5 bbbb\n><10 cccc\n>");
  EXPECT_FALSE(log.holds_lines());
  EXPECT_EQ(Text(log.Append("d\n", kRoom, kNow)), "<15 d\n>") << "the mark takes no place of its own";
}

TEST(LogCollectorTest, LimitsTheRateAndLetsTheNewestFlow) {
  LogCollector::Options options;
  options.bytes_per_second = 10;
  options.burst_bytes = 10;
  options.chunk_bytes_max = 5;
  options.held_bytes_max = 5;
  LogCollector log(options, kNow);
  std::string printed;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&printed, 1000 + i, "\n");
  EXPECT_EQ(Text(log.Append(printed, kRoom, kNow)), "<0 1000\n><5 1001\n>");
  // Half a second later the process is silent, and its last lines come.
  EXPECT_EQ(Text(log.Append("", kRoom, kNow + absl::Seconds(0.5))), "<10 -480><490 1098\n>");
  EXPECT_EQ(Text(log.Append("", kRoom, kNow + absl::Seconds(0.5))), "");
  EXPECT_EQ(Text(log.Finish(kRoom, kNow + absl::Seconds(0.5))), "<495 1099\n>") << "its end is not held back";
}

TEST(LogCollectorTest, TheEndIsBoundedByTheRoom) {
  LogCollector::Options options;
  options.chunk_bytes_max = 5;
  options.held_bytes_max = 20;
  LogCollector log(options, kNow);
  EXPECT_EQ(Text(log.Append("aaaa\nbbbb\ncccc\ndd", 0, kNow)), "");
  EXPECT_EQ(Text(log.Finish(9, kNow)), "<0 -10><10 cccc\n><15 dd\n>");
  EXPECT_EQ(Text(log.Finish(0, kNow)), "");
  LogCollector full(options, kNow);
  full.Append("aaaa", 0, kNow);
  EXPECT_EQ(Text(full.Finish(0, kNow)), "<0 -5>");
}

// However much is printed, what is kept and what is left out is all of it, in order.
TEST(LogCollectorTest, EveryByteIsSentOrCounted) {
  LogCollector::Options options;
  options.bytes_per_second = 1000;
  options.burst_bytes = 5000;
  options.chunk_bytes_max = 300;
  options.line_bytes_max = 100;
  options.held_bytes_max = 700;
  LogCollector log(options, kNow);
  int64_t num_printed = 0, next_offset = 0, num_sent = 0;
  const auto check = [&](const std::vector<worker::v1::LogChunk>& chunks) {
    for (const auto& chunk : chunks) {
      ASSERT_EQ(chunk.offset(), next_offset);
      ASSERT_NE(chunk.data().empty(), chunk.num_left_out_bytes() == 0);
      num_sent += static_cast<int64_t>(chunk.data().size());
      next_offset += static_cast<int64_t>(chunk.data().size()) + chunk.num_left_out_bytes();
    }
  };
  for (int i = 0; i < 2000; ++i) {
    const std::string text = std::string(1 + (i * 7919) % 150, 'a' + i % 26) + (i % 3 == 0 ? "" : "\n");
    num_printed += static_cast<int64_t>(text.size());
    check(log.Append(text, i % 11 == 0 ? 0 : kRoom, kNow + absl::Milliseconds(5 * i)));
  }
  check(log.Finish(kRoom, kNow + absl::Seconds(10)));
  EXPECT_LE(next_offset - num_printed, 1) << "the end of the last line";
  EXPECT_GE(next_offset, num_printed);
  EXPECT_LE(num_sent, 5000 + 10'000 + 1001);
  EXPECT_GE(num_sent, 10'000);
}

TEST(LogCollectorTest, LastWordsAreBoundedAndValidUtf8) {
  LogCollector::Options options;
  options.last_words_bytes = 5;
  LogCollector log(options, kNow);
  log.Append("abc\xC3\xA9z\xFF", kRoom, kNow);
  EXPECT_EQ(log.LastWords(), "c\xC3\xA9z?");
  log.Append("y", kRoom, kNow);
  EXPECT_EQ(log.LastWords(), "\xC3\xA9z?y");
  log.Append("x", kRoom, kNow);
  EXPECT_EQ(log.LastWords(), "?z?yx") << "a letter cut in two";
}

}  // namespace
}  // namespace ursa
