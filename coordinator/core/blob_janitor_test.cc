// Blobs that nothing refers to any more: when they are deleted, and for whom they are kept.
#include "coordinator/core/blob_janitor.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/digest.h"
#include "coordinator/core/coordinator_testing.h"

namespace ursa {
namespace {

class BlobJanitorTest : public ::testing::Test {
 protected:
  BlobJanitorTest() { harness_.Connect(&worker_); }

  // Trains until the checkpoint at step 5 has been dropped.
  void DropACheckpoint() {
    harness_.MakeDataset(&worker_, "bears");
    ASSERT_TRUE(harness_.Submit("bears").ok());
    for (int64_t step = 5; step <= 15; step += 5) {
      harness_.Checkpoint(&worker_, "t1.1", 1, step, 1.0 / static_cast<double>(step));
    }
  }

  const std::string dropped_ = Sha256Hex("optimizer of t1.1 at 5");
  Harness harness_;
  FakeWorker worker_;
};

TEST_F(BlobJanitorTest, DroppedCheckpointsAreDeletedAfterAWhile) {
  harness_.MakeDataset(&worker_, "bears");
  ASSERT_TRUE(harness_.Submit("bears").ok());
  harness_.Checkpoint(&worker_, "t1.1", 1, 5, 0.5);
  harness_.Checkpoint(&worker_, "t1.1", 1, 10, 0.25);
  harness_.Checkpoint(&worker_, "t1.1", 1, 15, 0.75);
  EXPECT_TRUE(harness_.blobs().Stat(Sha256Hex("model of t1.1 at 5")).ok());
  harness_.Advance(absl::Seconds(120), {&worker_});
  EXPECT_EQ(harness_.blobs().Stat(Sha256Hex("model of t1.1 at 5")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(harness_.blobs().Stat(Sha256Hex("model of t1.1 at 10")).ok());  // the best
  EXPECT_TRUE(harness_.blobs().Stat(Sha256Hex("model of t1.1 at 15")).ok());  // the latest
}

TEST_F(BlobJanitorTest, AnOutageDoesNotCountForTheAgeOfGarbage) {
  DropACheckpoint();
  harness_.Restart(absl::Seconds(600));
  harness_.Connect(&worker_);
  harness_.Advance(absl::Seconds(50), {&worker_});
  // Its agent had brought it before, and could not say so yet.
  EXPECT_TRUE(harness_.blobs().Stat(dropped_).ok());
  harness_.Advance(absl::Seconds(20), {&worker_});
  EXPECT_EQ(harness_.blobs().Stat(dropped_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(BlobJanitorTest, WhoStoresABlobThatIsBeingDeletedWaitsForThat) {
  DropACheckpoint();
  BlobJanitor& janitor = harness_.coordinator().janitor();
  harness_.Advance(absl::Seconds(50), {&worker_});
  std::unique_ptr<BlobJanitor::Hold> hold = janitor.TryHold({dropped_}, [] {});
  ASSERT_NE(hold, nullptr);
  harness_.Advance(absl::Seconds(100), {&worker_});
  EXPECT_TRUE(harness_.blobs().Stat(dropped_).ok());  // held
  hold = nullptr;
  harness_.Advance(absl::Seconds(59), {&worker_});
  EXPECT_TRUE(harness_.blobs().Stat(dropped_).ok());  // there is time to name it
  harness_.clock().Advance(absl::Seconds(2));
  harness_.coordinator().Tick();  // begins to delete it
  bool is_over = false;
  EXPECT_EQ(janitor.TryHold({dropped_}, [&is_over] { is_over = true; }), nullptr);
  EXPECT_FALSE(is_over);
  harness_.Pump();
  EXPECT_TRUE(is_over);
  EXPECT_NE(janitor.TryHold({dropped_}, [] {}), nullptr);
}

TEST_F(BlobJanitorTest, AnImportOfAListThatIsBeingDeletedDoesNotBegin) {
  const std::vector<std::string> labels = {"black", "grizzly"};
  ASSERT_TRUE(harness_.StartImport("bears", labels).ok());
  harness_.ReportIngest(&worker_, "a1", 1, 2);
  v1::ImportDatasetRequest request;
  request.set_dataset("bears");
  request.set_split("random:0.5:seed=42");
  {
    const Tx tx(harness_.coordinator().env().commit);
    request.set_candidates_hash(tx.state().Find<records::ImportRecord>(1)->candidates_hash());
  }
  harness_.Advance(absl::Seconds(59), {&worker_});
  ASSERT_TRUE(harness_.blobs().Stat(request.candidates_hash()).ok());
  harness_.clock().Advance(absl::Seconds(2));
  harness_.coordinator().Tick();  // nothing refers to the list any more
  const auto import = harness_.Call<v1::Import>([&](Done<v1::Import> done) {
    harness_.coordinator().imports().Start(MakeRequestKey(harness_.admin(), "I", request), request, std::move(done));
  });
  EXPECT_EQ(import.status().code(), absl::StatusCode::kNotFound) << import.status();
}

}  // namespace
}  // namespace ursa
