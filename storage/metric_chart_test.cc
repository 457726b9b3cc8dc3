// What a chart of very many points reads: counted, not timed.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "gtest/gtest.h"
#include "storage/keys.h"
#include "storage/kv_testing.h"
#include "storage/metric_log.h"
#include "storage/rocks_kv_store.h"

namespace ursa {
namespace {

constexpr TrialKey kTrial{17, 1};
constexpr uint64_t kNumPoints = 10'000'000;

// Counts values that leave the store.
class CountingIterator : public KvIterator {
 public:
  CountingIterator(std::unique_ptr<KvIterator> base, int64_t* num_reads) : base_(std::move(base)), reads_(num_reads) {
    *reads_ += base_->Valid() ? 1 : 0;
  }
  bool Valid() const override { return base_->Valid(); }
  void Next() override {
    base_->Next();
    *reads_ += base_->Valid() ? 1 : 0;
  }
  void Seek(std::string_view key) override {
    base_->Seek(key);
    *reads_ += base_->Valid() ? 1 : 0;
  }
  std::string_view key() const override { return base_->key(); }
  std::string_view value() const override { return base_->value(); }
  absl::Status status() const override { return base_->status(); }

 private:
  std::unique_ptr<KvIterator> base_;
  int64_t* const reads_;
};

class CountingReader : public KvReader {
 public:
  CountingReader(std::unique_ptr<KvReader> base, int64_t* num_reads) : base_(std::move(base)), reads_(num_reads) {}
  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const override {
    ++*reads_;
    return base_->Get(key);
  }
  absl::StatusOr<std::vector<std::optional<std::string>>> MultiGet(
      const std::vector<std::string>& keys) const override {
    *reads_ += static_cast<int64_t>(keys.size());
    return base_->MultiGet(keys);
  }
  std::unique_ptr<KvIterator> NewIterator(const KeyRange& range) const override {
    return std::make_unique<CountingIterator>(base_->NewIterator(range), reads_);
  }
  absl::StatusOr<std::optional<std::string>> LastKey(const KeyRange& range) const override {
    ++*reads_;
    return base_->LastKey(range);
  }

 private:
  std::unique_ptr<KvReader> base_;
  int64_t* const reads_;
};

// Counts what is read through snapshots, as readers of metrics do.
class CountingStore : public KvStore {
 public:
  explicit CountingStore(KvStore* base) : base_(*base) {}
  int64_t TakeNumReads() { return std::exchange(num_reads_, 0); }

  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const override { return base_.Get(key); }
  absl::StatusOr<std::vector<std::optional<std::string>>> MultiGet(
      const std::vector<std::string>& keys) const override {
    return base_.MultiGet(keys);
  }
  std::unique_ptr<KvIterator> NewIterator(const KeyRange& range) const override { return base_.NewIterator(range); }
  absl::StatusOr<std::optional<std::string>> LastKey(const KeyRange& range) const override {
    return base_.LastKey(range);
  }
  absl::Status Write(const WriteBatch& batch, Durability durability) override { return base_.Write(batch, durability); }
  std::unique_ptr<SortedLoad> NewSortedLoad() override { return base_.NewSortedLoad(); }
  std::unique_ptr<KvReader> Snapshot() const override {
    return std::make_unique<CountingReader>(base_.Snapshot(), &num_reads_);
  }

 private:
  KvStore& base_;
  mutable int64_t num_reads_ = 0;
};

double ValueAt(uint64_t step) { return step == 7'654'321 ? 1e6 : static_cast<double>(step % 1000); }

TEST(MetricChartTest, TenMillionPointsAskForAThousand) {
  const std::string folder = testing::TempDir() + "/chart_" + RandomHex(4);
  auto rocks = RocksKvStore::Open(folder, {});
  ASSERT_TRUE(rocks.ok()) << rocks.status();
  CountingStore store(rocks->get());
  MetricLog log(&store, {});
  std::vector<MetricPoint> points(100'000, MetricPoint{"loss", 0, 0, 0, absl::FromUnixSeconds(1'700'000'000)});
  for (uint64_t begin = 0; begin < kNumPoints; begin += points.size()) {
    for (size_t i = 0; i < points.size(); ++i) {
      points[i].step = begin + i;
      points[i].value = ValueAt(begin + i);
    }
    ASSERT_TRUE(log.Append(kTrial, points, Durability::kBuffered).ok());
  }
  // A replay after a restart, not yet in blocks.
  points.resize(200);
  for (size_t i = 0; i < points.size(); ++i) points[i] = {"loss", kNumPoints - 300 + i, 0, -5, absl::UnixEpoch()};
  ASSERT_TRUE(log.Append(kTrial, points, Durability::kBuffered).ok());

  MetricLog::ChartQuery query;
  query.trial = kTrial;
  query.name = "loss";
  store.TakeNumReads();
  auto chart = log.Chart(query);
  ASSERT_TRUE(chart.ok()) << chart.status();
  const int64_t num_reads = store.TakeNumReads();
  EXPECT_LE(num_reads, 200 + 100 + 20) << "the rows, the blocks of a level, and the way to both ends";
  EXPECT_LE(chart->size(), 1000u);
  EXPECT_GE(chart->size(), 950u);
  MetricSummary whole;
  for (const MetricSummary& summary : *chart) {
    whole.Merge(summary);
    const bool has_spike = summary.first_step <= 7'654'321 && summary.last_step >= 7'654'321;
    EXPECT_EQ(summary.max, has_spike ? 1e6 : 999) << summary.first_step;
    EXPECT_EQ(summary.min, summary.last_step == kNumPoints - 1 ? -5 : 0) << summary.first_step;
  }
  EXPECT_EQ(whole.count, kNumPoints);
  EXPECT_NEAR(whole.mean, 499.5 + 1e6 / kNumPoints - 200 * (799.5 + 5) / kNumPoints, 0.005);

  // Closer and closer: the answer is as long, and what is read does not grow.
  for (uint64_t range = 1'000'000; range >= 1'000; range /= 10) {
    query.begin_step = 7'654'321 - range / 3;
    query.last_step = query.begin_step + range - 1;
    chart = log.Chart(query);
    ASSERT_TRUE(chart.ok()) << chart.status();
    EXPECT_LE(store.TakeNumReads(), 1000) << range;
    EXPECT_GE(chart->size(), 480u) << range;
    EXPECT_LE(chart->size(), 1000u) << range;
    EXPECT_EQ(chart->front().first_step, query.begin_step);
    EXPECT_EQ(chart->back().last_step, query.last_step);
    uint64_t count = 0;
    for (const MetricSummary& summary : *chart) count += summary.count;
    EXPECT_EQ(count, range);
  }
  rocks->reset();
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace ursa
