#include "storage/rocks_insert_hint.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "base/digest.h"
#include "storage/keys.h"

namespace ursa {
namespace {

// Of the group that a key is in.
std::optional<std::string> GroupOf(const std::string& key) {
  const auto groups = NewInsertHintGroups();
  if (!groups->InDomain(key)) return std::nullopt;
  return groups->Transform(key).ToString();
}

TEST(InsertHintTest, RecordsAreGroupedByTable) {
  EXPECT_EQ(GroupOf(RecordKey("trials", std::string(12, '\1'))), RecordTablePrefix("trials"));
  EXPECT_EQ(GroupOf(RecordKey("trials", std::string(12, '\0'))), RecordTablePrefix("trials"));
  EXPECT_NE(GroupOf(RecordKey("trial", "1")), GroupOf(RecordKey("trials", "1")));
}

TEST(InsertHintTest, NumbersAtTheEndAreLeftAway) {
  EXPECT_EQ(GroupOf(EventKey(1)), "e");
  EXPECT_EQ(GroupOf(EventKey(1)), GroupOf(EventKey(UINT64_MAX)));
}

TEST(InsertHintTest, WhatIsDeletedByRangesIsInNoGroup) {
  EXPECT_EQ(GroupOf(MetricKey({1, 2}, "loss", 3)), std::nullopt);
  EXPECT_EQ(GroupOf(MetricBlockKey({1, 2}, "loss", 0, 3)), std::nullopt);
  EXPECT_EQ(GroupOf(LogEntryKey({{1, 2}, 3}, 4)), std::nullopt);
}

TEST(InsertHintTest, WhatComesInNoOrderIsInNoGroup) {
  EXPECT_EQ(GroupOf(BlobKey(Sha256Hex("x"))), std::nullopt);
  EXPECT_EQ(GroupOf(ChunkKey(1, 2)), std::nullopt);
  EXPECT_EQ(GroupOf(PrefixKey(KeyPrefix::kFormat)), std::nullopt);
  EXPECT_EQ(GroupOf(""), std::nullopt);
  EXPECT_EQ(GroupOf("e123"), std::nullopt);
  EXPECT_EQ(GroupOf("rtable"), std::nullopt);
}

}  // namespace
}  // namespace ursa
