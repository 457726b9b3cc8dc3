#include "storage/keys.h"

#include "base/digest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/coding.h"
#include "storage/kv_testing.h"
#include "storage/memory_kv_store.h"

namespace ursa {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMax = ~uint64_t{0};

// The layout on disk: if one of these changes, old data folders cannot be read any more.
TEST(KeysTest, LayoutsAreFixed) {
  const std::string hash = Sha256Hex("");
  const std::string hash_bytes = BlobKey(hash).substr(1);
  EXPECT_EQ(hash_bytes.substr(0, 4), "\xe3\xb0\xc4\x42");
  EXPECT_EQ(PrefixKey(KeyPrefix::kFormat), "\x01");
  EXPECT_EQ(RecordKey("experiments", "e17"), std::string("rexperiments\0e17", 16));
  EXPECT_EQ(EventKey(258), std::string("e\0\0\0\0\0\0\1\2", 9));
  EXPECT_EQ(BlobKey(hash), "b" + hash_bytes);
  EXPECT_EQ(UploadKey(hash), "u" + hash_bytes);
  EXPECT_EQ(ChunkKey(1, 2), std::string("c\0\0\0\0\0\0\0\1\0\0\0\2", 13));
  EXPECT_EQ(MetricKey({1, 2}, "loss", 3), std::string("m\0\0\0\0\0\0\0\1\0\0\0\2loss\0\0\0\0\0\0\0\0\3", 26));
  EXPECT_EQ(LogEntryKey({{1, 2}, 3}, 4), std::string("l\0\0\0\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\0\0\0\0\4", 25));
  EXPECT_EQ(LogStreamStateKey({{1, 2}, 3}), std::string("s\0\0\0\0\0\0\0\1\0\0\0\2\0\0\0\3", 17));
  EXPECT_EQ(PredictionKey(hash, hash, hash), "p" + hash_bytes + hash_bytes + hash_bytes);
}

TEST(KeysTest, KeysComeBack) {
  const std::string id("a\0\xff", 3);
  const std::string record_key = RecordKey("models", id);
  const auto record = ParseRecordKey(record_key);
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->table, "models");
  EXPECT_EQ(record->id, id);
  EXPECT_EQ(ParseEventKey(EventKey(kMax)), kMax);
  EXPECT_EQ(ParseHashKey(KeyPrefix::kBlob, BlobKey(Sha256Hex("x"))), Sha256Hex("x"));
  const auto chunk = ParseChunkKey(ChunkKey(kMax, 7));
  ASSERT_TRUE(chunk.has_value());
  EXPECT_EQ(chunk->place, kMax);
  EXPECT_EQ(chunk->chunk, 7u);
  const std::string metric_key = MetricKey({5, 6}, "valid_loss", kMax);
  const auto metric = ParseMetricKey(metric_key);
  ASSERT_TRUE(metric.has_value());
  EXPECT_TRUE((metric->trial == TrialKey{5, 6}));
  EXPECT_EQ(metric->name, "valid_loss");
  EXPECT_EQ(metric->step, kMax);
  const std::string block_key = MetricBlockKey({5, 6}, "valid_loss", 3, kMax);
  const auto block = ParseMetricBlockKey(block_key);
  ASSERT_TRUE(block.has_value());
  EXPECT_TRUE((block->trial == TrialKey{5, 6}));
  EXPECT_EQ(block->name, "valid_loss");
  EXPECT_EQ(block->level, 3);
  EXPECT_EQ(block->index, kMax);
  const auto entry = ParseLogEntryKey(LogEntryKey({{5, 6}, 7}, 8));
  ASSERT_TRUE(entry.has_value());
  EXPECT_TRUE((entry->stream == LogStreamKey{{5, 6}, 7}));
  EXPECT_EQ(entry->arrival, 8u);
  const auto stream = ParseLogStreamStateKey(LogStreamStateKey({{5, 6}, 7}));
  ASSERT_TRUE(stream.has_value());
  EXPECT_TRUE((*stream == LogStreamKey{{5, 6}, 7}));
}

TEST(KeysTest, WrongKeysDoNotParse) {
  EXPECT_EQ(ParseRecordKey("rTable" + std::string(1, '\0') + "x"), std::nullopt);
  EXPECT_EQ(ParseRecordKey("rtable"), std::nullopt);
  EXPECT_EQ(ParseRecordKey(RecordTablePrefix("table")), std::nullopt);
  EXPECT_EQ(ParseEventKey(EventKey(1) + "x"), std::nullopt);
  EXPECT_EQ(ParseEventKey("r" + EventKey(1).substr(1)), std::nullopt);
  EXPECT_EQ(ParseHashKey(KeyPrefix::kBlob, UploadKey(Sha256Hex("x"))), std::nullopt);
  EXPECT_EQ(ParseChunkKey("c"), std::nullopt);
  EXPECT_EQ(ParseMetricKey(""), std::nullopt);
}

bool Inside(const KeyRange& range, const std::string& key) {
  return range.begin <= key && (range.end.empty() || key < range.end);
}

TEST(KeysTest, OrderIsThatOfTheParts) {
  EXPECT_LT(ChunkKey(1, 0xFFFFFFFF), ChunkKey(2, 0));
  EXPECT_LT(EventKey(255), EventKey(256));
  EXPECT_LT(MetricKey({1, 1}, "a", kMax), MetricKey({1, 1}, "aa", 0));
  EXPECT_LT(MetricKey({1, 1}, "z", kMax), MetricKey({1, 2}, "a", 0));
  EXPECT_LT(LogEntryKey({{1, 1}, 1}, kMax), LogEntryKey({{1, 1}, 2}, 0));
  EXPECT_TRUE(Inside(ChunkRange(kMax), ChunkKey(kMax, 0xFFFFFFFF)));
  EXPECT_FALSE(Inside(ChunkRange(1), ChunkKey(2, 0)));
  EXPECT_TRUE(Inside(MetricLevelRange({5, 6}, "a", 3), MetricBlockKey({5, 6}, "a", 3, kMax)));
  EXPECT_FALSE(Inside(MetricLevelRange({5, 6}, "a", 2), MetricBlockKey({5, 6}, "a", 3, 0)));
  EXPECT_TRUE(Inside(ExperimentRange(KeyPrefix::kMetric, 255), MetricKey({255, 9}, "a", 1)));
  EXPECT_FALSE(Inside(ExperimentRange(KeyPrefix::kMetric, 255), MetricKey({256, 0}, "a", 0)));
  // A table is not taken for another whose name it begins.
  EXPECT_FALSE(Inside(PrefixRange(RecordTablePrefix("model")), RecordKey("models", "x")));
}

TEST(KeysTest, NamesAreChecked) {
  EXPECT_TRUE(CheckRecordName("model_versions2", std::string(512, 'x')).ok());
  EXPECT_FALSE(CheckRecordName("", "x").ok());
  EXPECT_FALSE(CheckRecordName("Models", "x").ok());
  EXPECT_FALSE(CheckRecordName(std::string(33, 'a'), "x").ok());
  EXPECT_FALSE(CheckRecordName("models", "").ok());
  const absl::Status too_long = CheckRecordName("models", std::string(513, 'x'));
  EXPECT_EQ(too_long.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(too_long.message()), HasSubstr("1 to 512 bytes, has 513"));
  EXPECT_TRUE(CheckMetricName("top-5 accuracy/ß").ok());
  EXPECT_FALSE(CheckMetricName("").ok());
  EXPECT_FALSE(CheckMetricName(std::string("a\0b", 3)).ok());
  EXPECT_THAT(std::string(CheckMetricName(std::string(129, 'a')).message()), HasSubstr("1 to 128 bytes, has 129"));
}

TEST(StoreFormatTest, NewStoreIsMarkedAndAccepted) {
  MemoryKvStore store;
  ASSERT_TRUE(CheckStoreFormat(&store).ok());
  store.Crash();  // the mark is durable
  EXPECT_EQ(CountKeys(store, {}), 1u);
  EXPECT_TRUE(CheckStoreFormat(&store).ok());
  EXPECT_EQ(store.num_writes(), 1);
}

TEST(StoreFormatTest, NewerDamagedAndForeignStoresAreRefused) {
  const auto check = [](const std::string& key, const std::string& value) {
    MemoryKvStore store;
    EXPECT_TRUE(Put(&store, {{key, value}}).ok());
    return CheckStoreFormat(&store);
  };
  std::string newer = "ursa";
  AppendU32(&newer, kStoreFormatVersion + 1);
  const absl::Status status = check("\x01", newer);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("format 2, this program reads formats up to 1"));
  EXPECT_EQ(check("\x01", "urs").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(check("\x01", "bear\1\1\1\1").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(check("somebody's", "data").code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace ursa
