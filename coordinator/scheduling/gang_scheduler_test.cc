#include "coordinator/scheduling/gang_scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace ursa {
namespace {

SchedulerWorker Worker(int64_t id, int32_t num_free, const std::string& kind = "cpu", int32_t simd_level = 0) {
  SchedulerWorker worker{id, kind, simd_level, {}};
  worker.free_slots.resize(static_cast<size_t>(num_free));
  std::iota(worker.free_slots.begin(), worker.free_slots.end(), 0);
  return worker;
}
WaitingGang Gang(int64_t id, int32_t num_ranks, const std::string& kind = "cpu", int32_t simd_level = 0) {
  return {id, kind, simd_level, num_ranks};
}
std::vector<int64_t> Started(const std::vector<GangPlacement>& placements) {
  std::vector<int64_t> ids;
  for (const GangPlacement& placement : placements) ids.push_back(placement.gang_id);
  return ids;
}

TEST(GangSchedulerTest, StartsInOrderWhatFits) {
  EXPECT_EQ(Started(ScheduleGangs({Worker(1, 2), Worker(2, 2)}, {}, {Gang(1, 3), Gang(2, 1), Gang(3, 1)})),
            (std::vector<int64_t>{1, 2}));
}

TEST(GangSchedulerTest, PrefersTheTightestWorkerThenTheFewest) {
  const auto tight = ScheduleGangs({Worker(1, 4), Worker(2, 2), Worker(3, 3)}, {}, {Gang(1, 2)});
  EXPECT_EQ(tight[0].ranks, (std::vector<RankPlace>{{2, 0}, {2, 1}}));
  const auto spread = ScheduleGangs({Worker(1, 1), Worker(2, 3), Worker(3, 2)}, {}, {Gang(1, 5)});
  EXPECT_EQ(spread[0].ranks, (std::vector<RankPlace>{{2, 0}, {2, 1}, {2, 2}, {3, 0}, {3, 1}}));
}

TEST(GangSchedulerTest, KindsDoNotMixAndDoNotBlockEachOther) {
  EXPECT_EQ(Started(ScheduleGangs({Worker(1, 1, "cpu"), Worker(2, 1, "cuda")}, {{"cuda", 1}},
                                  {Gang(1, 2, "cuda"), Gang(2, 1, "cpu")})),
            (std::vector<int64_t>{2}));
}

TEST(GangSchedulerTest, WeakerMachinesAreNotUsed) {
  EXPECT_TRUE(ScheduleGangs({Worker(1, 2, "cpu", 1)}, {}, {Gang(1, 1, "cpu", 2)}).empty());
  EXPECT_EQ(
      ScheduleGangs({Worker(1, 2, "cpu", 1), Worker(2, 1, "cpu", 2)}, {}, {Gang(1, 1, "cpu", 2)})[0].ranks[0].worker_id,
      2);
}

TEST(GangSchedulerTest, BackfillTakesOnlyWhatTheHeadCannotUse) {
  // 1 slot is free, gangs of 3 and 2 run, the head needs 3: it starts when either ends, with 1 to spare in the worst
  // case of 1 + 2 = 3: none.
  EXPECT_TRUE(ScheduleGangs({Worker(1, 1)}, {{"cpu", 3}, {"cpu", 2}}, {Gang(1, 3), Gang(2, 1)}).empty());
  // One gang of 4 runs: whenever it ends, 5 are free, the head needs 4. The free one may be used.
  EXPECT_EQ(Started(ScheduleGangs({Worker(1, 1)}, {{"cpu", 4}}, {Gang(1, 4), Gang(2, 1)})), (std::vector<int64_t>{2}));
}

TEST(GangSchedulerTest, AGangThatTheClusterCannotHoldBlocksNobody) {
  EXPECT_EQ(Started(ScheduleGangs({Worker(1, 2)}, {}, {Gang(1, 5), Gang(2, 2)})), (std::vector<int64_t>{2}));
}

// When the head starts if the running gangs end in this order and nothing else is started.
int WhenHeadStarts(int32_t num_free, const std::vector<int32_t>& endings, int32_t needed) {
  for (size_t i = 0;; ++i) {
    if (num_free >= needed) return static_cast<int>(i);
    if (i == endings.size()) return -1;
    num_free += endings[i];
  }
}

TEST(GangSchedulerTest, Properties) {
  SeededRng rng(7);
  int num_backfilled = 0;
  for (int round = 0; round < 4000; ++round) {
    std::vector<SchedulerWorker> workers;
    for (uint64_t i = 0; i < 1 + rng.Below(3); ++i) {
      workers.push_back(Worker(static_cast<int64_t>(i + 1), static_cast<int32_t>(rng.Below(4))));
    }
    std::vector<RunningGang> running;
    for (uint64_t i = 0; i < rng.Below(4); ++i) running.push_back({"cpu", static_cast<int32_t>(1 + rng.Below(3))});
    std::vector<WaitingGang> waiting;
    for (uint64_t i = 0; i < 1 + rng.Below(5); ++i) {
      waiting.push_back(Gang(static_cast<int64_t>(i + 1), static_cast<int32_t>(1 + rng.Below(5))));
    }
    const auto placements = ScheduleGangs(workers, running, waiting);

    // All ranks or none, on free slots, each slot once.
    std::set<std::pair<int64_t, int32_t>> used;
    std::map<int64_t, int32_t> sizes;
    for (const GangPlacement& placement : placements) {
      sizes[placement.gang_id] = static_cast<int32_t>(placement.ranks.size());
      for (const RankPlace& rank : placement.ranks) {
        EXPECT_TRUE(used.emplace(rank.worker_id, rank.slot).second);
        const auto& slots = workers[static_cast<size_t>(rank.worker_id - 1)].free_slots;
        EXPECT_TRUE(std::count(slots.begin(), slots.end(), rank.slot));
      }
    }
    int32_t num_free = 0;
    for (const SchedulerWorker& worker : workers) num_free += static_cast<int32_t>(worker.free_slots.size());
    int32_t capacity = num_free;
    for (const RunningGang& gang : running) capacity += gang.num_slots;
    for (const auto& [id, size] : sizes) EXPECT_EQ(size, waiting[static_cast<size_t>(id - 1)].num_ranks);

    // The first gang that did not start though the cluster could hold it is not delayed by what started after it.
    std::vector<int32_t> started_before;
    size_t head = 0;
    for (; head < waiting.size(); ++head) {
      const auto it = sizes.find(waiting[head].id);
      if (it != sizes.end()) {
        started_before.push_back(it->second);
      } else if (waiting[head].num_ranks <= capacity) {
        break;
      }
    }
    if (head == waiting.size()) continue;
    int32_t backfill = 0;
    for (size_t i = head + 1; i < waiting.size(); ++i) {
      if (sizes.count(waiting[i].id)) backfill += sizes[waiting[i].id];
    }
    if (backfill == 0) continue;
    ++num_backfilled;
    const int32_t free_for_head = num_free - std::accumulate(started_before.begin(), started_before.end(), 0);
    ASSERT_LT(free_for_head, waiting[head].num_ranks);
    std::vector<int32_t> endings = started_before;
    for (const RunningGang& gang : running) endings.push_back(gang.num_slots);
    std::sort(endings.begin(), endings.end());
    do {
      EXPECT_EQ(WhenHeadStarts(free_for_head - backfill, endings, waiting[head].num_ranks),
                WhenHeadStarts(free_for_head, endings, waiting[head].num_ranks));
    } while (std::next_permutation(endings.begin(), endings.end()));
  }
  EXPECT_GT(num_backfilled, 20);
}

}  // namespace
}  // namespace ursa
