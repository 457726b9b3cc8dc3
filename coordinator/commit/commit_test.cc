#include "coordinator/commit/commit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "coordinator/commit/stored_records.h"
#include "storage/keys.h"
#include "storage/memory_kv_store.h"

namespace ursa {
namespace {

// A store whose synced writes wait until the test lets them through.
class GatedStore : public KvStore {
 public:
  void SetOpen(bool open) {
    absl::MutexLock lock(&mu_);
    is_open_ = open;
  }
  // Waits until a write stands at the gate.
  void AwaitWriter() {
    absl::MutexLock lock(&mu_);
    auto is_waiting = [this] { return num_waiting_ > 0; };
    mu_.Await(absl::Condition(&is_waiting));
  }
  MemoryKvStore& memory() { return memory_; }

  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const override { return memory_.Get(key); }
  absl::StatusOr<std::vector<std::optional<std::string>>> MultiGet(
      const std::vector<std::string>& keys) const override {
    return memory_.MultiGet(keys);
  }
  std::unique_ptr<KvIterator> NewIterator(const KeyRange& range) const override { return memory_.NewIterator(range); }
  absl::StatusOr<std::optional<std::string>> LastKey(const KeyRange& range) const override {
    return memory_.LastKey(range);
  }
  absl::Status Write(const WriteBatch& batch, Durability durability) override {
    if (durability == Durability::kSynced) {
      absl::MutexLock lock(&mu_);
      ++num_waiting_;
      mu_.Await(absl::Condition(&is_open_));
      --num_waiting_;
    }
    return memory_.Write(batch, durability);
  }
  std::unique_ptr<SortedLoad> NewSortedLoad() override { return memory_.NewSortedLoad(); }
  std::unique_ptr<KvReader> Snapshot() const override { return memory_.Snapshot(); }

 private:
  MemoryKvStore memory_;
  absl::Mutex mu_;
  bool is_open_ = true;
  int num_waiting_ = 0;
};

records::CounterRecord Counter(const std::string& name, int64_t value) {
  records::CounterRecord record;
  record.set_name(name);
  record.set_value(value);
  return record;
}

Mutation PutCounter(const std::string& name, int64_t value) { return std::move(Mutation().Put(Counter(name, value))); }

std::unique_ptr<Commit> Open(RecordStore* records, Commit::Options options = {}) {
  auto commit = Commit::Open(records, std::move(options));
  EXPECT_TRUE(commit.ok()) << commit.status();
  return *std::move(commit);
}

TEST(CommitTest, NothingIsToldBeforeItIsDurable) {
  GatedStore store;
  RecordStore records(&store);
  const auto commit = Open(&records);
  commit->Start();
  store.SetOpen(false);
  absl::Notification written;
  absl::Notification read;
  {
    Tx tx(commit.get());
    tx.Apply(PutCounter("a", 1));
    tx.AfterDurable([&] { written.Notify(); });
  }
  store.AwaitWriter();
  {
    // A read that has seen the change waits for it too.
    Tx tx(commit.get());
    EXPECT_EQ(tx.state().NextNumber("a"), 2);
    tx.AfterDurable([&] { read.Notify(); });
  }
  EXPECT_FALSE(written.WaitForNotificationWithTimeout(absl::Milliseconds(50)));
  EXPECT_FALSE(read.HasBeenNotified());
  EXPECT_LT(commit->durable_sequence(), commit->sequence());
  store.SetOpen(true);
  EXPECT_TRUE(written.WaitForNotificationWithTimeout(absl::Seconds(10)));
  EXPECT_TRUE(read.WaitForNotificationWithTimeout(absl::Seconds(10)));
  EXPECT_EQ(commit->durable_sequence(), commit->sequence());
}

TEST(CommitTest, ManyQueuedChangesAreOneSyncedWrite) {
  GatedStore store;
  RecordStore records(&store);
  const auto commit = Open(&records);
  commit->Start();
  store.SetOpen(false);
  std::atomic<int> num_done = 0;
  for (int i = 0; i < 100; ++i) {
    Tx tx(commit.get());
    tx.Apply(PutCounter("a", i));
    tx.AfterDurable([&] { ++num_done; });
  }
  store.AwaitWriter();
  store.SetOpen(true);
  commit->Stop();
  EXPECT_EQ(num_done, 100);
  // What queued up behind the first write is joined: how much the first one took depends on the threads.
  EXPECT_LE(store.memory().num_synced_writes(), 2);
}

TEST(CommitTest, EffectsRunInOrder) {
  MemoryKvStore store;
  RecordStore records(&store);
  const auto commit = Open(&records);
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) {
    Tx tx(commit.get());
    if (i % 2 == 0) tx.Apply(PutCounter("a", i));
    tx.AfterDurable([&order, i] { order.push_back(i); });
  }
  EXPECT_TRUE(order.empty());
  EXPECT_TRUE(commit->RunQueued());
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(CommitTest, AFailedSyncTellsNobodyAndEndsTheProcess) {
  MemoryKvStore store;
  RecordStore records(&store);
  absl::Status failure;
  Commit::Options options;
  options.on_failed_write = [&](const absl::Status& status) { failure = status; };
  const auto commit = Open(&records, std::move(options));
  bool told = false;
  store.FailNthWrite(1, absl::UnknownError("disk: i/o error"));
  {
    Tx tx(commit.get());
    tx.Apply(PutCounter("a", 1));
    tx.AfterDurable([&] { told = true; });
  }
  commit->RunQueued();
  EXPECT_EQ(failure.message(), "disk: i/o error");
  EXPECT_FALSE(told);
  {
    Tx tx(commit.get());
    tx.AfterDurable([&] { told = true; });
  }
  commit->RunQueued();
  EXPECT_FALSE(told);  // it depends on what was not written
}

TEST(CommitTest, AFailedBulkWriteStopsTheRecordsToo) {
  MemoryKvStore store;
  RecordStore records(&store);
  absl::Status failure;
  Commit::Options options;
  options.on_failed_write = [&](const absl::Status& status) { failure = status; };
  const auto commit = Open(&records, std::move(options));
  {
    Tx tx(commit.get());
    tx.Apply(PutCounter("a", 1));
    tx.AddBulkWrite([] { return absl::ResourceExhaustedError("disk full"); });
  }
  commit->RunQueued();
  EXPECT_FALSE(failure.ok());
  EXPECT_EQ(store.num_writes(), 0);
}

TEST(CommitTest, BulkWritesAreSyncedWithTheirTransaction) {
  MemoryKvStore store;
  RecordStore records(&store);
  const auto commit = Open(&records);
  {
    Tx tx(commit.get());
    tx.AddBulkWrite([&store] {
      WriteBatch batch;
      batch.Put("bulk", "1");
      return store.Write(batch, Durability::kBuffered);
    });
  }
  commit->RunQueued();
  store.Crash();
  EXPECT_TRUE(store.Get("bulk")->has_value());
}

TEST(CommitTest, ATransactionIsOnDiskWholeOrNotAtAll) {
  MemoryKvStore store;
  RecordStore records(&store);
  Commit::Options options;
  options.batch_bytes_max = 1;  // every group is a batch of its own
  options.on_failed_write = [](const absl::Status&) {};
  {
    const auto commit = Open(&records, options);
    for (int i = 1; i <= 3; ++i) {
      Tx tx(commit.get());
      tx.Apply(PutCounter("a", i));
      tx.Apply(PutCounter("b", i));
    }
    store.FailNthWrite(3, absl::UnknownError("power failure"));
    commit->RunQueued();
  }
  store.Crash();
  const auto commit = Open(&records, options);
  Tx tx(commit.get());
  EXPECT_EQ(tx.state().NextNumber("a"), 3);
  EXPECT_EQ(tx.state().NextNumber("b"), 3);
}

TEST(CommitTest, AReopenedStoreHasTheSameState) {
  MemoryKvStore store;
  RecordStore records(&store);
  std::string before;
  uint64_t sequence = 0;
  {
    const auto commit = Open(&records);
    Tx tx(commit.get());
    tx.Apply(PutCounter("a", 1));
    records::AuditPayload payload;
    payload.set_action("test");
    tx.Apply(std::move(Mutation().Audit(payload)));
  }
  {
    const auto commit = Open(&records);
    EXPECT_EQ(commit->sequence(), 0u);  // what was never written is not there
    {
      Tx tx(commit.get());
      tx.Apply(PutCounter("a", 1));
      records::AuditPayload payload;
      payload.set_action("test");
      tx.Apply(std::move(Mutation().Audit(payload)));
    }
    commit->RunQueued();
    store.Crash();
    Tx tx(commit.get());
    before = tx.state().DebugExport();
    sequence = 1;
  }
  const auto commit = Open(&records);
  EXPECT_EQ(commit->sequence(), sequence);
  Tx tx(commit.get());
  EXPECT_EQ(tx.state().DebugExport(), before);
  EXPECT_EQ(tx.state().audit_head().sequence(), 1);
}

TEST(CommitTest, ManyRecordsAreReadBesideTheirApplication) {
  MemoryKvStore store;
  RecordStore records(&store);
  constexpr int kNumCounters = 20'000;  // more than may wait to be applied
  const auto name = [](int i) { return absl::StrCat("counter", i); };
  {
    const auto commit = Open(&records);
    Mutation mutation;
    for (int i = 0; i < kNumCounters; ++i) mutation.Put(Counter(name(i), i));
    Tx(commit.get()).Apply(std::move(mutation));
    commit->RunQueued();
  }
  {
    const auto commit = Open(&records);
    Tx tx(commit.get());
    EXPECT_EQ(tx.state().All<records::CounterRecord>().size(), size_t{kNumCounters});
    for (int i = 0; i < kNumCounters; ++i) ASSERT_EQ(tx.state().NextNumber(name(i)), i + 1);
  }
  RecordBatch damaged;
  damaged.PutBytes("counter", name(kNumCounters / 2), "\xff\xff\xff");
  ASSERT_TRUE(records.Commit(damaged).ok());
  EXPECT_EQ(Commit::Open(&records, {}).status().code(), absl::StatusCode::kDataLoss);
}

TEST(StoredRecordsTest, MayBeLeftBeforeAllIsRead) {
  MemoryKvStore store;
  RecordStore records(&store);
  RecordBatch batch;
  for (int i = 0; i < 20'000; ++i) batch.Put("counter", absl::StrCat("counter", i), Counter("a", i));
  ASSERT_TRUE(records.Commit(batch).ok());
  { const StoredRecords unread(&records); }
  StoredRecords read(&records);
  EXPECT_TRUE(read.Next().has_value());
}

TEST(CommitTest, SettleRunsUntilNothingChanges) {
  MemoryKvStore store;
  RecordStore records(&store);
  const auto commit = Open(&records);
  int num_rounds = 0;
  commit->SetSettle([&](Tx& tx, const Changes& changes) {
    ++num_rounds;
    if (changes.workers.count(1)) {
      records::WorkerRecord record;
      record.set_id(2);
      tx.Put(std::move(record));
    }
  });
  {
    Tx tx(commit.get());
    records::WorkerRecord record;
    record.set_id(1);
    tx.Put(std::move(record));
  }
  EXPECT_EQ(num_rounds, 2);
  { Tx tx(commit.get()); }
  EXPECT_EQ(num_rounds, 2);
  {
    Tx tx(commit.get());
    tx.RequestSettle();
  }
  EXPECT_EQ(num_rounds, 3);
}

}  // namespace
}  // namespace ursa
