// The stores on a disk that loses what was not synced, errs, turns bits over, and is full.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/blob_store.h"
#include "storage/blob_stream.h"
#include "storage/keys.h"
#include "storage/kv_testing.h"
#include "storage/log_store.h"
#include "storage/rocks_kv_store.h"
#include "storage/testing/rocks_faulty_file_system.h"

namespace ursa {
namespace {

constexpr int kNumSeeds = 15;
constexpr int kPowerFailures = 3;   // of each seed
constexpr int64_t kCallsMax = 400;  // writes of the disk between two of them

// The same ones in each run, and others in each round of `--gtest_shuffle --gtest_repeat=100`, for a night.
std::vector<uint64_t> Seeds(int num_seeds = kNumSeeds) {
  std::vector<uint64_t> seeds(num_seeds);
  const uint64_t round = GTEST_FLAG_GET(shuffle) ? ::testing::UnitTest::GetInstance()->random_seed() : 0;
  std::iota(seeds.begin(), seeds.end(), 1 + 1000 * round);
  return seeds;
}

// Small enough for a test to reach flushes, compactions, changes of the log, and blob files.
RocksKvStore::Options SmallOptions(rocksdb::Env* env) {
  RocksKvStore::Options options;
  options.block_cache_bytes = 1 << 20;
  options.write_buffer_bytes = 1 << 16;
  options.load_file_bytes = 1 << 16;
  options.large_value_bytes = 4096;
  options.env = env;
  return options;
}

class RocksFaultsTest : public ::testing::Test {
 protected:
  RocksFaultsTest() {
    std::string pattern = ::testing::TempDir() + "/faults_XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~RocksFaultsTest() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }

  // A disk of its own with an empty store on it.
  void Begin(uint64_t seed) {
    store_.reset();
    disk_.reset();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
    disk_ = std::make_unique<RocksFaultyFileSystem>(seed, folder_ + "/data", folder_ + "/scratch");
    Open();
  }
  absl::Status TryOpen() {
    store_.reset();
    auto store = RocksKvStore::Open(folder_ + "/data", SmallOptions(disk_->env()));
    if (store.ok()) store_ = *std::move(store);
    return store.status();
  }
  void Open() {
    const absl::Status status = TryOpen();
    ASSERT_TRUE(status.ok()) << status;
  }
  void LosePower() {
    store_.reset();
    const absl::Status status = disk_->LoseUnsynced();
    ASSERT_TRUE(status.ok()) << status;
    Open();
  }

  std::string folder_;
  std::unique_ptr<RocksFaultyFileSystem> disk_;
  std::unique_ptr<KvStore> store_;
};

std::string RandomBytes(Rng* rng, size_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(rng->Next());
  return bytes;
}

// Empty if both are the same, else where they begin to differ; the bytes themselves tell a reader nothing.
std::string Difference(const std::vector<KeyValue>& here, const std::map<std::string, std::string>& expected) {
  auto it = expected.begin();
  for (const auto& [key, value] : here) {
    if (it == expected.end() || key < it->first) return absl::StrCat("there is a key too much: ", key);
    if (key > it->first) return absl::StrCat("a key is missing: ", it->first);
    if (value != it->second) return absl::StrCat("another value at ", key, ", of ", value.size(), " bytes");
    ++it;
  }
  return it == expected.end() ? "" : absl::StrCat("a key is missing: ", it->first);
}

// Writes of which each leaves a trace: how many of them a store has seen can be read from it, and what it must hold
// then.
class History {
 public:
  explicit History(uint64_t seed) : rng_(seed) {}

  WriteBatch Next() {
    WriteBatch batch;
    const auto key = [this] { return absl::StrCat("k", rng_.Below(60)); };
    for (uint64_t i = rng_.Below(3) + 1; i > 0; --i) {
      const uint64_t kind = rng_.Below(10);
      if (kind == 0) {
        batch.Delete(key());
      } else if (kind == 1) {
        std::string begin = key();
        batch.DeleteRange(begin, begin + "9");
      } else {
        batch.Put(key(), RandomBytes(&rng_, rng_.Below(kind == 2 ? 20'000 : 1000)));
      }
    }
    batch.Put("last", std::to_string(batches_.size() + 1));
    batches_.push_back(batch);
    return batch;
  }
  void SetAcknowledged(Durability durability) {
    num_written_ = batches_.size();
    if (durability == Durability::kSynced) num_synced_ = batches_.size();
  }
  size_t num_written() const { return num_written_; }
  size_t num_synced() const { return num_synced_; }

  // Checks that the store holds the first n writes, all of them and whole, and n >= `num_min`. They are the whole
  // history from then on.
  void ExpectAndForgetTheRest(const KvStore& store, size_t num_min) {
    const auto last = store.Get("last");
    ASSERT_TRUE(last.ok()) << last.status();
    size_t num_here = 0;
    ASSERT_TRUE(!last->has_value() || absl::SimpleAtoi(**last, &num_here));
    ASSERT_GE(num_here, num_min);
    ASSERT_LE(num_here, batches_.size());
    batches_.resize(num_here);
    std::map<std::string, std::string> expected;
    for (const WriteBatch& batch : batches_) {
      for (const auto& operation : batch.operations()) {
        if (operation.kind == WriteBatch::Kind::kPut) expected[operation.first] = operation.second;
        if (operation.kind == WriteBatch::Kind::kDelete) expected.erase(operation.first);
        if (operation.kind == WriteBatch::Kind::kDeleteRange) {
          expected.erase(expected.lower_bound(operation.first), expected.lower_bound(operation.second));
        }
      }
    }
    ASSERT_EQ(Difference(Scan(store, {"k", "m"}), expected), "") << "after " << num_here << " writes";
    num_written_ = num_synced_ = num_here;
  }

 private:
  SeededRng rng_;
  std::vector<WriteBatch> batches_;
  size_t num_written_ = 0;  // acknowledged
  size_t num_synced_ = 0;   // acknowledged as synced, or before such a one
};

// Writes until something fails, the power does, or `num_max` are done; returns the error, if there is one.
absl::Status WriteSome(KvStore* store, const RocksFaultyFileSystem& disk, Rng* rng, int num_max, History* history) {
  for (int i = 0; i < num_max; ++i) {
    const Durability durability = rng->Below(8) == 0 ? Durability::kSynced : Durability::kBuffered;
    URSA_RETURN_IF_ERROR(store->Write(history->Next(), durability));
    if (disk.is_power_cut()) return absl::OkStatus();
    history->SetAcknowledged(durability);
  }
  return absl::OkStatus();
}

TEST_F(RocksFaultsTest, APowerFailureTakesTheLastUnsyncedWritesAlone) {
  int64_t num_lost = 0;
  RocksFaultyFileSystem::Counts counts;
  for (const uint64_t seed : Seeds()) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Begin(seed);
    SeededRng rng(seed);
    History history(seed);
    for (int failure = 0; failure < kPowerFailures; ++failure) {
      disk_->CutPower(1 + rng.Below(kCallsMax));
      ASSERT_TRUE(WriteSome(store_.get(), *disk_, &rng, 100 * kCallsMax, &history).ok());
      const size_t num_written = history.num_written();
      ASSERT_NO_FATAL_FAILURE(LosePower());
      ASSERT_NO_FATAL_FAILURE(history.ExpectAndForgetTheRest(*store_, history.num_synced()));
      num_lost += static_cast<int64_t>(num_written) - static_cast<int64_t>(history.num_written());
    }
    counts = disk_->counts();
    std::cout << "seed " << seed << ": unsynced writes lost " << num_lost << ", bytes " << counts.num_lost_bytes
              << ", names undone " << counts.num_undone_names << "\n";
  }
  EXPECT_GT(num_lost, 0);
}

TEST_F(RocksFaultsTest, ALoadIsThereWholeOrNotAtAll) {
  for (const uint64_t seed : Seeds()) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Begin(seed);
    SeededRng rng(seed);
    std::map<std::string, std::map<std::string, std::string>> loads;  // by their first letters
    std::vector<std::string> acknowledged;
    for (int failure = 0; failure < kPowerFailures; ++failure) {
      disk_->CutPower(1 + rng.Below(kCallsMax));
      while (!disk_->is_power_cut()) {
        const std::string name = absl::StrCat("load", loads.size(), "/");
        auto& entries = loads[name];
        for (int i = 0; i < 20; ++i) {
          entries[absl::StrCat(name, rng.Below(100))] = RandomBytes(&rng, rng.Below(10'000));
        }
        const auto load = store_->NewSortedLoad();
        for (const auto& [key, value] : entries) ASSERT_TRUE(load->Add(key, value).ok());
        ASSERT_TRUE(load->Commit().ok());
        if (!disk_->is_power_cut()) acknowledged.push_back(name);
        ASSERT_TRUE(Put(store_.get(), {{"z", name}}, Durability::kBuffered).ok());
      }
      ASSERT_NO_FATAL_FAILURE(LosePower());
      for (const auto& [name, entries] : loads) {
        const std::vector<KeyValue> here = Scan(*store_, PrefixRange(name));
        const bool is_acknowledged = std::count(acknowledged.begin(), acknowledged.end(), name) > 0;
        if (!is_acknowledged && here.empty()) continue;
        ASSERT_EQ(Difference(here, entries), "") << name;
      }
    }
  }
}

TEST_F(RocksFaultsTest, BlobsSurviveAPowerFailureAndUploadsGoOn) {
  BlobStore::Options options;
  options.chunk_bytes = 1024;
  options.sorted_load_bytes = 8192;
  for (const uint64_t seed : Seeds()) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Begin(seed);
    SeededRng rng(seed);
    std::map<std::string, std::string> all;  // by hash
    std::vector<std::string> acknowledged;
    const auto make = [&](size_t size) {
      std::string bytes = RandomBytes(&rng, size);
      const std::string hash = Sha256Hex(bytes);
      all[hash] = std::move(bytes);
      return hash;
    };
    for (int failure = 0; failure < kPowerFailures; ++failure) {
      {
        auto blobs = *BlobStore::Open(store_.get(), Clock::Real(), options);
        disk_->CutPower(1 + rng.Below(kCallsMax));
        while (!disk_->is_power_cut()) {
          const std::string hash = make(rng.Below(30'000));
          const std::string& bytes = all[hash];
          if (rng.Below(2) == 0) {
            ASSERT_TRUE(blobs->PutMany({{hash, bytes}}).ok());
          } else {
            const auto writer = blobs->OpenWriter(hash, bytes.size());
            ASSERT_TRUE(writer.ok()) << writer.status();
            const size_t end = rng.Below(2) == 0 ? bytes.size() : rng.Below(bytes.size() + 1);
            ASSERT_TRUE((*writer)->Append(0, std::string_view(bytes).substr(0, end)).ok());
            if (end < bytes.size()) continue;
            ASSERT_TRUE((*writer)->Commit().ok());
          }
          if (!disk_->is_power_cut()) acknowledged.push_back(hash);
        }
      }
      ASSERT_NO_FATAL_FAILURE(LosePower());
      auto blobs = *BlobStore::Open(store_.get(), Clock::Real(), options);
      for (const auto& [hash, bytes] : all) {
        auto read = blobs->Read(hash, 1 << 20);
        if (absl::IsNotFound(read.status()) && std::count(acknowledged.begin(), acknowledged.end(), hash) == 0) {
          const auto offset = blobs->ResumeOffset(hash);
          ASSERT_TRUE(offset.ok()) << offset.status();
          if (*offset == 0) continue;
          const auto writer = blobs->OpenWriter(hash, bytes.size());
          ASSERT_TRUE(writer.ok()) << writer.status();
          ASSERT_EQ((*writer)->offset(), *offset);
          ASSERT_TRUE((*writer)->Append(*offset, std::string_view(bytes).substr(*offset)).ok());
          ASSERT_TRUE((*writer)->Commit().ok());
          acknowledged.push_back(hash);
          read = blobs->Read(hash, 1 << 20);
        }
        ASSERT_TRUE(read.ok()) << read.status();
        ASSERT_TRUE(*read == bytes) << hash;
      }
    }
  }
}

// A sender goes on at NextOffset: what is before it must be there.
TEST_F(RocksFaultsTest, ALogHasNoHoleAfterAPowerFailure) {
  constexpr LogStreamKey kStream{{17, 1}, 0};
  for (const uint64_t seed : Seeds()) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Begin(seed);
    SeededRng rng(seed);
    for (int failure = 0; failure < kPowerFailures; ++failure) {
      {
        LogStore logs(store_.get(), LogStore::Options());
        const auto begin = logs.NextOffset(kStream, 1);
        ASSERT_TRUE(begin.ok()) << begin.status();
        uint64_t offset = *begin;
        disk_->CutPower(1 + rng.Below(kCallsMax));
        while (!disk_->is_power_cut()) {
          LogPiece piece{1, offset, absl::UnixEpoch(), RandomBytes(&rng, 1 + rng.Below(1000))};
          offset += piece.bytes.size();
          ASSERT_TRUE(logs.Append(kStream, {piece}, Durability::kBuffered).ok());
        }
      }
      ASSERT_NO_FATAL_FAILURE(LosePower());
      LogStore logs(store_.get(), LogStore::Options());
      uint64_t next = 0;
      LogStore::Query query;
      query.experiment = 17;
      query.bytes_max = 4 << 20;
      const auto page = logs.Read(query);
      ASSERT_TRUE(page.ok()) << page.status();
      ASSERT_FALSE(page->more);
      for (const LogStore::Entry& entry : page->entries) {
        ASSERT_EQ(entry.piece.offset, next);
        next += entry.piece.bytes.size();
      }
      ASSERT_EQ(*logs.NextOffset(kStream, 1), next);
    }
  }
}

// One at a time: two of them in one file can hide each other (the kind of checksum is in a table's footer, which has
// none itself). Blobs are safe from that as well, by their hashes.
TEST_F(RocksFaultsTest, AFlippedBitIsDataLossAndNeverOtherBytes) {
  Begin(1);
  SeededRng rng(1);
  std::map<std::string, std::string> expected;
  for (int i = 0; i < 200; ++i) {
    const std::string key = absl::StrCat("k", i);
    expected[key] = RandomBytes(&rng, rng.Below(10) == 0 ? 20'000 : 1000);
    ASSERT_TRUE(Put(store_.get(), {{key, expected[key]}}, Durability::kBuffered).ok());
  }
  int64_t num_data_losses = 0;
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(absl::StrCat("round ", round));
    ASSERT_NO_FATAL_FAILURE(Open());  // what is read comes from the disk
    RocksFaultyFileSystem::Faults faults;
    faults.bit_flip_rate = 1.0 / (1 + rng.Below(100));
    faults.bit_flips_max = 1;
    disk_->SetFaults(faults);
    for (const auto& [key, value] : expected) {
      const auto got = store_->Get(key);
      ASSERT_TRUE(got.ok() ? *got == value : absl::IsDataLoss(got.status())) << key << " " << got.status();
      if (!got.ok()) ++num_data_losses;
    }
    std::vector<KeyValue> walked;
    auto iterator = store_->NewIterator({});
    for (; iterator->Valid(); iterator->Next()) walked.emplace_back(iterator->key(), iterator->value());
    ASSERT_TRUE(iterator->status().ok() || absl::IsDataLoss(iterator->status())) << iterator->status();
    ASSERT_EQ(iterator->status().ok(), walked.size() == expected.size());
    iterator.reset();  // before its store
    for (const auto& [key, value] : walked) ASSERT_TRUE(value == expected[key]) << key;
    // What RocksDB has kept in memory of a file's head may stay wrong until it is opened again; nothing on the disk is.
    disk_->SetFaults({});
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_EQ(Difference(Scan(*store_, {}), expected), "");
  }
  EXPECT_GT(disk_->counts().num_bit_flips, 30);
  EXPECT_GT(num_data_losses, 0);
  std::cout << disk_->counts().num_bit_flips << " bits flipped, " << num_data_losses << " reads refused\n";
}

// A bit of a log that is turned over cannot always be told from a write that was torn at the log's end: then the store
// opens with the writes before it. It never opens with a hole, or with other bytes.
TEST_F(RocksFaultsTest, AFlippedBitInALogIsDataLossOrATornEnd) {
  int num_refused = 0;
  for (const uint64_t seed : Seeds()) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Begin(seed);
    SeededRng rng(seed);
    History history(seed);
    ASSERT_TRUE(WriteSome(store_.get(), *disk_, &rng, 100, &history).ok());
    store_.reset();
    RocksFaultyFileSystem::Faults faults;
    faults.log_bit_flip_rate = 0.2;
    disk_->SetFaults(faults);
    const absl::Status status = TryOpen();
    disk_->SetFaults({});
    if (status.ok()) {
      ASSERT_NO_FATAL_FAILURE(history.ExpectAndForgetTheRest(*store_, 0));
      continue;
    }
    ++num_refused;
    EXPECT_TRUE(absl::IsDataLoss(status) || absl::IsInvalidArgument(status) || absl::IsUnknown(status)) << status;
    ASSERT_NO_FATAL_FAILURE(Open());  // it was the reading that was wrong: nothing has been thrown away
    ASSERT_NO_FATAL_FAILURE(history.ExpectAndForgetTheRest(*store_, 0));
  }
  EXPECT_GT(num_refused, 0);
}

// How many of the seeds where RocksDB waits for a second after each error of its background threads.
constexpr int kNumErrorSeeds = 4;

// The first failed write ends the coordinator; what it had answered is there when it comes back.
TEST_F(RocksFaultsTest, AnErrorInAHundredLosesNothingThatWasWritten) {
  int num_errors = 0;
  for (const uint64_t seed : Seeds(kNumErrorSeeds)) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Begin(seed);
    SeededRng rng(seed);
    History history(seed);
    for (int start = 0; start < kPowerFailures; ++start) {
      RocksFaultyFileSystem::Faults faults;
      faults.write_error_rate = 0.01;
      faults.read_error_rate = 0.01;
      disk_->SetFaults(faults);
      const absl::Status status = WriteSome(store_.get(), *disk_, &rng, 2000, &history);
      if (!status.ok()) ++num_errors;
      EXPECT_TRUE(status.ok() || absl::IsUnknown(status)) << status;
      store_.reset();
      if (!TryOpen().ok()) store_.reset();  // may err as well: the next start is another try
      disk_->SetFaults({});
      ASSERT_NO_FATAL_FAILURE(Open());
      ASSERT_NO_FATAL_FAILURE(history.ExpectAndForgetTheRest(*store_, history.num_written()));
    }
  }
  EXPECT_GE(num_errors, kNumErrorSeeds);
}

TEST_F(RocksFaultsTest, AFullDiskIsSaidAndLosesNothing) {
  for (const uint64_t seed : Seeds(kNumErrorSeeds)) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Begin(seed);
    SeededRng rng(seed);
    History history(seed);
    RocksFaultyFileSystem::Faults faults;
    faults.free_bytes = rng.Below(1 << 20);
    disk_->SetFaults(faults);
    const absl::Status status = WriteSome(store_.get(), *disk_, &rng, 20'000, &history);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_GT(disk_->counts().num_refused_when_full, 0);
    EXPECT_EQ(CountKeys(*store_, {"last", "lasu"}), history.num_written() > 0 ? 1u : 0u) << "it can still be read";
    disk_->SetFaults({});
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_NO_FATAL_FAILURE(history.ExpectAndForgetTheRest(*store_, history.num_written()));
  }
}

}  // namespace
}  // namespace ursa
