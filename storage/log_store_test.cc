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
    EXPECT_THAT(entries[i].piece.bytes,
                HasSubstr(absl::StrCat(num_lost, " bytes of rank 0 were dropped here: its log is over its limit")));
  }
  EXPECT_EQ(num_bytes + num_lost, 5000u);
  EXPECT_LE(num_bytes, 30u + 80 + 10 + 10);
  EXPECT_EQ(entries.back().piece.bytes, "line 1499\n");
  query.rank = 1;
  EXPECT_EQ(Text(log, query).size(), 72u);  // the other rank's log is whole
  EXPECT_EQ(*log.NextOffset(kRank0, 1), 5000u);
}

TEST_F(LogStoreTest, WhatTheSenderLeftOutIsAMarkWithAPlace) {
  LogPiece left_out = Piece(1, 4, "");
  left_out.num_left_out_bytes = 6;
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "abc\n"), left_out, Piece(1, 10, "d\n")}).ok());
  ASSERT_TRUE(Append(kRank0, {left_out}).ok());  // sent again
  EXPECT_EQ(*log_.NextOffset(kRank0, 1), 12u);
  const auto page = log_.Read(All());
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->entries.size(), 3u);
  EXPECT_EQ(page->entries[1].num_lost_bytes, 6u);
  EXPECT_EQ(page->entries[1].piece.offset, 4u);
  EXPECT_THAT(page->entries[1].piece.bytes, HasSubstr("6 bytes of rank 0 are left out here"));
  EXPECT_EQ(page->entries[2].piece.bytes, "d\n") << "shorter than the mark, and whole";
  left_out.bytes = "x";
  EXPECT_EQ(Append(kRank0, {left_out}).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(LogStoreTest, RetentionTakesWhatIsOldAndSaysSo) {
  std::vector<LogPiece> pieces;
  for (int i = 0; i < 10; ++i) {
    pieces.push_back(
        {1, static_cast<uint64_t>(10 * i), absl::FromUnixSeconds(100 + i), absl::StrCat("line ", i, "...\n")});
  }
  ASSERT_TRUE(Append(kRank0, pieces).ok());
  ASSERT_TRUE(Append({{18, 1}, 0}, {{1, 0, absl::FromUnixSeconds(107), "young\n"}}).ok());
  LogRetention retention;
  retention.keep_since = absl::FromUnixSeconds(107);
  auto retained = log_.Retain(retention, {}, 10);
  ASSERT_TRUE(retained.ok()) << retained.status();
  EXPECT_EQ(retained->num_deleted_bytes, 70u);
  EXPECT_FALSE(retained->next.has_value());
  EXPECT_THAT(Text(All()), ElementsAre("0:1+60=[70 bytes of rank 0 before this were deleted by the retention policy]\n",
                                       "0:1+70=line 7...\n", "0:1+80=line 8...\n", "0:1+90=line 9...\n"));
  // Nothing more to do: nothing is written, nor read entry by entry.
  const int64_t before = store_.num_writes();
  EXPECT_EQ(log_.Retain(retention, {}, 10)->num_deleted_bytes, 0u);
  EXPECT_EQ(store_.num_writes(), before);
  // All of it goes in the end, but for the mark; the sender goes on where it was.
  retention.keep_since = absl::FromUnixSeconds(1000);
  EXPECT_EQ(log_.Retain(retention, {}, 10)->num_deleted_bytes, 36u);
  EXPECT_THAT(Text(All()),
              ElementsAre("0:1+90=[100 bytes of rank 0 before this were deleted by the retention policy]\n"));
  ASSERT_TRUE(Append(kRank0, {{1, 95, absl::FromUnixSeconds(2000), "dots\nnew\n"}}).ok());
  EXPECT_EQ(log_.Retain(retention, {}, 10)->num_deleted_bytes, 0u);
  EXPECT_EQ(Text(All()).back(), "0:1+100=new\n");
}

TEST_F(LogStoreTest, RetentionBoundsATrialAndSparesTheQuietRank) {
  LogStore::Options options;
  options.head_bytes = 300;
  options.retain_bytes_max = 100;  // several batches
  LogStore log(&store_, options);
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(log.Append(kRank0, {Piece(1, 10 * i, "123456789\n")}, Durability::kBuffered).ok());
  }
  ASSERT_TRUE(log.Append(kRank1, {Piece(1, 0, "quiet\n")}, Durability::kBuffered).ok());
  ASSERT_TRUE(log.Append({{17, 2}, 0}, {Piece(1, 0, std::string(90, 'x'))}, Durability::kBuffered).ok());
  LogRetention retention;
  retention.trial_bytes_max = 96;
  EXPECT_EQ(log.Retain(retention, {}, 1)->num_deleted_bytes, 910u);
  LogStore::Query query = All();
  query.trial = 1;
  std::vector<std::string> text = Text(log, query);
  ASSERT_EQ(text.size(), 1u + 9 + 1);
  EXPECT_EQ(text[0], "0:1+900=[910 bytes of rank 0 before this were deleted by the retention policy]\n");
  EXPECT_EQ(text[1], "0:1+910=123456789\n");
  EXPECT_EQ(text.back(), "1:1+0=quiet\n");
  query.trial = 2;
  EXPECT_EQ(Text(log, query).size(), 1u) << "its own trial's limit";
  // What is written later finds the limits of the tail as ever.
  for (uint64_t i = 100; i < 200; ++i) {
    ASSERT_TRUE(log.Append(kRank0, {Piece(1, 10 * i, "123456789\n")}, Durability::kBuffered).ok());
  }
  query.trial = 1;
  EXPECT_EQ(Text(log, query).size(), 1u + 109 + 1);
  LogStore restarted(&store_, options);
  EXPECT_EQ(restarted.Retain(retention, {}, 10)->num_deleted_bytes, 1000u);
}

TEST_F(LogStoreTest, RetentionTakesTheCutMarkInAndGoesThroughTrialsInTurns) {
  LogStore::Options options;
  options.head_bytes = 30;
  options.tail_bytes = 80;
  options.piece_bytes_max = 10;
  LogStore log(&store_, options);
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(log.Append(kRank0, {Piece(1, 10 * i, "123456789\n")}, Durability::kBuffered).ok());
  }
  for (const uint32_t trial : {2, 3}) {
    ASSERT_TRUE(log.Append({{17, trial}, 0}, {Piece(1, 0, "123456789\n")}, Durability::kBuffered).ok());
  }
  LogRetention retention;
  retention.trial_bytes_max = 50;
  LogStore::Retained retained;
  retained.next = TrialKey();
  std::vector<uint64_t> deleted;
  while (retained.next.has_value()) {
    const auto turn = log.Retain(retention, *retained.next, 1);
    ASSERT_TRUE(turn.ok()) << turn.status();
    retained = *turn;
    deleted.push_back(retained.num_deleted_bytes);
  }
  ASSERT_EQ(deleted.size(), 3u);
  EXPECT_EQ(deleted[1] + deleted[2], 0u);
  LogStore::Query query = All();
  query.trial = 1;
  const auto page = log.Read(query);
  ASSERT_EQ(page->entries.size(), 1u + 5);
  EXPECT_EQ(page->entries[0].num_lost_bytes, 950u) << "cut before and retained now";
}

TEST_F(LogStoreTest, StatesOfTheFirstFormatReadTheSame) {
  ASSERT_TRUE(Append(kRank0, {Piece(1, 0, "abc\n"), Piece(1, 4, "def\n")}).ok());
  std::string state = store_.Get(LogStreamStateKey(kRank0))->value();
  state.resize(state.size() - 16);
  state[0] = 1;
  ASSERT_TRUE(Put(&store_, {{LogStreamStateKey(kRank0), state}}).ok());
  LogStore restarted(&store_, {});
  EXPECT_EQ(*restarted.NextOffset(kRank0, 1), 8u);
  LogRetention retention;
  retention.keep_since = Piece(1, 4, "").time;
  EXPECT_EQ(restarted.Retain(retention, {}, 10)->num_deleted_bytes, 4u);
  EXPECT_EQ(Text(restarted, All()).size(), 2u);
}

TEST(FairLogBytesTest, Shares) {
  EXPECT_EQ(FairLogBytes({}, 10), 10u);
  EXPECT_EQ(FairLogBytes({5, 5}, 10), 5u);
  EXPECT_EQ(FairLogBytes({5, 6}, 10), 5u);
  EXPECT_EQ(FairLogBytes({1, 100, 2}, 13), 10u);
  EXPECT_EQ(FairLogBytes({100, 100, 100}, 0), 0u);
  EXPECT_EQ(FairLogBytes({1, 2, 3}, uint64_t{1} << 63), 3u);
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
