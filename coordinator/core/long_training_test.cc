// A training of thousands of steps over the real database: points are packed, those after a checkpoint come again after
// a restart, a log beyond its limit loses its middle. All of it deletes ranges of what was written a moment before.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "coordinator/core/coordinator_testing.h"
#include "coordinator/core/log_reader.h"
#include "storage/metric_log.h"
#include "storage/rocks_kv_store.h"

namespace ursa {
namespace {

constexpr char kTask[] = "t1.1";
constexpr int64_t kSteps = 6000;
constexpr int64_t kMessageSteps = 50;
constexpr int64_t kCheckpointSteps = 1000;
constexpr int64_t kLineBytes = 8 << 10;  // a step's: 48 MB in all, of which 32 are kept

double LossAt(int64_t step) { return 1.0 / static_cast<double>(step); }
double RateAt(int64_t step) { return 1e-3 * static_cast<double>(step % 97); }

std::unique_ptr<KvStore> OpenStore() {
  auto store = RocksKvStore::Open(testing::TempDir() + "/long_training", {});
  URSA_CHECK_OK(store.status());
  return *std::move(store);
}

class LongTrainingTest : public ::testing::Test {
 protected:
  LongTrainingTest() : harness_(std::in_place, store_.get()) {
    harness_->Connect(&worker_);
    harness_->MakeDataset(&worker_, "bears");
    EXPECT_TRUE(harness_->Submit("bears", 1, "max_restarts: 10").ok());
  }

  int64_t Epoch() const {
    const worker::v1::TaskOrder* order = worker_.FindOrder(kTask);
    return order == nullptr ? 0 : order->assignment().epoch();
  }
  int64_t ResumedFrom() const { return worker_.FindOrder(kTask)->assignment().train().resumed_from_step(); }

  // Steps after `begin` up to `end`, with a checkpoint at each kCheckpointSteps.
  void Train(int64_t begin, int64_t end) {
    int64_t printed = 0;  // by this process
    for (int64_t step = begin; step < end; step += kMessageSteps) {
      worker::v1::TaskEvent metrics;
      worker::v1::TaskEvent log;
      log.mutable_log()->set_offset(printed);
      for (int64_t s = step + 1; s <= step + kMessageSteps; ++s) {
        AddPoint("train_loss", s, LossAt(s), &metrics);
        AddPoint("lr", s, RateAt(s), &metrics);
        const std::string line = absl::StrCat("step ", absl::Dec(s, absl::kZeroPad6), " ");
        log.mutable_log()->mutable_data()->append(line + std::string(kLineBytes - line.size() - 1, '.') + "\n");
      }
      printed += static_cast<int64_t>(log.log().data().size());
      harness_->Report(&worker_, kTask, Epoch(), 0, std::move(metrics));
      harness_->Report(&worker_, kTask, Epoch(), 0, std::move(log));
      if ((step + kMessageSteps) % kCheckpointSteps == 0) {
        harness_->Checkpoint(&worker_, kTask, Epoch(), step + kMessageSteps, 0.5, step + kMessageSteps == kSteps);
      }
    }
  }
  void Die() {
    const int64_t epoch = Epoch();
    harness_->Exit(&worker_, kTask, epoch, 0, 9);
    harness_->Advance(absl::Seconds(30), {&worker_});
    ASSERT_EQ(Epoch(), epoch + 1);
  }

  // That each step's points are there, once.
  static void CheckPoints(const MetricLog& metrics, int64_t num_steps) {
    for (const auto& [name, value_at] : {std::pair{"train_loss", &LossAt}, std::pair{"lr", &RateAt}}) {
      MetricLog::Query query;
      query.trial = {1, 1};
      query.name = name;
      const auto page = metrics.Read(query);
      ASSERT_TRUE(page.ok()) << page.status();
      ASSERT_EQ(page->points.size(), static_cast<size_t>(num_steps)) << name;
      for (int64_t i = 0; i < num_steps; ++i) {
        ASSERT_EQ(page->points[static_cast<size_t>(i)].step, static_cast<uint64_t>(i + 1)) << name;
        ASSERT_EQ(page->points[static_cast<size_t>(i)].value, value_at(i + 1)) << name << " at step " << i + 1;
      }
    }
  }
  int64_t CountLines(const std::string& pattern) {
    v1::ReadLogsRequest request;
    request.set_parent("experiments/e1");
    request.set_pattern(pattern);
    auto reader = LogReader::Make(&harness_->coordinator().env(), request);
    EXPECT_TRUE(reader.ok()) << reader.status();
    int64_t count = 0;
    while (reader.ok()) {
      const auto page = (*reader)->Next(1);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) break;
      // The mark of what was cut is there whatever is asked for.
      count += std::count_if(page->response.lines().begin(), page->response.lines().end(),
                             [](const v1::LogLine& line) { return line.text().rfind("step", 0) == 0; });
      if (page->is_end) break;
    }
    return count;
  }

  std::unique_ptr<KvStore> store_ = OpenStore();
  std::optional<Harness> harness_;
  FakeWorker worker_;

 private:
  static void AddPoint(const char* name, int64_t step, double value, worker::v1::TaskEvent* event) {
    auto* point = event->mutable_metrics()->add_points();
    point->set_name(name);
    point->set_step(step);
    point->set_value(value);
  }
};

TEST_F(LongTrainingTest, EachStepIsThereOnceAfterRestartsOfAll) {
  Train(0, 1700);
  Die();
  ASSERT_EQ(ResumedFrom(), 1000);
  CheckPoints(*harness_->coordinator().env().metrics, 1700);  // until they come again
  Train(1000, 3600);
  harness_->Restart();
  harness_->Connect(&worker_);
  CheckPoints(*harness_->coordinator().env().metrics, 3600);  // its process goes on
  Die();
  ASSERT_EQ(ResumedFrom(), 3000);
  Train(3000, kSteps);
  harness_->Finish(&worker_, kTask, Epoch(), 0, worker::v1::TaskFinished::OUTCOME_COMPLETED);
  EXPECT_EQ(harness_->Get("e1").state(), v1::Experiment::STATE_COMPLETED);

  EXPECT_EQ(CountLines("^step 000001 "), 1);
  EXPECT_EQ(CountLines("^step 002000 "), 0);  // cut out
  EXPECT_EQ(CountLines("^step 006000 "), 1);

  harness_.reset();
  store_ = nullptr;
  store_ = OpenStore();
  CheckPoints(MetricLog(store_.get(), MetricLog::Options()), kSteps);
}

}  // namespace
}  // namespace ursa
