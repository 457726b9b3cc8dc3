// The stores over the real database: what survives the death of the process, and a disk that is full.
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/log.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/blob_store.h"
#include "storage/blob_stream.h"
#include "storage/keys.h"
#include "storage/kv_testing.h"
#include "storage/log_store.h"
#include "storage/metric_log.h"
#include "storage/prediction_ledger.h"
#include "storage/record_store.h"
#include "storage/rocks_kv_store.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;

constexpr TrialKey kTrial{17, 1};

std::string RandomBytes(size_t size, uint64_t seed) {
  SeededRng rng(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(rng.Next());
  return bytes;
}

// All stores over one folder.
struct Stores {
  explicit Stores(const std::string& folder) {
    auto opened = RocksKvStore::Open(folder, {});
    URSA_CHECK_OK(opened.status());
    kv = *std::move(opened);
    URSA_CHECK_OK(CheckStoreFormat(kv.get()));
    auto opened_blobs = BlobStore::Open(kv.get(), Clock::Real(), {});
    URSA_CHECK_OK(opened_blobs.status());
    blobs = *std::move(opened_blobs);
    records = std::make_unique<RecordStore>(kv.get());
    metrics = std::make_unique<MetricLog>(kv.get(), MetricLog::Options());
    logs = std::make_unique<LogStore>(kv.get(), LogStore::Options());
    ledger = std::make_unique<PredictionLedger>(kv.get(), PredictionLedger::Options());
  }

  std::unique_ptr<KvStore> kv;
  std::unique_ptr<BlobStore> blobs;
  std::unique_ptr<RecordStore> records;
  std::unique_ptr<MetricLog> metrics;
  std::unique_ptr<LogStore> logs;
  std::unique_ptr<PredictionLedger> ledger;
};

class RocksStoresTest : public ::testing::Test {
 protected:
  RocksStoresTest() {
    std::string pattern = ::testing::TempDir() + "/stores_XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~RocksStoresTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

TEST_F(RocksStoresTest, EverythingSurvivesTheDeathOfTheProcess) {
  std::vector<BlobStore::Blob> small;
  for (int i = 0; i < 60; ++i) {
    std::string bytes = RandomBytes(100'000 + i, i);
    small.push_back({Sha256Hex(bytes), bytes});
  }
  const std::string large = RandomBytes((5 << 20) + 17, 1000);
  const PredictionSource source{Sha256Hex("artifact"), Sha256Hex("transforms")};
  const pid_t child = fork();
  if (child == 0) {
    Stores stores(folder_);
    URSA_CHECK_OK(stores.blobs->PutMany(small));
    auto writer = stores.blobs->OpenWriter(Sha256Hex(large), large.size());
    URSA_CHECK_OK(writer.status());
    URSA_CHECK_OK((*writer)->Append(0, std::string_view(large).substr(0, (3 << 20) + 5)));
    RecordBatch batch;
    batch.PutBytes("experiments", "e17", "record");
    batch.AddEventBytes(1, "event");
    URSA_CHECK_OK(stores.records->Commit(batch));
    URSA_CHECK_OK(stores.metrics->Append(kTrial, {{"loss", 3, 0.5, 0.25, absl::UnixEpoch()}}, Durability::kBuffered));
    URSA_CHECK_OK(stores.logs->Append({kTrial, 0}, {{1, 0, absl::UnixEpoch(), "hello\n"}}, Durability::kBuffered));
    URSA_CHECK_OK(stores.ledger->Put(source, {{small[0].hash, {1, 2}}}));
    _exit(0);  // nothing is closed
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);

  for (int round = 0; round < 2; ++round) {
    Stores stores(folder_);
    for (const BlobStore::Blob& blob : small) EXPECT_TRUE(*stores.blobs->Read(blob.hash, 1 << 20) == blob.bytes);
    if (round == 0) {
      const auto writer = stores.blobs->OpenWriter(Sha256Hex(large), large.size());
      ASSERT_TRUE(writer.ok()) << writer.status();
      EXPECT_EQ((*writer)->offset(), uint64_t{3} << 20);
      ASSERT_TRUE((*writer)->Append(3 << 20, std::string_view(large).substr(3 << 20)).ok());
      ASSERT_TRUE((*writer)->Commit().ok());
    }
    EXPECT_TRUE(*stores.blobs->Read(Sha256Hex(large), large.size()) == large);
    EXPECT_EQ(**stores.records->Get("experiments", "e17"), "record");
    EXPECT_EQ(stores.records->ReadEvents(0, 10)->at(0).bytes, "event");
    EXPECT_EQ(stores.metrics->ReadLast(kTrial)->at(0).value, 0.25);
    LogStore::Query query;
    query.experiment = 17;
    EXPECT_EQ(stores.logs->Read(query)->entries.at(0).piece.bytes, "hello\n");
    const auto matrix = stores.ledger->Read(*stores.ledger->Snapshot(), source, {small[0].hash});
    ASSERT_TRUE(matrix.ok()) << matrix.status();
    EXPECT_THAT(matrix->logits, ElementsAre(1, 2));
  }
}

// Points that come one by one, are made into blocks, and are told again by a rank that has taken another's place.
TEST_F(RocksStoresTest, TheMetricsOfALongTraining) {
  const Stores stores(folder_);
  constexpr uint64_t kSteps = 3000;
  const std::vector<std::string> names = {"accuracy", "error_rate", "train_loss", "valid_loss"};
  const auto tell = [&](uint64_t step) {
    std::vector<MetricPoint> points;
    for (const std::string& name : names) {
      const auto at = static_cast<double>(step);
      points.push_back({name, step, at / 100, 1 / at, absl::UnixEpoch()});
    }
    ASSERT_TRUE(stores.metrics->Append(kTrial, points, Durability::kBuffered).ok());
  };
  for (uint64_t step = 1; step <= kSteps; ++step) {
    tell(step);
    if (step % 700 != 0) continue;
    for (uint64_t again = step - 400; again <= step; ++again) tell(again);
  }
  for (const std::string& name : names) {
    MetricLog::Query query;
    query.trial = kTrial;
    query.name = name;
    const auto page = stores.metrics->Read(query);
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_EQ(page->points.size(), kSteps) << name;
    EXPECT_EQ(page->points.back().step, kSteps);
  }
}

TEST_F(RocksStoresTest, LargeDeletesLeaveOtherBlobsWhole) {
  Stores stores(folder_);
  const std::string large = RandomBytes(70 << 20, 1);  // enough chunks for a range delete
  const std::string hash = *stores.blobs->Put(large);
  const std::string kept = *stores.blobs->Put("kept");
  EXPECT_EQ(*stores.blobs->Delete({hash}), large.size());
  EXPECT_EQ(stores.blobs->Stat(hash).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*stores.blobs->Read(kept, 10), "kept");
  EXPECT_EQ(CountKeys(*stores.kv, PrefixRange(PrefixKey(KeyPrefix::kChunk))), 1u);
}

// A real file system of 48 MiB, which takes the right to mount one.
TEST_F(RocksStoresTest, AFullDiskIsResourceExhaustedAndLosesNothing) {
  if (mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=48m") != 0) {
    GTEST_SKIP() << "mounting a small file system takes root";
  }
  const std::string path = folder_ + "/data";
  for (const bool by_load : {true, false}) {
    std::vector<std::string> hashes;
    {
      Stores stores(path);
      absl::Status status;
      for (int i = 0; i < 40 && status.ok(); ++i) {
        const std::string bytes = RandomBytes(by_load ? 6 << 20 : 2 << 20, 100 * by_load + i);
        status = stores.blobs->PutMany({{Sha256Hex(bytes), bytes}});
        if (status.ok()) hashes.push_back(Sha256Hex(bytes));
      }
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
      EXPECT_GE(hashes.size(), 2u);
      for (const std::string& hash : hashes) EXPECT_TRUE(stores.blobs->Read(hash, 1 << 30).ok()) << hash;
    }
    ASSERT_EQ(mount("tmpfs", folder_.c_str(), "tmpfs", MS_REMOUNT, "size=512m"), 0);
    {
      Stores stores(path);
      for (const std::string& hash : hashes) EXPECT_TRUE(stores.blobs->Read(hash, 1 << 30).ok()) << hash;
      EXPECT_TRUE(stores.blobs->Put("room again").ok());
    }
    std::filesystem::remove_all(path);
    ASSERT_EQ(mount("tmpfs", folder_.c_str(), "tmpfs", MS_REMOUNT, "size=48m"), 0);
  }
  EXPECT_EQ(umount(folder_.c_str()), 0);
}

}  // namespace
}  // namespace ursa
