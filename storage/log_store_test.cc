#include "storage/log_store.h"

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/kv_testing.h"
#include "storage/memory_kv_store.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr LogStreamKey kRank0{{17, 1}, 0};
constexpr LogStreamKey kRank1{{17, 1}, 1};

LogPiece Piece(uint32_t attempt, uint64_t offset, std::string bytes) {
  return {attempt, offset, absl::FromUnixMicros(1'700'000'000'000'000 + offset), std::move(bytes)};
}

class LogStoreTest : public ::testing::Test {
 protected:
  LogStoreTest() : log_(&store_, {}) {}

  static LogStore::Query All() {
    LogStore::Query query;
    query.experiment = 17;
    return query;
  }

  // "rank:attempt+offset=bytes" for each.
  static std::vector<std::string> Text(const LogStore& log, const LogStore::Query& query) {
    const auto page = log.Read(query);
    EXPECT_TRUE(page.ok()) << page.status();
    std::vector<std::string> text;
    for (const LogStore::Entry& entry : page->entries) {
      text.push_back(
          absl::StrCat(entry.stream.rank, ":", entry.piece.attempt, "+", entry.piece.offset, "=", entry.piece.bytes));
    }
    return text;
  }
  std::vector<std::string> Text(const LogStore::Query& query) { return Text(log_, query); }

  absl::Status Append(LogStreamKey stream, const std::vector<LogPiece>& pieces) {
    return log_.Append(stream, pieces, Durability::kBuffered);
  }

  MemoryKvStore store_;
  LogStore log_;
};

TEST_F(LogStoreTest, PiecesOfAllRanksComeInOrderOfArrival) {
  ASSERT_TRUE(Append(kRank1, {Piece(1, 0, "a")}).ok());
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "b"), Piece(1, 1, "c")}).ok());
  ASSERT_TRUE(Append(kRank1, {Piece(1, 1, "d")}).ok());
  ASSERT_TRUE(Append({{17, 2}, 0}, {Piece(1, 0, "e")}).ok());
  ASSERT_TRUE(Append({{18, 1}, 0}, {Piece(1, 0, "other")}).ok());
  EXPECT_THAT(Text(All()), ElementsAre("1:1+0=a", "0:1+0=b", "0:1+1=c", "1:1+1=d", "0:1+0=e"));
  LogStore::Query query = All();
  query.rank = 0;
  EXPECT_THAT(Text(query), ElementsAre("0:1+0=b", "0:1+1=c", "0:1+0=e"));
  query.trial = 1;
  EXPECT_THAT(Text(query), ElementsAre("0:1+0=b", "0:1+1=c"));
  query.rank.reset();
  query.trial = 2;
  EXPECT_THAT(Text(query), ElementsAre("0:1+0=e"));
  const auto page = log_.Read(All());
  EXPECT_EQ(page->entries[2].piece.time, Piece(1, 1, "c").time);
}

TEST_F(LogStoreTest, RepeatedPiecesAreStoredOnceAndOverlapsAreTrimmed) {
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "abc")}).ok());
  const int64_t before = store_.num_writes();
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "abc"), Piece(1, 1, "b"), Piece(1, 2, "")}).ok());
  EXPECT_EQ(store_.num_writes(), before);
  ASSERT_TRUE(Append(kRank0, {Piece(1, 1, "bcde")}).ok());
  ASSERT_TRUE(Append(kRank0, {Piece(1, 9, "gap")}).ok());
  EXPECT_THAT(Text(All()), ElementsAre("0:1+0=abc", "0:1+3=de", "0:1+9=gap"));
  EXPECT_EQ(*log_.NextOffset(kRank0, 1), 12u);
}

TEST_F(LogStoreTest, ANewAttemptStartsAnewAndCutsTheOldOneOff) {
  EXPECT_EQ(*log_.NextOffset(kRank0, 1), 0u);
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "old")}).ok());
  EXPECT_EQ(*log_.NextOffset(kRank0, 2), 0u);
  ASSERT_TRUE(Append(kRank0, {Piece(2, 0, "new")}).ok());
  ASSERT_TRUE(Append(kRank0, {Piece(1, 3, "late")}).ok());
  EXPECT_THAT(Text(All()), ElementsAre("0:1+0=old", "0:2+0=new"));
  EXPECT_EQ(log_.NextOffset(kRank0, 1).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LogStoreTest, ReadersFollowByTheLastArrival) {
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "a"), Piece(1, 1, "b"), Piece(1, 2, "c")}).ok());
  LogStore::Query query = All();
  query.bytes_max = 2;
  auto page = log_.Read(query);
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->entries.size(), 2u);
  EXPECT_TRUE(page->more);
  query.after_arrival = page->last_arrival;
  page = log_.Read(query);
  ASSERT_EQ(page->entries.size(), 1u);
  EXPECT_FALSE(page->more);
  query.after_arrival = page->last_arrival;
  page = log_.Read(query);
  EXPECT_THAT(page->entries, IsEmpty());
  EXPECT_EQ(page->last_arrival, query.after_arrival);
  ASSERT_TRUE(Append(kRank1, {Piece(1, 0, "d")}).ok());
  EXPECT_THAT(Text(query), ElementsAre("1:1+0=d"));
}

TEST_F(LogStoreTest, ArrivalNumbersGoOnAfterARestart) {
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "a")}).ok());
  ASSERT_TRUE(Append(kRank1, {Piece(1, 0, "b")}).ok());
  const uint64_t last = log_.Read(All())->last_arrival;
  LogStore restarted(&store_, {});
  ASSERT_TRUE(restarted.Append(kRank0, {Piece(1, 1, "c")}, Durability::kSynced).ok());
  LogStore::Query query = All();
  query.after_arrival = last;
  EXPECT_THAT(Text(restarted, query), ElementsAre("0:1+1=c"));
}

TEST_F(LogStoreTest, ALongLogKeepsItsHeadAndTailAndMarksTheCut) {
  LogStore::Options options;
  options.head_bytes = 30;
  options.tail_bytes = 80;
  options.piece_bytes_max = 10;
  LogStore log(&store_, options);
  const auto append = [&log](int i) {
    return log.Append(kRank0, {Piece(1, 10 * i, absl::StrCat("line ", 1000 + i, "\n"))}, Durability::kBuffered);
  };
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(append(i).ok());
    if (i % 7 != 0) continue;
    ASSERT_TRUE(log.Append(kRank1, {Piece(1, i, "x")}, Durability::kBuffered).ok());
  }
  LogStore::Query query = All();
  query.rank = 0;
  const auto page = log.Read(query);
  ASSERT_TRUE(page.ok()) << page.status();
  const std::vector<LogStore::Entry>& entries = page->entries;
  ASSERT_GE(entries.size(), 3u + 1 + 8);
  EXPECT_EQ(entries[0].piece.bytes, "line 1000\n");
  EXPECT_EQ(entries[2].piece.bytes, "line 1002\n");
  uint64_t num_bytes = 0, num_lost = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    EXPECT_TRUE(i == 0 || entries[i - 1].arrival < entries[i].arrival) << i;
    if (entries[i].num_lost_bytes == 0) {
      num_bytes += entries[i].piece.bytes.size();
      continue;
    }
    EXPECT_EQ(i, 3u);  // one mark, between head and tail
    num_lost = entries[i].num_lost_bytes;
    EXPECT_THAT(entries[i].piece.bytes, HasSubstr(absl::StrCat(num_lost, " bytes of this log were dropped")));
  }
  EXPECT_EQ(num_bytes + num_lost, 5000u);
  EXPECT_LE(num_bytes, 30u + 80 + 10 + 10);
  EXPECT_EQ(entries.back().piece.bytes, "line 1499\n");
  query.rank = 1;
  EXPECT_EQ(Text(log, query).size(), 72u);  // the other rank's log is whole
  EXPECT_EQ(*log.NextOffset(kRank0, 1), 5000u);
}

TEST_F(LogStoreTest, FailedWriteStoresNothingAndCanBeRepeated) {
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "a")}).ok());
  store_.SetDiskFull(true);
  EXPECT_EQ(Append(kRank0, {Piece(1, 1, "b")}).code(), absl::StatusCode::kResourceExhausted);
  store_.SetDiskFull(false);
  EXPECT_EQ(*log_.NextOffset(kRank0, 1), 1u);
  ASSERT_TRUE(Append(kRank0, {Piece(1, 1, "b")}).ok());
  EXPECT_THAT(Text(All()), ElementsAre("0:1+0=a", "0:1+1=b"));
}

TEST_F(LogStoreTest, DeleteSparesOtherExperiments) {
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "a")}).ok());
  ASSERT_TRUE(Append({{16, 0}, 0}, {Piece(1, 0, "b")}).ok());
  ASSERT_TRUE(Append({{18, 0}, 0}, {Piece(1, 0, "c")}).ok());
  ASSERT_TRUE(log_.DeleteExperiment(17).ok());
  EXPECT_THAT(Text(All()), IsEmpty());
  EXPECT_EQ(CountKeys(store_, {}), 4u);  // an entry and a state each
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "again")}).ok());
  EXPECT_THAT(Text(All()), ElementsAre("0:1+0=again"));
}

TEST_F(LogStoreTest, LimitsAndDamage) {
  LogStore::Options options;
  options.piece_bytes_max = 3;
  LogStore small(&store_, options);
  const absl::Status status = small.Append(kRank0, {Piece(1, 0, "abcd")}, Durability::kBuffered);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("limit is 3 bytes a piece, it has 4"));
  options.tail_bytes = 2;
  EXPECT_EQ(options.Validate().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "a")}).ok());
  ASSERT_TRUE(Put(&store_, {{LogEntryKey(kRank0, 1), "\x01"}}).ok());
  EXPECT_EQ(log_.Read(All()).status().code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(Put(&store_, {{LogStreamStateKey(kRank0), "\x01"}}).ok());
  EXPECT_EQ(log_.Read(All()).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Append(kRank0, {Piece(1, 1, "b")}).code(), absl::StatusCode::kDataLoss);
}

// A follower sees every piece of every writer exactly once.
TEST_F(LogStoreTest, AFollowerMissesNothing) {
  constexpr int kRanks = 3, kPieces = 200;
  std::atomic<int> num_running{kRanks};
  std::vector<std::thread> writers;
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    writers.emplace_back([this, rank, &num_running] {
      for (int i = 0; i < kPieces; ++i) EXPECT_TRUE(Append({{17, 1}, rank}, {Piece(1, i, "x")}).ok());
      --num_running;
    });
  }
  LogStore::Query query = All();
  query.bytes_max = 50;
  std::vector<uint64_t> next_offset(kRanks);
  for (bool last_round = false; !last_round;) {
    last_round = num_running == 0;
    for (bool more = true; more;) {
      const auto page = log_.Read(query);
      ASSERT_TRUE(page.ok()) << page.status();
      for (const LogStore::Entry& entry : page->entries) {
        ASSERT_EQ(entry.piece.offset, next_offset[entry.stream.rank]++);
      }
      query.after_arrival = page->last_arrival;
      more = page->more;
    }
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_THAT(next_offset, ElementsAre(kPieces, kPieces, kPieces));
}

}  // namespace
}  // namespace ursa
