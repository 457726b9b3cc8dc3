#include "storage/rocks_kv_store.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/keys.h"
#include "storage/kv_store_conformance.h"
#include "storage/kv_testing.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A folder of its own under the test's, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = ::testing::TempDir() + "/rocks_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

RocksKvStore::Options SmallOptions() {
  RocksKvStore::Options options;
  options.block_cache_bytes = 1 << 20;
  options.write_buffer_bytes = 1 << 20;  // so that tests reach flushes
  options.load_file_bytes = 1 << 20;     // and loads of several files
  return options;
}

class RocksHarness : public KvStoreHarness {
 public:
  RocksHarness() { Reopen(); }
  KvStore* store() override { return store_.get(); }
  void Reopen() override {
    store_.reset();
    auto store = RocksKvStore::Open(folder_.path() + "/a/b", SmallOptions());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<KvStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Rocks, KvStoreConformanceTest, ::testing::Values([]() -> std::unique_ptr<KvStoreHarness> {
                           return std::make_unique<RocksHarness>();
                         }));

TEST(RocksKvStoreTest, FolderIsForItsOwnerOnly) {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/x/store";
  ASSERT_TRUE(RocksKvStore::Open(path, {}).ok());
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST(RocksKvStoreTest, SecondOpenSaysInUse) {
  TemporaryFolder folder;
  const auto store = RocksKvStore::Open(folder.path(), {});
  ASSERT_TRUE(store.ok()) << store.status();
  const auto second = RocksKvStore::Open(folder.path(), {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("data folder " + folder.path() + ": cannot open, it is in use by another coordinator"));
}

// Runs `body` in another process, which ends by _exit within it; returns the exit status.
template <typename Body>
int InChild(const Body& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(100);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(RocksKvStoreTest, AnotherProcessSaysInUse) {
  TemporaryFolder folder;
  int to_child[2], to_parent[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(to_parent), 0);
  const pid_t holder = fork();
  char byte = 0;
  if (holder == 0) {
    const auto store = RocksKvStore::Open(folder.path(), {});
    (void)!write(to_parent[1], store.ok() ? "y" : "n", 1);
    (void)!read(to_child[0], &byte, 1);  // until the parent has tried
    _exit(0);
  }
  ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  const auto store = RocksKvStore::Open(folder.path(), {});
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("in use by another coordinator"));
  ASSERT_EQ(write(to_child[1], "x", 1), 1);
  ASSERT_EQ(waitpid(holder, nullptr, 0), holder);
  EXPECT_TRUE(RocksKvStore::Open(folder.path(), {}).ok());
}

// _exit before anything is closed is what kill -9 leaves.
TEST(RocksKvStoreTest, AllWritesSurviveTheDeathOfTheProcess) {
  TemporaryFolder folder;
  ASSERT_EQ(InChild([&folder] {
              auto store = RocksKvStore::Open(folder.path(), {});
              if (!store.ok()) _exit(1);
              if (!Put(store->get(), {{"a", "synced"}}, Durability::kSynced).ok()) _exit(2);
              const auto load = (*store)->NewSortedLoad();
              if (!load->Add("b", "loaded").ok() || !load->Commit().ok()) _exit(3);
              if (!Put(store->get(), {{"c", "buffered"}}, Durability::kBuffered).ok()) _exit(4);
              const auto unfinished = (*store)->NewSortedLoad();
              _exit(unfinished->Add("d", "unfinished").ok() ? 0 : 5);
            }),
            0);
  EXPECT_FALSE(std::filesystem::is_empty(folder.path() + "/loads"));
  const auto store = RocksKvStore::Open(folder.path(), {});
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_THAT(Scan(**store, {}),
              ElementsAre(KeyValue{"a", "synced"}, KeyValue{"b", "loaded"}, KeyValue{"c", "buffered"}));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() + "/loads"));
}

TEST(RocksKvStoreTest, TornLastRecordOfTheLogIsForgotten) {
  TemporaryFolder folder;
  ASSERT_EQ(InChild([&folder] {
              auto store = RocksKvStore::Open(folder.path(), {});
              if (!store.ok() || !Put(store->get(), {{"a", "1"}}).ok()) _exit(1);
              _exit(Put(store->get(), {{"b", std::string(1000, 'b')}}).ok() ? 0 : 2);
            }),
            0);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    if (entry.path().extension() == ".log" && entry.file_size() > 500) {
      std::filesystem::resize_file(entry.path(), entry.file_size() - 500);
    }
  }
  const auto store = RocksKvStore::Open(folder.path(), {});
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_THAT(Scan(**store, {}), ElementsAre(KeyValue{"a", "1"}));
}

TEST(RocksKvStoreTest, DamagedTableIsDataLoss) {
  TemporaryFolder folder;
  {
    const auto store = RocksKvStore::Open(folder.path(), {});
    ASSERT_TRUE(store.ok()) << store.status();
    const auto load = (*store)->NewSortedLoad();
    ASSERT_TRUE(load->Add("a", std::string(100'000, 'a')).ok());
    ASSERT_TRUE(load->Commit().ok());
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    if (entry.path().extension() != ".sst") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(5000);
    file.put('X');
  }
  const auto store = RocksKvStore::Open(folder.path(), {});
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->Get("a").status().code(), absl::StatusCode::kDataLoss);
  const auto iterator = (*store)->NewIterator({});
  EXPECT_FALSE(iterator->Valid());
  EXPECT_EQ(iterator->status().code(), absl::StatusCode::kDataLoss);
}

// A batch with a key and one with a range that begins with another of its kind, again and again: what the memtable
// remembers of one must not lead it astray with the other.
TEST(RocksKvStoreTest, KeysAreWrittenAndTheirRangesDeletedInTurns) {
  TemporaryFolder folder;
  const auto store = *RocksKvStore::Open(folder.path() + "/a", SmallOptions());
  constexpr uint64_t kKeys = 2000;
  const auto metric = [](uint64_t number) { return MetricKey({1, 2}, "loss", number); };
  const auto log = [](uint64_t number) { return LogEntryKey({{1, 2}, 3}, number); };
  for (uint64_t i = 1; i <= kKeys; ++i) {
    WriteBatch batch;
    batch.Put(metric(i), "m");
    batch.Put(log(i), "l");
    batch.Put(RecordKey("trials", EventKey(i)), "r");
    ASSERT_TRUE(store->Write(batch, Durability::kBuffered).ok());
    if (i % 10 != 0) continue;
    WriteBatch gone;
    gone.DeleteRange(metric(i - 9), metric(i));
    gone.DeleteRange(log(i - 9), log(i));
    ASSERT_TRUE(store->Write(gone, Durability::kBuffered).ok());
  }
  const auto count = [&](const std::string& prefix) {
    uint64_t num = 0;
    for (const auto keys = store->NewScan(PrefixRange(prefix)); keys->Valid(); keys->Next()) ++num;
    return num;
  };
  EXPECT_EQ(count(PrefixKey(KeyPrefix::kMetric)), kKeys / 10);
  EXPECT_EQ(count(PrefixKey(KeyPrefix::kLogEntry)), kKeys / 10);
  EXPECT_EQ(count(RecordTablePrefix("trials")), kKeys);
}

TEST(RocksKvStoreTest, ARangeOfKeysWithHintsIsRefused) {
  TemporaryFolder folder;
  const auto store = *RocksKvStore::Open(folder.path() + "/a", SmallOptions());
  WriteBatch batch;
  batch.Put(RecordKey("trials", "1"), "r");
  batch.DeleteRange(RecordTablePrefix("trials"), RecordTablePrefix("trials") + '\xff');
  EXPECT_EQ(store->Write(batch, Durability::kSynced).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(store->Get(RecordKey("trials", "1"))->has_value());
}

TEST(RocksKvStoreTest, AFileInPlaceOfTheFolderIsAnError) {
  TemporaryFolder folder;
  std::ofstream(folder.path() + "/file") << "x";
  EXPECT_FALSE(RocksKvStore::Open(folder.path() + "/file", {}).ok());
  EXPECT_FALSE(RocksKvStore::Open(folder.path() + "/file/below", {}).ok());
}

TEST(RocksKvStoreTest, OptionsAreChecked) {
  RocksKvStore::Options options;
  options.max_open_files = 1;
  EXPECT_EQ(RocksKvStore::Open("unused", options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ursa
