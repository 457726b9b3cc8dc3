#include "storage/metric_log.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/kv_testing.h"
#include "storage/memory_kv_store.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr TrialKey kTrial{17, 1};

class MetricLogTest : public ::testing::Test {
 protected:
  MetricPoint Point(const std::string& name, uint64_t step, double value) {
    return {name, step, step / 10.0, value, absl::FromUnixMicros(1'700'000'000'000'000 + step)};
  }

  // "name@step=value" for each.
  static std::vector<std::string> Text(const std::vector<MetricPoint>& points) {
    std::vector<std::string> text;
    for (const MetricPoint& point : points) {
      text.push_back(point.name + "@" + std::to_string(point.step) + "=" +
                     std::to_string(static_cast<int>(point.value)));
    }
    return text;
  }

  std::vector<std::string> Read(const MetricLog::Query& query) {
    const auto page = log_.Read(query);
    EXPECT_TRUE(page.ok()) << page.status();
    return Text(page->points);
  }

  MetricLog::Query QueryOf(const std::string& name) {
    MetricLog::Query query;
    query.trial = kTrial;
    query.name = name;
    return query;
  }

  using Model = std::map<std::pair<std::string, uint64_t>, MetricPoint>;

  static std::set<std::string> NamesOf(const Model& model) {
    std::set<std::string> names;
    for (const auto& [key, point] : model) names.insert(key.first);
    return names;
  }

  // Each point of a random chart says what the points of its steps are, and all are in one.
  static void CheckChart(const MetricLog& log, const Model& model, SeededRng* rng, uint64_t spread) {
    MetricLog::ChartQuery query;
    query.trial = kTrial;
    query.name = "loss";
    query.points_max = static_cast<int64_t>(1 + rng->Below(50));
    if (rng->Below(3) != 0) {
      query.begin_step = rng->Below(spread * 4);
      query.last_step = query.begin_step + rng->Below(spread * 8);
    }
    const auto chart = log.Chart(query);
    ASSERT_TRUE(chart.ok()) << chart.status();
    ASSERT_LE(static_cast<int64_t>(chart->size()), query.points_max);
    auto next = model.lower_bound({"loss", query.begin_step});
    for (const MetricSummary& summary : *chart) {
      MetricSummary expected;
      for (; next != model.end() && next->first.first == "loss" && next->first.second <= summary.last_step; ++next) {
        const MetricPoint& point = next->second;
        expected.Merge(MetricSummary::Of({point.step, point.epoch, point.value, point.time}));
      }
      ASSERT_EQ(summary.count, expected.count);
      ASSERT_EQ(summary.first_step, expected.first_step);
      ASSERT_EQ(summary.last_step, expected.last_step);
      ASSERT_EQ(summary.min, expected.min);
      ASSERT_EQ(summary.max, expected.max);
      ASSERT_NEAR(summary.mean, expected.mean, 1e-9 * 1000);
    }
    ASSERT_TRUE(next == model.end() || next->first.first != "loss" || next->first.second > query.last_step);
  }

  MemoryKvStore store_;
  MetricLog log_{&store_, {}};
};

TEST_F(MetricLogTest, PointsComeBackToTheBit) {
  std::vector<MetricPoint> points;
  for (const double value : {0.1, -0.0, std::nan(""), std::numeric_limits<double>::infinity(), 5e-324}) {
    points.push_back(Point("loss", points.size(), value));
  }
  ASSERT_TRUE(log_.Append(kTrial, points, Durability::kSynced).ok());
  store_.Crash();
  const auto page = log_.Read(QueryOf("loss"));
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->points.size(), points.size());
  for (size_t i = 0; i < points.size(); ++i) {
    EXPECT_EQ(std::signbit(page->points[i].value), std::signbit(points[i].value));
    EXPECT_TRUE(page->points[i].value == points[i].value || std::isnan(points[i].value));
    EXPECT_EQ(page->points[i].epoch, points[i].epoch);
    EXPECT_EQ(page->points[i].time, points[i].time);
  }
}

TEST_F(MetricLogTest, SameNameAndStepReplaces) {
  ASSERT_TRUE(log_.Append(kTrial, {Point("loss", 1, 1), Point("loss", 2, 2)}, Durability::kBuffered).ok());
  ASSERT_TRUE(log_.Append(kTrial, {Point("loss", 2, 9), Point("acc", 2, 3)}, Durability::kBuffered).ok());
  EXPECT_THAT(Read(QueryOf("")), ElementsAre("acc@2=3", "loss@1=1", "loss@2=9"));
}

TEST_F(MetricLogTest, RangesOfStepsOfOneAndOfAllMetrics) {
  for (const char* name : {"a", "aa", "b"}) {
    for (uint64_t step = 0; step < 5; ++step) {
      ASSERT_TRUE(log_.Append(kTrial, {Point(name, 100 * step, step)}, Durability::kBuffered).ok());
    }
  }
  MetricLog::Query query = QueryOf("a");
  query.begin_step = 100;
  query.last_step = 300;
  EXPECT_THAT(Read(query), ElementsAre("a@100=1", "a@200=2", "a@300=3"));
  query.begin_step = 101;
  query.last_step = 299;
  EXPECT_THAT(Read(query), ElementsAre("a@200=2"));
  query.name = "";
  EXPECT_THAT(Read(query), ElementsAre("a@200=2", "aa@200=2", "b@200=2"));
  query.begin_step = 401;
  query.last_step = std::numeric_limits<uint64_t>::max();
  EXPECT_THAT(Read(query), IsEmpty());
  EXPECT_THAT(Read(QueryOf("none")), IsEmpty());
}

TEST_F(MetricLogTest, PagesGoOnWhereTheyEnded) {
  for (const char* name : {"a", "b"}) {
    for (uint64_t step = 0; step < 4; ++step) {
      ASSERT_TRUE(log_.Append(kTrial, {Point(name, step, step)}, Durability::kBuffered).ok());
    }
  }
  for (const std::string& name : {std::string(), std::string("b")}) {
    MetricLog::Query query = QueryOf(name);
    const std::vector<std::string> whole = Read(query);
    query.limit = 3;
    std::vector<std::string> parts;
    while (true) {
      const auto page = log_.Read(query);
      ASSERT_TRUE(page.ok());
      for (const std::string& text : Text(page->points)) parts.push_back(text);
      if (!page->more) break;
      query.after = {page->points.back().name, page->points.back().step};
    }
    EXPECT_EQ(parts, whole);
  }
}

TEST_F(MetricLogTest, NamesAndLastPoints) {
  EXPECT_THAT(*log_.ListNames(kTrial), IsEmpty());
  EXPECT_THAT(*log_.ReadLast(kTrial), IsEmpty());
  ASSERT_TRUE(
      log_.Append(kTrial, {Point("loss", 7, 1), Point("loss", 300, 2), Point("acc", 5, 3)}, Durability::kSynced).ok());
  ASSERT_TRUE(log_.Append({17, 2}, {Point("other", 1, 4)}, Durability::kSynced).ok());
  EXPECT_THAT(*log_.ListNames(kTrial), ElementsAre("acc", "loss"));
  EXPECT_THAT(Text(*log_.ReadLast(kTrial)), ElementsAre("acc@5=3", "loss@300=2"));
}

TEST_F(MetricLogTest, DeleteSparesOtherExperiments) {
  for (const TrialKey trial : {TrialKey{16, 9}, TrialKey{17, 0}, TrialKey{17, 1}, TrialKey{18, 0}}) {
    ASSERT_TRUE(log_.Append(trial, {Point("loss", 1, 1)}, Durability::kBuffered).ok());
  }
  ASSERT_TRUE(log_.DeleteExperiment(17).ok());
  EXPECT_EQ(CountKeys(store_, {}), 2u);
  EXPECT_THAT(*log_.ListNames({16, 9}), ElementsAre("loss"));
  EXPECT_THAT(*log_.ListNames({18, 0}), ElementsAre("loss"));
}

TEST_F(MetricLogTest, BadInputIsRefusedWhole) {
  EXPECT_EQ(log_.Append(kTrial, {Point("ok", 1, 1), Point("", 1, 1)}, Durability::kSynced).code(),
            absl::StatusCode::kInvalidArgument);
  MetricLog::Options options;
  options.append_points_max = 1;
  MetricLog small(&store_, options);
  const absl::Status status = small.Append(kTrial, {Point("a", 1, 1), Point("b", 1, 1)}, Durability::kSynced);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most 1 points a call, got 2"));
  EXPECT_EQ(CountKeys(store_, {}), 0u);
  MetricLog::Query query = QueryOf("a");
  query.limit = 0;
  EXPECT_EQ(log_.Read(query).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(MetricLogTest, DamageIsDataLoss) {
  ASSERT_TRUE(Put(&store_, {{MetricKey(kTrial, "loss", 1), "\x01short"}}).ok());
  EXPECT_EQ(log_.Read(QueryOf("loss")).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(log_.ReadLast(kTrial).status().code(), absl::StatusCode::kDataLoss);
}

// Rows and blocks together read as rows alone did, whatever comes in whatever order.
TEST_F(MetricLogTest, BlocksReadAsRowsDo) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    MemoryKvStore store;
    MetricLog::Options options;
    options.pack_rows = 4;
    MetricLog log(&store, options);
    SeededRng rng(seed);
    std::map<std::pair<std::string, uint64_t>, MetricPoint> model;
    const uint64_t spread = uint64_t{1} << (4 + rng.Below(40));
    uint64_t next = rng.Below(spread);
    for (int i = 0; i < 60; ++i) {
      std::vector<MetricPoint> points;
      for (uint64_t k = rng.Below(12); k > 0; --k) {
        if (rng.Below(20) == 0) next = rng.Below(next + 1);  // a restart replays
        next += 1 + rng.Below(spread / 16 + 1);
        points.push_back(Point(rng.Below(3) == 0 ? "acc" : "loss", next, static_cast<double>(rng.Below(1000))));
        model[{points.back().name, next}] = points.back();
      }
      ASSERT_TRUE(log.Append(kTrial, points, Durability::kBuffered).ok());
      if (i % 20 != 0) continue;
      ASSERT_EQ(log.ListNames(kTrial)->size(), NamesOf(model).size());
    }
    EXPECT_LT(CountKeys(store, PrefixRange(PrefixKey(KeyPrefix::kMetric))), 16u) << "few rows wait";
    std::vector<MetricPoint> all;
    for (const auto& [key, point] : model) all.push_back(point);
    const auto page = log.Read(QueryOf(""));
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_EQ(Text(page->points), Text(all)) << "seed " << seed;
    MetricLog restarted(&store, options);
    for (int i = 0; i < 20; ++i) CheckChart(restarted, model, &rng, spread);
    ASSERT_TRUE(restarted.DeleteExperiment(kTrial.experiment).ok());
    EXPECT_EQ(CountKeys(store, {}), 0u);
  }
}

TEST_F(MetricLogTest, ManyRowsOfAnOlderVersionReadTheSameAndAreMadeIntoBlocks) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (uint64_t step = 0; step < 3000; ++step) {
    rows.emplace_back(MetricKey(kTrial, "loss", step),
                      EncodeMetricRow({step, 0, static_cast<double>(step), absl::UnixEpoch()}));
  }
  ASSERT_TRUE(Put(&store_, rows).ok());
  EXPECT_EQ(Read(QueryOf("loss")).size(), 3000u);
  MetricLog::ChartQuery chart;
  chart.trial = kTrial;
  chart.name = "loss";
  chart.points_max = 100;
  const auto before = log_.Chart(chart);
  ASSERT_TRUE(before.ok()) << before.status();
  ASSERT_TRUE(log_.Append(kTrial, {Point("loss", 2999, 7)}, Durability::kSynced).ok());
  EXPECT_EQ(CountKeys(store_, PrefixRange(PrefixKey(KeyPrefix::kMetric))), 0u);
  const std::vector<std::string> after = Read(QueryOf("loss"));
  ASSERT_EQ(after.size(), 3000u);
  EXPECT_EQ(after.back(), "loss@2999=7");
  EXPECT_EQ(after[17], "loss@17=17");
  const auto summaries = log_.Chart(chart);
  EXPECT_EQ(summaries->back().min, 7);
  uint64_t count_before = 0, count = 0;
  for (const MetricSummary& summary : *before) count_before += summary.count;
  for (const MetricSummary& summary : *summaries) count += summary.count;
  EXPECT_EQ(count_before, 3000u);
  EXPECT_EQ(count, 3000u);
}

}  // namespace
}  // namespace ursa
