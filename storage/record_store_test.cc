#include "storage/record_store.h"

#include <google/protobuf/timestamp.pb.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/kv_testing.h"
#include "storage/memory_kv_store.h"

namespace ursa {
namespace {

using ::google::protobuf::Timestamp;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Any message does; this one comes with the library.
Timestamp Message(int64_t seconds) {
  Timestamp message;
  message.set_seconds(seconds);
  return message;
}

class RecordStoreTest : public ::testing::Test {
 protected:
  RecordStoreTest() { EXPECT_TRUE(CheckStoreFormat(&store_).ok()); }

  std::vector<std::string> All() {
    std::vector<std::string> all;
    const absl::Status status =
        records_.VisitAll([&all](std::string_view table, std::string_view id, std::string_view bytes) {
          Timestamp message;
          EXPECT_TRUE(message.ParseFromArray(bytes.data(), bytes.size()));
          all.push_back(std::string(table) + "/" + std::string(id) + "=" + std::to_string(message.seconds()));
          return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
    return all;
  }

  MemoryKvStore store_;
  RecordStore records_{&store_};
};

TEST_F(RecordStoreTest, RecordsComeBackInOrderOfTableAndId) {
  RecordBatch batch;
  batch.Put("workers", "w2", Message(1));
  batch.Put("experiments", "e9", Message(2));
  batch.Put("experiments", "e10", Message(3));
  batch.Put("experiments_old", "x", Message(4));
  batch.PutBytes("experiments", "e11", Message(5).SerializeAsString());
  ASSERT_TRUE(records_.Commit(batch).ok());
  store_.Crash();  // a commit is durable
  EXPECT_THAT(All(), ElementsAre("experiments/e10=3", "experiments/e11=5", "experiments/e9=2", "experiments_old/x=4",
                                 "workers/w2=1"));
  std::vector<std::string> ids;
  ASSERT_TRUE(records_
                  .VisitTable<Timestamp>("experiments",
                                         [&ids](std::string_view id, Timestamp message) {
                                           ids.push_back(std::string(id) + "=" + std::to_string(message.seconds()));
                                           return absl::OkStatus();
                                         })
                  .ok());
  EXPECT_THAT(ids, ElementsAre("e10=3", "e11=5", "e9=2"));
  EXPECT_EQ(**records_.Get("workers", "w2"), Message(1).SerializeAsString());
  EXPECT_EQ(*records_.Get("workers", "w3"), std::nullopt);
}

TEST_F(RecordStoreTest, LaterOperationsWinAlsoAcrossJoinedBatches) {
  RecordBatch first, second;
  first.Put("a", "1", Message(1));
  first.Put("a", "2", Message(1));
  first.Delete("a", "1");
  second.Delete("a", "2");
  second.Put("a", "3", Message(0));  // an empty serialized form
  first.Append(std::move(second));
  ASSERT_TRUE(records_.Commit(first).ok());
  EXPECT_EQ(store_.num_synced_writes(), 2);  // the format record and this
  EXPECT_THAT(All(), ElementsAre("a/3=0"));
}

TEST_F(RecordStoreTest, RecordsAndEventsAreOneWrite) {
  RecordBatch batch;
  batch.Put("a", "1", Message(1));
  batch.AddEvent(1, Message(7));
  store_.SetDiskFull(true);
  EXPECT_EQ(records_.Commit(batch).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(All(), IsEmpty());
  EXPECT_EQ(*records_.LastEventSequence(), std::nullopt);
  store_.SetDiskFull(false);
  ASSERT_TRUE(records_.Commit(batch).ok());
  EXPECT_THAT(All(), ElementsAre("a/1=1"));
  EXPECT_EQ(*records_.LastEventSequence(), 1u);
}

TEST_F(RecordStoreTest, EventsAreReadInPages) {
  RecordBatch batch;
  for (uint64_t i = 1; i <= 300; ++i) batch.AddEvent(i, Message(i));
  ASSERT_TRUE(records_.Commit(batch).ok());
  EXPECT_EQ(*records_.LastEventSequence(), 300u);
  uint64_t next = 1;
  while (true) {
    const auto page = records_.ReadEvents(next, 128);
    ASSERT_TRUE(page.ok()) << page.status();
    if (page->empty()) break;
    EXPECT_LE(page->size(), 128u);
    for (const RecordStore::Event& event : *page) {
      EXPECT_EQ(event.sequence, next);
      EXPECT_EQ(event.bytes, Message(next).SerializeAsString());
      ++next;
    }
  }
  EXPECT_EQ(next, 301u);
}

TEST_F(RecordStoreTest, VisitorsErrorEndsTheVisit) {
  RecordBatch batch;
  batch.Put("a", "1", Message(1));
  batch.Put("a", "2", Message(2));
  ASSERT_TRUE(records_.Commit(batch).ok());
  int num_visited = 0;
  const absl::Status status = records_.VisitAll([&num_visited](auto, auto, auto) {
    ++num_visited;
    return absl::AbortedError("enough");
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(num_visited, 1);
}

TEST_F(RecordStoreTest, DamageNamesTheRecord) {
  ASSERT_TRUE(Put(&store_, {{RecordKey("a", "x7"), "\x01\xff\xff"}}).ok());
  const absl::Status bad_message =
      records_.VisitTable<Timestamp>("a", [](std::string_view, Timestamp) { return absl::OkStatus(); });
  EXPECT_EQ(bad_message.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(bad_message.message()), HasSubstr("record a/x7"));
  ASSERT_TRUE(Put(&store_, {{RecordKey("a", "x7"), "\x09"}, {EventKey(1), ""}}).ok());  // unknown formats
  EXPECT_EQ(records_.Get("a", "x7").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(records_.VisitAll([](auto, auto, auto) { return absl::OkStatus(); }).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(records_.ReadEvents(1, 1).status().code(), absl::StatusCode::kDataLoss);
}

TEST(RecordBatchDeathTest, WrongNamesAreOurBug) {
  RecordBatch batch;
  EXPECT_DEATH(batch.PutBytes("Bad Table", "x", ""), "record table");
  EXPECT_DEATH(batch.Delete("a", ""), "record id");
}

}  // namespace
}  // namespace ursa
