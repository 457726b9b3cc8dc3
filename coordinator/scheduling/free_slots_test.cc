#include "coordinator/scheduling/free_slots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "base/rng.h"
#include "coordinator/scheduling/index_set.h"

namespace ursa {
namespace {

TEST(IndexSetTest, AgreesWithASet) {
  SeededRng rng(1);
  for (const uint64_t size : {1, 63, 64, 65, 4096, 10000}) {
    IndexSet set;
    std::set<int32_t> expected;
    for (int step = 0; step < 2000; ++step) {
      const auto i = static_cast<int32_t>(rng.Below(size));
      if (rng.Below(2) == 0) {
        set.Insert(i);
        expected.insert(i);
      } else {
        set.Erase(i);
        expected.erase(i);
      }
      const auto from = static_cast<int32_t>(rng.Below(size + 70));
      const auto next = expected.lower_bound(from);
      ASSERT_EQ(set.NextAtLeast(from), next == expected.end() ? IndexSet::kNone : *next);
      ASSERT_EQ(set.Last(), expected.empty() ? IndexSet::kNone : *expected.rbegin());
      ASSERT_EQ(set.Contains(i), expected.count(i) == 1);
      ASSERT_EQ(set.empty(), expected.empty());
    }
  }
}

SchedulerWorker Machine(int64_t id, int32_t simd_level, int32_t num_slots, bool usable,
                        std::vector<std::string> labels = {}, std::vector<int32_t> withheld = {}) {
  SchedulerWorker worker;
  worker.id = id;
  worker.simd_level = simd_level;
  worker.num_slots = num_slots;
  worker.usable = usable;
  worker.labels = std::move(labels);
  worker.withheld = std::move(withheld);
  return worker;
}

// Workers 1, 2, ... with so many free slots each.
FreeSlots Workers(const std::vector<int32_t>& num_free, int32_t simd_level = 0) {
  FreeSlots slots;
  for (size_t i = 0; i < num_free.size(); ++i)
    slots.PutWorker(Machine(static_cast<int64_t>(i + 1), simd_level, num_free[i], true));
  return slots;
}

using Places = std::vector<RankPlace>;

TEST(FreeSlotsTest, TakesTheTightestWorkerElseTheFewest) {
  const struct {
    std::vector<int32_t> num_free;
    int32_t num_ranks;
    Places places;
  } kCases[] = {
      {{4, 2, 3}, 2, {{2, 0}, {2, 1}}},
      {{4, 2, 3}, 3, {{3, 0}, {3, 1}, {3, 2}}},
      {{2, 2}, 1, {{1, 0}}},
      {{1, 3, 2}, 5, {{2, 0}, {2, 1}, {2, 2}, {3, 0}, {3, 1}}},
      {{5, 5, 4, 3}, 7, {{1, 0}, {1, 1}, {1, 2}, {1, 3}, {1, 4}, {4, 0}, {4, 1}}},  // the rest on the tightest
      {{1, 1, 1}, 3, {{1, 0}, {2, 0}, {3, 0}}},
      {{0, 0, 100}, 1, {{3, 0}}},
  };
  for (const auto& test : kCases) {
    FreeSlots slots = Workers(test.num_free);
    EXPECT_EQ(slots.Take({test.num_ranks}, 7).places, test.places) << test.num_ranks;
  }
}

TEST(FreeSlotsTest, WeakerWorkersAreNotUsedAndStrongerOnesOnlyWhenNeeded) {
  FreeSlots slots;
  slots.PutWorker(Machine(1, 2, 2, true));
  slots.PutWorker(Machine(2, 0, 2, true));
  slots.PutWorker(Machine(3, 1, 2, true));
  EXPECT_EQ(slots.num_free(), (SlotsByLevel{6, 4, 2}));
  EXPECT_EQ(slots.Take({2, 1}, 1).places, (Places{{3, 0}, {3, 1}}));
  EXPECT_EQ(slots.Take({1, 0}, 2).places, (Places{{2, 0}}));
  EXPECT_EQ(slots.Take({2, 1}, 3).places, (Places{{1, 0}, {1, 1}}));
  EXPECT_EQ(slots.num_free(), (SlotsByLevel{1, 0, 0}));
  EXPECT_EQ(slots.capacity(), (SlotsByLevel{6, 4, 2}));
}

TEST(FreeSlotsTest, SlotsThatAreKeptAreTakenUpToTheirLimit) {
  FreeSlots slots;
  slots.PutWorker(Machine(1, 0, 2, true));
  slots.PutWorker(Machine(2, 2, 4, true));
  SlotRequest request;
  request.num_ranks = 3;
  request.kept_level = 2;
  request.kept_max = 1;
  EXPECT_EQ(slots.Take(request, 1).places, (Places{{1, 0}, {1, 1}, {2, 0}}));
  request.num_ranks = 1;
  EXPECT_EQ(slots.Take(request, 2).places, (Places{{2, 1}}));
}

TEST(FreeSlotsTest, AWorkerThatIsNotUsableKeepsWhoHoldsItsSlots) {
  FreeSlots slots = Workers({2, 2});
  slots.Occupy({1, 1}, 5);
  slots.PutWorker(Machine(1, 0, 2, false));
  EXPECT_EQ(slots.num_free()[0], 2);
  EXPECT_EQ(slots.GivenBack({{1, 1}}, kNoLabels)[0], 0);
  EXPECT_EQ(slots.HoldersOf(1), (std::vector<int32_t>{5}));
  slots.RemoveWorker(1);
  EXPECT_TRUE(slots.IsHeld(1));
  slots.PutWorker(Machine(1, 0, 3, true));
  EXPECT_EQ(slots.Take({2}, 6).places, (Places{{1, 0}, {1, 2}}));
  slots.Release({{1, 1}});
  EXPECT_EQ(slots.num_free()[0], 3);
  // It comes back with fewer slots than are held.
  slots.PutWorker(Machine(1, 0, 1, true));
  EXPECT_EQ(slots.num_free()[0], 2);
  slots.Release({{1, 2}});
  EXPECT_EQ(slots.num_free()[0], 2);
  slots.Release({{1, 0}});
  EXPECT_EQ(slots.num_free()[0], 3);
}

TEST(FreeSlotsTest, ASlotIsHeldOnce) {
  FreeSlots slots = Workers({2});
  slots.Occupy({1, 0}, 1);
  EXPECT_DEATH(slots.Occupy({1, 0}, 2), "held twice");
  EXPECT_DEATH(slots.Release({{1, 1}}), "nobody's");
}

// Fewest workers that have so many slots together, by trying all subsets.
int FewestWorkers(const std::vector<int32_t>& num_free, int32_t num_ranks) {
  int fewest = -1;
  for (size_t subset = 1; subset < (size_t{1} << num_free.size()); ++subset) {
    int32_t sum = 0;
    int count = 0;
    for (size_t i = 0; i < num_free.size(); ++i) {
      if (subset >> i & 1) sum += num_free[i], ++count;
    }
    if (sum >= num_ranks && (fewest < 0 || count < fewest)) fewest = count;
  }
  return fewest;
}

TEST(FreeSlotsTest, ChoosesAsFewWorkersAsThereCanBe) {
  SeededRng rng(3);
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> num_free(1 + rng.Below(6));
    int32_t total = 0;
    for (int32_t& n : num_free) total += n = static_cast<int32_t>(rng.Below(9));
    if (total == 0) continue;
    const auto num_ranks = static_cast<int32_t>(1 + rng.Below(static_cast<uint64_t>(total)));
    FreeSlots slots = Workers(num_free);
    const Places places = slots.Take({num_ranks}, 0).places;
    std::set<int64_t> used;
    for (const RankPlace& place : places) used.insert(place.worker_id);
    ASSERT_EQ(static_cast<int>(used.size()), FewestWorkers(num_free, num_ranks));
    ASSERT_EQ(slots.num_free()[0], total - num_ranks);
  }
}

TEST(FreeSlotsTest, AClassCountsThoseWorkersThatHaveItsLabels) {
  FreeSlots slots;
  slots.PutWorker(Machine(1, 0, 4, true, {"gpu=a100"}));
  slots.PutWorker(Machine(2, 1, 2, true, {"gpu=h100", "zone=a"}));
  const int32_t h100 = slots.AddClass({"gpu=h100"});
  const int32_t both = slots.AddClass({"gpu=h100", "zone=a"});
  EXPECT_EQ(slots.AddClass({}), kNoLabels);
  EXPECT_EQ(slots.AddClass({"gpu=h100"}), h100);
  slots.PutWorker(Machine(3, 0, 3, true, {"gpu=h100"}));
  slots.PutWorker(Machine(4, 0, 9, false, {"gpu=h100"}));
  EXPECT_EQ(slots.num_free(h100), (SlotsByLevel{5, 2, 0}));
  EXPECT_EQ(slots.num_free(both), (SlotsByLevel{2, 2, 0}));
  EXPECT_EQ(slots.NumWorkersOf(h100), 3);
  EXPECT_EQ(slots.NumFreeOfBoth(h100, 0, both, 0), 2);
  EXPECT_EQ(slots.NumFreeOfBoth(kNoLabels, 1, h100, 0), 2);

  SlotRequest request;
  request.label_class = h100;
  request.num_ranks = 4;
  EXPECT_EQ(slots.Take(request, 1).places, (Places{{3, 0}, {3, 1}, {3, 2}, {2, 0}}));
  EXPECT_EQ(slots.num_free(h100), (SlotsByLevel{1, 1, 0}));
  EXPECT_EQ(slots.GivenBack({{1, 0}, {2, 0}, {3, 0}, {3, 1}}, h100), (SlotsByLevel{3, 1, 0}));
  // What the head could use is taken last, and no more of it than it may.
  SlotRequest any;
  any.num_ranks = 5;
  any.kept_class = h100;
  any.kept_level = 0;
  any.kept_max = 1;
  EXPECT_EQ(slots.Take(any, 2).places, (Places{{1, 0}, {1, 1}, {1, 2}, {1, 3}, {2, 1}}));
  // A machine that comes back as another.
  slots.PutWorker(Machine(3, 0, 3, true, {"gpu=a100"}));
  EXPECT_EQ(slots.capacity(h100), (SlotsByLevel{2, 2, 0}));
}

TEST(FreeSlotsTest, ClassesThatNobodyAsksForAreForgotten) {
  FreeSlots slots;
  slots.PutWorker(Machine(1, 0, 2, true, {"a=1", "b=2"}));
  const int32_t kept = slots.AddClass({"a=1"});
  int32_t highest = 0;
  for (int i = 0; i < 1000; ++i) {
    const int32_t label_class = slots.AddClass({i % 2 == 0 ? "b=2" : "c=" + std::to_string(i)});
    EXPECT_EQ(slots.num_free(label_class)[0], i % 2 == 0 ? 2 : 0);
    highest = std::max(highest, label_class);
    slots.DropClass(label_class);
  }
  EXPECT_LT(highest, 50);
  EXPECT_EQ(slots.num_free(kept)[0], 2);
}

TEST(FreeSlotsTest, WithheldSlotsAreNobodysToTake) {
  FreeSlots slots;
  slots.PutWorker(Machine(1, 0, 3, true, {}, {1}));
  EXPECT_EQ(slots.num_free()[0], 2);
  EXPECT_EQ(slots.capacity()[0], 2);
  EXPECT_EQ(slots.num_withheld(), 1);
  EXPECT_EQ(slots.Take({2}, 1).places, (Places{{1, 0}, {1, 2}}));
  // One that is held is withheld: it does not come back.
  EXPECT_TRUE(slots.PutWorker(Machine(1, 0, 3, true, {}, {0})));
  EXPECT_EQ(slots.num_free()[0], 1);
  EXPECT_EQ(slots.GivenBack({{1, 0}, {1, 2}}, kNoLabels)[0], 1);
  slots.Release({{1, 0}, {1, 2}});
  EXPECT_EQ(slots.num_free()[0], 2);
  EXPECT_EQ(slots.Take({2}, 2).places, (Places{{1, 1}, {1, 2}}));
  // It is offered again.
  slots.PutWorker(Machine(1, 0, 3, true));
  EXPECT_EQ(slots.num_free()[0], 1);
  EXPECT_EQ(slots.FindOne(), (RankPlace{1, 0}));
}

// The same content by another way gives the same value.
TEST(FreeSlotsTest, DeltasGiveWhatAFreshOneHas) {
  SeededRng rng(5);
  for (int round = 0; round < 200; ++round) {
    FreeSlots slots;
    std::map<int64_t, std::vector<int32_t>> workers;  // level, slots, usable
    std::map<std::pair<int64_t, int32_t>, int32_t> held;
    for (int step = 0; step < 60; ++step) {
      const auto id = static_cast<int64_t>(1 + rng.Below(100));
      switch (rng.Below(4)) {
        case 0:
        case 1:
          workers[id] = {static_cast<int32_t>(rng.Below(3)), static_cast<int32_t>(rng.Below(70)),
                         static_cast<int32_t>(rng.Below(4) != 0)};
          slots.PutWorker(Machine(id, workers[id][0], workers[id][1], workers[id][2] != 0));
          break;
        case 2:
          if (rng.Below(3) != 0) break;
          slots.RemoveWorker(id);
          workers.erase(id);
          break;
        default: {
          if (slots.num_free()[0] == 0) break;
          const auto n =
              static_cast<int32_t>(1 + rng.Below(static_cast<uint64_t>(std::min<int64_t>(slots.num_free()[0], 9))));
          for (const RankPlace& place : slots.Take({n}, step).places) held[{place.worker_id, place.slot}] = step;
          break;
        }
      }
      if (!held.empty() && rng.Below(3) == 0) {
        const auto it = held.begin();
        slots.Release({{it->first.first, it->first.second}});
        held.erase(it);
      }
    }
    FreeSlots fresh;
    for (auto it = held.rbegin(); it != held.rend(); ++it)
      fresh.Occupy({it->first.first, it->first.second}, it->second);
    for (auto it = workers.rbegin(); it != workers.rend(); ++it) {
      fresh.PutWorker(Machine(it->first, it->second[0], it->second[1], it->second[2] != 0));
    }
    // A worker that is not there any more exports as one without slots, whatever its level was.
    const auto without_removed = [&workers](const std::string& text) {
      std::string kept;
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = text.find('\n', begin);
        const std::string line = text.substr(begin, end - begin);
        begin = end + 1;
        const bool is_removed = line.rfind("worker w", 0) == 0 && !workers.count(std::stoll(line.substr(8)));
        if (!is_removed) kept += line + "\n";
      }
      return kept;
    };
    ASSERT_EQ(without_removed(slots.DebugExport()), without_removed(fresh.DebugExport()));
  }
}

}  // namespace
}  // namespace ursa
