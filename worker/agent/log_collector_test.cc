#include "worker/agent/log_collector.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);
constexpr size_t kRoom = 1 << 20;

// "0 first line\n" : offset and data of each chunk.
std::string Text(const std::vector<worker::v1::LogChunk>& chunks) {
  std::string text;
  for (const auto& chunk : chunks) absl::StrAppend(&text, "<", chunk.offset(), " ", chunk.data(), ">");
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

TEST(LogCollectorTest, MarksWhatFoundNoRoom) {
  LogCollector log({}, kNow);
  EXPECT_EQ(Text(log.Append("aaaa\n", 3, kNow)), "");
  EXPECT_EQ(Text(log.Append("bbbb\n", 0, kNow)), "");
  EXPECT_EQ(Text(log.Append("cc\n", kRoom, kNow)),
            "<0 [10 bytes left out: printed faster than they could be kept]\n><10 cc\n>");
}

TEST(LogCollectorTest, LimitsTheRate) {
  LogCollector::Options options;
  options.bytes_per_second = 10;
  options.burst_bytes = 10;
  LogCollector log(options, kNow);
  EXPECT_EQ(Text(log.Append("12345678\n", kRoom, kNow)), "<0 12345678\n>");
  EXPECT_EQ(Text(log.Append("12345678\n", kRoom, kNow)), "");
  EXPECT_EQ(log.Append("12345678\n", kRoom, kNow + absl::Seconds(1)).size(), 2u);
  EXPECT_EQ(Text(log.Append("12345678\n", kRoom, kNow + absl::Seconds(1))), "");
  EXPECT_EQ(Text(log.Finish(kRoom, kNow + absl::Seconds(1))),
            "<27 [9 bytes left out: printed faster than they could be kept]\n>");
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
