#include "storage/memory_kv_store.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/kv_store_conformance.h"
#include "storage/kv_testing.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class MemoryHarness : public KvStoreHarness {
 public:
  KvStore* store() override { return &store_; }
  // An orderly end loses nothing, and the map needs no opening.
  void Reopen() override {}

 private:
  MemoryKvStore store_;
};

INSTANTIATE_TEST_SUITE_P(Memory, KvStoreConformanceTest, ::testing::Values([]() -> std::unique_ptr<KvStoreHarness> {
                           return std::make_unique<MemoryHarness>();
                         }));

TEST(MemoryKvStoreTest, CrashForgetsWhatWasNotSynced) {
  MemoryKvStore store;
  ASSERT_TRUE(Put(&store, {{"a", "1"}}, Durability::kBuffered).ok());
  ASSERT_TRUE(Put(&store, {{"b", "2"}}, Durability::kSynced).ok());
  ASSERT_TRUE(Put(&store, {{"a", "3"}, {"c", "3"}}, Durability::kBuffered).ok());
  const auto snapshot = store.Snapshot();
  store.Crash();
  EXPECT_THAT(Scan(store, {}), ElementsAre(KeyValue{"a", "1"}, KeyValue{"b", "2"}));
  EXPECT_EQ(**snapshot->Get("a"), "3");
  store.Crash();
  EXPECT_THAT(Scan(store, {}), ElementsAre(KeyValue{"a", "1"}, KeyValue{"b", "2"}));
}

TEST(MemoryKvStoreTest, CrashBringsBackWhatBufferedWritesReplacedOrDeleted) {
  MemoryKvStore store;
  ASSERT_TRUE(Put(&store, {{"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"}}, Durability::kSynced).ok());
  WriteBatch batch;
  batch.Put("a", "2");
  batch.Put("a", "3");
  batch.Delete("a");
  batch.Delete("not there");
  batch.DeleteRange("b", "d");
  batch.Put("c", "2");
  ASSERT_TRUE(store.Write(batch, Durability::kBuffered).ok());
  ASSERT_TRUE(Put(&store, {{"d", "2"}, {"e", "2"}}, Durability::kBuffered).ok());
  EXPECT_THAT(Scan(store, {}), ElementsAre(KeyValue{"c", "2"}, KeyValue{"d", "2"}, KeyValue{"e", "2"}));
  store.Crash();
  EXPECT_THAT(Scan(store, {}),
              ElementsAre(KeyValue{"a", "1"}, KeyValue{"b", "1"}, KeyValue{"c", "1"}, KeyValue{"d", "1"}));
  ASSERT_TRUE(store.Write(batch, Durability::kBuffered).ok());
  ASSERT_TRUE(Put(&store, {{"e", "2"}}, Durability::kBuffered).ok());
  store.Crash(/*num_kept=*/1);
  EXPECT_THAT(Scan(store, {}), ElementsAre(KeyValue{"c", "2"}, KeyValue{"d", "1"}));
}

TEST(MemoryKvStoreTest, CrashMayKeepTheOldestBufferedWrites) {
  MemoryKvStore store;
  for (const char* value : {"1", "2", "3"}) ASSERT_TRUE(Put(&store, {{"a", value}}, Durability::kBuffered).ok());
  store.Crash(/*num_kept=*/2);
  EXPECT_THAT(Scan(store, {}), ElementsAre(KeyValue{"a", "2"}));
}

TEST(MemoryKvStoreTest, LoadSurvivesACrashAndStaysNewerThanEarlierWrites) {
  MemoryKvStore store;
  const auto load_a = [&store](const char* value) {
    const auto load = store.NewSortedLoad();
    ASSERT_TRUE(load->Add("a", value).ok());
    ASSERT_TRUE(load->Commit().ok());
  };
  ASSERT_TRUE(Put(&store, {{"a", "buffered"}, {"b", "buffered"}}, Durability::kBuffered).ok());
  load_a("loaded");
  store.Crash();
  EXPECT_THAT(Scan(store, {}), ElementsAre(KeyValue{"a", "loaded"}));

  ASSERT_TRUE(Put(&store, {{"a", "buffered"}}, Durability::kBuffered).ok());
  load_a("loaded again");
  ASSERT_TRUE(Put(&store, {{"c", "synced"}}, Durability::kSynced).ok());
  store.Crash();
  EXPECT_THAT(Scan(store, {}), ElementsAre(KeyValue{"a", "loaded again"}, KeyValue{"c", "synced"}));
}

TEST(MemoryKvStoreTest, FailsTheNthWriteOnce) {
  MemoryKvStore store;
  store.FailNthWrite(2, absl::UnknownError("disk: input/output error"));
  EXPECT_TRUE(Put(&store, {{"a", "1"}}).ok());
  EXPECT_EQ(Put(&store, {{"b", "2"}}).code(), absl::StatusCode::kUnknown);
  EXPECT_TRUE(Put(&store, {{"c", "3"}}).ok());
  EXPECT_THAT(Scan(store, {}), ElementsAre(KeyValue{"a", "1"}, KeyValue{"c", "3"}));
  EXPECT_EQ(store.num_writes(), 2);
  EXPECT_EQ(store.num_synced_writes(), 2);
}

TEST(MemoryKvStoreTest, FullDiskRefusesWritesAndLoadsButReads) {
  MemoryKvStore store;
  ASSERT_TRUE(Put(&store, {{"a", "1"}}).ok());
  store.SetDiskFull(true);
  const absl::Status status = Put(&store, {{"b", "2"}});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no space left"));
  const auto load = store.NewSortedLoad();
  ASSERT_TRUE(load->Add("c", "3").ok());
  EXPECT_EQ(load->Commit().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Scan(store, {}), ElementsAre(KeyValue{"a", "1"}));
  store.SetDiskFull(false);
  EXPECT_TRUE(Put(&store, {{"b", "2"}}).ok());
}

TEST(WriteBatchTest, AppendKeepsOrderAndCountsBytes) {
  WriteBatch first, second;
  first.Put("a", "1");
  second.Put("a", "22");
  second.Delete("bb");
  first.Append(std::move(second));
  EXPECT_EQ(first.num_bytes(), 1u + 1 + 1 + 2 + 2);
  ASSERT_EQ(first.operations().size(), 3u);
  EXPECT_EQ(first.operations()[1].second, "22");
  WriteBatch empty;
  EXPECT_TRUE(empty.empty());
  empty.Append(std::move(first));
  EXPECT_EQ(empty.operations().size(), 3u);
}

TEST(PrefixRangeTest, EndsAfterTheLastKeyOfThePrefix) {
  EXPECT_EQ(PrefixRange("ab").end, "ac");
  EXPECT_EQ(PrefixRange("a\xff").end, "b");
  EXPECT_EQ(PrefixRange("\xff\xff").end, "");
  EXPECT_EQ(PrefixRange("").end, "");
}

}  // namespace
}  // namespace ursa
