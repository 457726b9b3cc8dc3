// Pools whose workers come on demand.
#include "coordinator/core/pool_offer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "coordinator/core/coordinator_testing.h"

namespace ursa {
namespace {

TEST(ParseElasticPoolsTest, SaysWhatEachPoolMayHave) {
  const auto pools = ParseElasticPools("gpu=cuda:16x4:32:avx512,batch=cpu:8x2:4");
  ASSERT_TRUE(pools.ok()) << pools.status();
  ASSERT_EQ(pools->size(), 2u);
  const ElasticPool& gpu = pools->at("gpu");
  EXPECT_EQ(gpu.kind, "cuda");
  EXPECT_EQ(gpu.workers_max, 16);
  EXPECT_EQ(gpu.worker_slots, 4);
  EXPECT_EQ(gpu.worker_cores, 32);
  EXPECT_EQ(gpu.simd, "avx512");
  EXPECT_EQ(pools->at("batch").simd, "x86-64-v2");
}

TEST(ParseElasticPoolsTest, SaysWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"gpu", "hint: KIND:WORKERSxSLOTS:CORES"},
      {"gpu=cuda:16:4", "hint: KIND:WORKERSxSLOTS:CORES"},
      {"gpu=tpu:16x4:4", "kind is \"tpu\", may be cpu or cuda"},
      {"gpu=cuda:0x4:4", "workers are \"0\", may be 1 to 10000"},
      {"gpu=cuda:1x2000:4", "slots of a worker are \"2000\", may be 1 to 1024"},
      {"gpu=cuda:1x2:-4", "cores of a worker are \"-4\", may be 1 to 4096"},
      {"gpu=cuda:1x2:4:sse", "instruction set is \"sse\""},
      {"gpu=cuda:1x2:4,gpu=cuda:1x2:4", "is given twice"},
      {"Gpu=cuda:1x2:4", "Gpu"},
      {"gpu=cuda:1x2:4,", "elastic pool"},
  };
  for (const auto& [text, expected] : cases) {
    const auto pools = ParseElasticPools(text);
    EXPECT_EQ(pools.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(std::string(pools.status().message()).find(expected), std::string::npos) << pools.status();
  }
}

class ElasticPoolTest : public ::testing::Test {
 protected:
  ElasticPoolTest() {
    harness_.options().elastic_pools["batch"] = {"cpu", /*workers_max=*/2, /*worker_slots=*/1, /*worker_cores=*/3,
                                                 "avx2"};
    harness_.Restart();
    harness_.Connect(&head_);
    harness_.MakeDataset(&head_, "bears");
  }

  absl::StatusOr<v1::Experiment> Submit(const std::string& resources) {
    return harness_.Create(Harness::Recipe("bears", resources));
  }

  Harness harness_;
  FakeWorker head_{"head", 1};  // in the pool "default"
};

TEST_F(ElasticPoolTest, TakesExperimentsWithoutAWorkerAndRunsThemWhenTheyCome) {
  const auto waits = Submit("slots_per_trial: 2 pool: 'batch'");
  ASSERT_TRUE(waits.ok()) << waits.status();
  EXPECT_EQ(waits->state(), v1::Experiment::STATE_QUEUED);
  EXPECT_EQ(waits->spec().execution().threads_per_rank(), 3);
  EXPECT_EQ(waits->spec().execution().simd(), "avx2");
  const auto queue = harness_.Read<v1::ListQueueResponse>(
      [&](const Tx& tx) { return harness_.coordinator().scheduler().ListQueue(tx, v1::ListQueueRequest()); });
  ASSERT_EQ(queue->items_size(), 1);
  EXPECT_EQ(queue->items(0).pool(), "batch");
  EXPECT_EQ(queue->items(0).kind(), "cpu");
  EXPECT_EQ(queue->items(0).slots(), 2);

  FakeWorker first("b1", 1), second("b2", 1);
  for (FakeWorker* worker : {&first, &second}) {
    EXPECT_EQ(harness_.Get(waits->experiment_id()).state(), v1::Experiment::STATE_QUEUED);
    worker->hello().set_pool("batch");
    harness_.Connect(worker);
  }
  EXPECT_NE(first.FindOrder(TaskOf(waits->experiment_id())), nullptr);
  EXPECT_NE(second.FindOrder(TaskOf(waits->experiment_id())), nullptr);
}

TEST_F(ElasticPoolTest, RefusesWhatItWillNeverHold) {
  EXPECT_EQ(Submit("slots_per_trial: 3 pool: 'batch'").status().message(),
            "resources.slots_per_trial: 3 slots asked for, pool \"batch\" has 2");
  EXPECT_EQ(Submit("slots_per_trial: 1 pool: 'attic'").status().message(),
            "resources.pool: pool \"attic\" has no worker (hint: of default)");
}

}  // namespace
}  // namespace ursa
