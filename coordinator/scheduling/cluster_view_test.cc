#include "coordinator/scheduling/cluster_view.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/scheduling/simd_level.h"

namespace ursa {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);
using Places = std::vector<RankPlace>;
using Ids = std::vector<int64_t>;

// Experiments have one trial each, and positions in the order of their numbers.
class ClusterViewTest : public testing::Test {
 protected:
  ClusterViewTest() { Reset({}); }

  void Reset(const SchedulingOptions& options) {
    EXPECT_TRUE(options.Validate().ok());
    view_ = std::make_unique<ClusterView>(options);
    view_->SetTime(kStart);
  }
  void Worker(int64_t id, int32_t num_slots, const std::string& pool = "gpu", int32_t simd_level = 0,
              bool usable = true) {
    view_->PutWorker({id, {pool, "cuda"}, simd_level, num_slots, usable});
  }
  void LabelledWorker(int64_t id, int32_t num_slots, std::vector<std::string> labels,
                      std::vector<int32_t> withheld = {}, bool usable = true) {
    SchedulerWorker worker{id, {"gpu", "cuda"}, 0, num_slots, usable};
    worker.labels = std::move(labels);
    worker.withheld = std::move(withheld);
    view_->PutWorker(worker);
  }
  static WaitingGang Labelled(WaitingGang gang, std::vector<std::string> labels) {
    gang.spec.labels = std::move(labels);
    return gang;
  }
  static WaitingGang Gang(int64_t id, int32_t num_ranks, int32_t priority = 50) {
    WaitingGang gang;
    gang.id = {id, 1};
    gang.spec.pool = {"gpu", "cuda"};
    gang.spec.owner = {"", "ann"};
    gang.spec.priority = priority;
    gang.spec.min_ranks = gang.spec.max_ranks = num_ranks;
    gang.position = id;
    gang.since = kStart;
    return gang;
  }
  // What starts when this is all that is new.
  Ids Submit(const WaitingGang& gang) {
    view_->PutWaiting(gang);
    return Schedule();
  }
  Ids Submit(int64_t id, int32_t num_ranks, int32_t priority = 50) { return Submit(Gang(id, num_ranks, priority)); }
  Ids Schedule() {
    decisions_ = view_->Schedule();
    Ids started;
    for (const GangStart& start : decisions_.starts) started.push_back(start.id.experiment_id);
    return started;
  }
  Ids End(int64_t id) {
    view_->Remove({id, 1});
    return Schedule();
  }
  Ids Victims() const {
    Ids victims;
    for (const GangPreemption& preemption : decisions_.preemptions) victims.push_back(preemption.victim.experiment_id);
    return victims;
  }
  // A preempted gang has ended: it waits again.
  Ids Requeue(int64_t id, int32_t num_ranks, int32_t priority) {
    view_->Remove({id, 1});
    return Submit(id, num_ranks, priority);
  }
  std::string Why(int64_t id) const {
    const auto reason = view_->WhyWaits({id, 1});
    return reason ? reason->ToText() : "does not wait";
  }

  std::unique_ptr<ClusterView> view_;
  Decisions decisions_;
};

TEST_F(ClusterViewTest, StartsInOrderWhatFits) {
  Worker(1, 2);
  Worker(2, 2);
  view_->PutWaiting(Gang(1, 3));
  view_->PutWaiting(Gang(2, 1));
  view_->PutWaiting(Gang(3, 1));
  EXPECT_EQ(Schedule(), (Ids{1, 2}));
  EXPECT_EQ(decisions_.starts[0].ranks, (Places{{1, 0}, {1, 1}, {2, 0}}));
  EXPECT_EQ(decisions_.starts[1].ranks, (Places{{2, 1}}));
  EXPECT_TRUE(Schedule().empty());
  EXPECT_EQ(End(1), (Ids{3}));
}

TEST_F(ClusterViewTest, PoolsAndKindsHaveQueuesOfTheirOwn) {
  Worker(1, 1, "gpu");
  Worker(2, 1, "lab");
  EXPECT_EQ(Submit(1, 1), (Ids{1}));
  EXPECT_EQ(Submit(2, 1), (Ids{}));
  WaitingGang other = Gang(3, 1);
  other.spec.pool.pool = "lab";
  EXPECT_EQ(Submit(other), (Ids{3}));
  other.id = {4, 1};
  other.spec.pool = {"lab", "cpu"};
  EXPECT_EQ(Submit(other), (Ids{}));
  EXPECT_EQ(Why(4), "pool \"lab\" has no worker with cpu slots");
  view_->PutWorker({3, {"lab", "cpu"}, 0, 1, true});
  EXPECT_EQ(Schedule(), (Ids{4}));
  EXPECT_EQ(Why(4), "does not wait");
}

TEST_F(ClusterViewTest, AGangRunsWhereItsLabelsAre) {
  Worker(1, 4);
  LabelledWorker(2, 2, {"gpu=a100"});
  EXPECT_EQ(Submit(Labelled(Gang(1, 2), {"gpu=h100"})), (Ids{}));
  EXPECT_EQ(Why(1), "0 of 2 workers in pool gpu have label gpu=h100");
  EXPECT_EQ(Submit(2, 1), (Ids{2}));  // it blocks nobody
  LabelledWorker(3, 1, {"gpu=h100", "zone=a"});
  EXPECT_EQ(Schedule(), (Ids{}));
  EXPECT_EQ(Why(1), "needs 2 slots with label gpu=h100, pool gpu has 1");
  LabelledWorker(4, 2, {"gpu=h100"});
  EXPECT_EQ(Schedule(), (Ids{1}));
  EXPECT_EQ(decisions_.starts[0].ranks, (Places{{4, 0}, {4, 1}}));
  EXPECT_EQ(Submit(Labelled(Gang(3, 2), {"gpu=h100"})), (Ids{}));
  EXPECT_EQ(Why(3), "needs 2 slots, 1 free with label gpu=h100 in pool gpu; e1 runs there");
  EXPECT_EQ(Submit(Labelled(Gang(4, 1), {"gpu=h100", "zone=a"})), (Ids{4}));  // e3 waits for the two of e1 all the same
  EXPECT_EQ(Submit(Labelled(Gang(5, 2), {"gpu=a100"})), (Ids{}));             // one of them is e2's
  EXPECT_EQ(End(1), (Ids{3}));
  EXPECT_EQ(Submit(Labelled(Gang(6, 1), {"gpu=h100", "zone=a"})), (Ids{}));
  LabelledWorker(3, 1, {"gpu=h100", "zone=a"}, {}, false);
  EXPECT_EQ(Why(6),
            "workers in pool gpu with labels gpu=h100 and zone=a take no new task (drained or away) or have no slot "
            "that is offered");
}

TEST_F(ClusterViewTest, WhatTheHeadCannotUseIsFreeForAll) {
  LabelledWorker(1, 2, {"gpu=a100"});
  LabelledWorker(2, 2, {"gpu=h100"});
  EXPECT_EQ(Submit(Labelled(Gang(1, 1), {"gpu=h100"})), (Ids{1}));
  EXPECT_EQ(Submit(Labelled(Gang(2, 2), {"gpu=h100"})),
            (Ids{}));  // the head: it waits for e1's slot and keeps the other
  EXPECT_EQ(Submit(3, 3), (Ids{}));
  EXPECT_EQ(Submit(4, 2), (Ids{4}));
  EXPECT_EQ(decisions_.starts[0].ranks, (Places{{1, 0}, {1, 1}}));
  EXPECT_EQ(Submit(5, 1), (Ids{}));
  EXPECT_EQ(Why(5), "needs 1 slot, 1 free in pool gpu but kept for e2");
  EXPECT_EQ(End(1), (Ids{2}));
}

TEST_F(ClusterViewTest, APreemptionFreesSlotsThatTheHeadCanUse) {
  LabelledWorker(1, 2, {"gpu=a100"});
  LabelledWorker(2, 2, {"gpu=h100"});
  EXPECT_EQ(Submit(Labelled(Gang(1, 2, 10), {"gpu=a100"})), (Ids{1}));
  EXPECT_EQ(Submit(Gang(2, 2, 20)), (Ids{2}));
  EXPECT_EQ(Submit(Labelled(Gang(3, 1, 90), {"gpu=h100"})), (Ids{}));
  EXPECT_EQ(Victims(), (Ids{2}));  // not the lower one, whose slots are of no use
  EXPECT_EQ(Why(3),
            "needs 1 slot, 0 free with label gpu=h100 in pool gpu; waits for e2 to checkpoint and give 2 slots");
  EXPECT_EQ(Requeue(2, 2, 20), (Ids{3}));
}

TEST_F(ClusterViewTest, SlotsThatAreNotOfferedAreNotUsed) {
  LabelledWorker(1, 2, {}, {0, 1});
  EXPECT_EQ(Submit(1, 1), (Ids{}));
  EXPECT_EQ(Why(1), "pool gpu has no slot that is offered, 2 failed a check (hint: ursa worker list)");
  LabelledWorker(1, 2, {}, {0});
  EXPECT_EQ(Schedule(), (Ids{1}));
  EXPECT_EQ(decisions_.starts[0].ranks, (Places{{1, 1}}));
  EXPECT_EQ(Submit(2, 2), (Ids{}));
  EXPECT_EQ(Why(2), "needs 2 slots, pool gpu has 1, not counting 1 slot that failed a check");
  EXPECT_EQ(End(2), (Ids{}));
  EXPECT_EQ(Submit(3, 1), (Ids{}));
  // Its own slot fails: it goes on there, and what it gives back is of no use.
  LabelledWorker(1, 2, {}, {1});
  EXPECT_EQ(Schedule(), (Ids{3}));
  EXPECT_EQ(Submit(4, 1), (Ids{}));
  EXPECT_EQ(End(1), (Ids{}));
  LabelledWorker(1, 2, {});
  EXPECT_EQ(Schedule(), (Ids{4}));
}

TEST_F(ClusterViewTest, WeakerMachinesAreNotUsed) {
  Worker(1, 2, "gpu", 0);
  WaitingGang gang = Gang(1, 1);
  gang.spec.simd_level = 1;
  EXPECT_EQ(Submit(gang), (Ids{}));
  EXPECT_EQ(Why(1), "no worker in pool gpu has avx2");
  Worker(2, 1, "gpu", 1);
  EXPECT_EQ(Schedule(), (Ids{1}));
  gang.id = {2, 1};
  EXPECT_EQ(Submit(gang), (Ids{}));
  EXPECT_EQ(Why(2), "needs 1 slot, 0 free with avx2 in pool gpu; e1 runs there");
}

TEST_F(ClusterViewTest, WorkersThatAreNotUsableGetNothing) {
  Worker(1, 2, "gpu", 0, false);
  EXPECT_EQ(Submit(1, 1), (Ids{}));
  EXPECT_EQ(Why(1), "pool gpu has only workers that take no new task (drained or away)");
  Worker(1, 2, "gpu", 0, true);
  EXPECT_EQ(Schedule(), (Ids{1}));
  Worker(2, 2, "gpu", 0, false);
  EXPECT_EQ(Submit(3, 3), (Ids{}));
  EXPECT_EQ(Why(3), "needs 3 slots, pool gpu has 2, not counting workers that take no new task (drained or away)");
  view_->Remove({3, 1});
  view_->RemoveWorker(2);
  Worker(1, 2, "gpu", 0, false);  // drained: what runs there goes on
  EXPECT_EQ(Submit(2, 1), (Ids{}));
  EXPECT_EQ(End(1), (Ids{}));
  view_->RemoveWorker(1);
  EXPECT_EQ(Schedule(), (Ids{}));
}

TEST_F(ClusterViewTest, BackfillTakesOnlyWhatTheHeadCannotUse) {
  Worker(1, 5);
  EXPECT_EQ(Submit(1, 4), (Ids{1}));
  EXPECT_EQ(Submit(2, 5), (Ids{}));
  EXPECT_EQ(Submit(3, 1), (Ids{}));  // it could still run when 1 has ended
  EXPECT_EQ(Why(3), "needs 1 slot, 1 free in pool gpu but kept for e2");
  EXPECT_EQ(Why(2), "needs 5 slots, 1 free in pool gpu; e1 runs there");
  view_->PutWaiting(Gang(2, 4));  // now 4 of the 5 that will be free are enough
  EXPECT_EQ(Schedule(), (Ids{3}));
  EXPECT_EQ(End(1), (Ids{2}));
}

TEST_F(ClusterViewTest, SlotsThatTheHeadCannotUseAreFree) {
  Worker(1, 2, "gpu", 1);
  Worker(2, 2, "gpu", 0);
  WaitingGang strong = Gang(1, 1);
  strong.spec.simd_level = 1;
  EXPECT_EQ(Submit(strong), (Ids{1}));
  strong = Gang(2, 2);
  strong.spec.simd_level = 1;
  EXPECT_EQ(Submit(strong), (Ids{}));
  EXPECT_EQ(Submit(3, 3), (Ids{}));
  EXPECT_EQ(Submit(4, 2), (Ids{4}));
  EXPECT_EQ(decisions_.starts[0].ranks, (Places{{2, 0}, {2, 1}}));
}

TEST_F(ClusterViewTest, AGangThatTheClusterCannotHoldBlocksNobody) {
  Worker(1, 2);
  EXPECT_EQ(Submit(1, 5), (Ids{}));
  EXPECT_EQ(Submit(2, 2), (Ids{2}));
  EXPECT_EQ(Why(1), "needs 5 slots, pool gpu has 2");
}

TEST_F(ClusterViewTest, AnElasticGangTakesWhatThereIs) {
  Worker(1, 4);
  WaitingGang elastic = Gang(1, 2);
  elastic.spec.max_ranks = 8;
  EXPECT_EQ(Submit(2, 1), (Ids{2}));
  EXPECT_EQ(Submit(elastic), (Ids{1}));
  EXPECT_EQ(decisions_.starts[0].ranks.size(), 3u);
  EXPECT_EQ(End(1), (Ids{}));
  EXPECT_EQ(End(2), (Ids{}));
  elastic.id = {3, 1};
  elastic.spec.max_ranks = 3;
  EXPECT_EQ(Submit(elastic), (Ids{3}));
  EXPECT_EQ(decisions_.starts[0].ranks.size(), 3u);
  EXPECT_EQ(End(3), (Ids{}));
  elastic.id = {4, 1};
  elastic.spec.max_ranks = 4;
  elastic.spec.ranks_divide = 6;  // 4 ranks would not share a batch of 6 evenly
  EXPECT_EQ(Submit(elastic), (Ids{4}));
  EXPECT_EQ(decisions_.starts[0].ranks.size(), 3u);
}

TEST_F(ClusterViewTest, AHigherPriorityPreemptsAndStartsWhenTheVictimIsGone) {
  Worker(1, 2);
  EXPECT_EQ(Submit(1, 2, 10), (Ids{1}));
  EXPECT_EQ(Submit(2, 2, 90), (Ids{}));
  EXPECT_EQ(Victims(), (Ids{1}));
  EXPECT_EQ(decisions_.preemptions[0].for_whom, (GangId{2, 1}));
  EXPECT_EQ(Why(2), "needs 2 slots, 0 free in pool gpu; waits for e1 to checkpoint and give 2 slots");
  EXPECT_TRUE(Schedule().empty());
  EXPECT_TRUE(Victims().empty());  // one preemption is enough
  EXPECT_EQ(Requeue(1, 2, 10), (Ids{2}));
  EXPECT_EQ(Why(1), "needs 2 slots, 0 free in pool gpu; e2 runs there");
  EXPECT_EQ(End(2), (Ids{1}));
}

TEST_F(ClusterViewTest, EqualAndHigherPrioritiesAndEvaluationsAreNotPreempted) {
  Worker(1, 3);
  EXPECT_EQ(Submit(1, 1, 50), (Ids{1}));
  EXPECT_EQ(Submit(2, 1, 49), (Ids{2}));
  RunningGang evaluation;
  evaluation.id = {0, 4};
  evaluation.spec.pool = {"gpu", "cuda"};
  evaluation.spec.priority = kAboveAllPriorities;
  evaluation.places = {{1, 2}};
  view_->PutRunning(evaluation);
  EXPECT_EQ(Submit(3, 2, 50), (Ids{}));
  EXPECT_TRUE(Victims().empty());
  EXPECT_EQ(Why(3), "needs 2 slots, 0 free in pool gpu; a4, e1 and e2 run there");
  EXPECT_EQ(Submit(4, 1, 60), (Ids{}));
  EXPECT_EQ(Victims(), (Ids{2}));
}

TEST_F(ClusterViewTest, AFreeSlotIsFoundInAnyPoolOfItsKind) {
  EXPECT_FALSE(view_->FindFreeSlot("cuda").has_value());
  view_->PutWorker({1, {"gpu", "cpu"}, 0, 1, true});
  Worker(2, 2, "lab");
  Worker(3, 1, "lab");
  EXPECT_EQ(view_->FindFreeSlot("cuda"), (RankPlace{3, 0}));
  EXPECT_EQ(view_->FindFreeSlot("cpu"), (RankPlace{1, 0}));
}

TEST_F(ClusterViewTest, TheLeastLostWorkIsPreemptedAndNoMoreThanNeeded) {
  Worker(1, 3);
  for (int64_t id = 1; id <= 3; ++id) EXPECT_EQ(Submit(id, 1, 10), (Ids{id}));
  view_->SetTime(kStart + absl::Seconds(100));
  RunningGang saved;  // 2 has a newer checkpoint than the others
  saved.id = {2, 1};
  saved.spec = Gang(2, 1, 10).spec;
  saved.places = {{1, 1}};
  saved.start = kStart;
  saved.checkpoint = kStart + absl::Seconds(90);
  view_->PutRunning(saved);
  EXPECT_EQ(Submit(4, 1, 20), (Ids{}));
  EXPECT_EQ(Victims(), (Ids{2}));
  EXPECT_EQ(Submit(5, 4, 90), (Ids{}));
  EXPECT_TRUE(Victims().empty());  // the worker has 3 slots: none would help
  EXPECT_EQ(Requeue(2, 1, 10), (Ids{4}));
}

TEST_F(ClusterViewTest, WhatWasPreemptedForOneIsNotTakenByALesserOne) {
  SchedulingOptions options;
  options.aging_step = absl::Seconds(10);
  Reset(options);
  Worker(1, 2);
  EXPECT_EQ(Submit(1, 2, 30), (Ids{1}));
  EXPECT_EQ(Submit(2, 2, 10), (Ids{}));
  WaitingGang high = Gang(3, 2, 40);
  high.since = kStart + absl::Seconds(295);
  view_->SetTime(high.since);
  EXPECT_EQ(Submit(high), (Ids{}));
  EXPECT_EQ(Victims(), (Ids{1}));
  // Waiting has brought the lesser one to the same level, and it came earlier; yet the slots are the other's.
  view_->SetTime(kStart + absl::Seconds(301));
  EXPECT_TRUE(Schedule().empty());
  EXPECT_EQ(view_->ListQueue(9)[0].id, (GangId{3, 1}));
  view_->Remove({1, 1});
  EXPECT_EQ(Schedule(), (Ids{3}));
  EXPECT_EQ(End(3), (Ids{2}));
}

TEST_F(ClusterViewTest, WhatAgingBroughtToTheFrontRunsForAWhile) {
  SchedulingOptions options;
  options.aging_step = absl::Seconds(1);
  options.aged_run_min = absl::Seconds(60);
  Reset(options);
  Worker(1, 1);
  EXPECT_EQ(Submit(1, 1, 99), (Ids{1}));
  EXPECT_EQ(Submit(2, 1, 1), (Ids{}));
  view_->SetTime(kStart + absl::Seconds(100));
  EXPECT_EQ(End(1), (Ids{2}));
  EXPECT_EQ(decisions_.starts[0].protected_level, 100);
  EXPECT_EQ(decisions_.starts[0].protected_until, kStart + absl::Seconds(160));
  WaitingGang high = Gang(3, 1, 99);
  high.since = kStart + absl::Seconds(100);
  EXPECT_EQ(Submit(high), (Ids{}));
  EXPECT_TRUE(Victims().empty());
  view_->SetTime(kStart + absl::Seconds(161));
  EXPECT_TRUE(Schedule().empty());
  EXPECT_EQ(Victims(), (Ids{2}));
}

TEST_F(ClusterViewTest, LimitsAreSaid) {
  SchedulingOptions options;
  options.user_slots_max = 2;
  options.workspace_slots_max = 3;
  Reset(options);
  Worker(1, 8);
  EXPECT_EQ(Submit(1, 2), (Ids{1}));
  EXPECT_EQ(Submit(2, 1), (Ids{}));
  EXPECT_EQ(Why(2), "user ann uses 2 of at most 2 slots in pool gpu");
  WaitingGang of_bob = Gang(3, 2);
  of_bob.spec.owner.user = "bob";
  EXPECT_EQ(Submit(of_bob), (Ids{}));
  EXPECT_EQ(Why(3), "workspace \"\" uses 2 of at most 3 slots in pool gpu and this needs 2");
  WaitingGang trial = Gang(4, 1);
  trial.spec.owner = {"lab", "eve"};
  trial.spec.experiment_slots_max = 1;
  EXPECT_EQ(Submit(trial), (Ids{4}));
  trial.id.number = 2;
  EXPECT_EQ(Submit(trial), (Ids{}));
  EXPECT_EQ(view_->WhyWaits({4, 2})->ToText(), "e4 uses 1 of at most 1 slot");
  EXPECT_EQ(End(4), (Ids{4}));
}

TEST_F(ClusterViewTest, UsersTakeTurns) {
  Worker(1, 4);
  for (int64_t id = 1; id <= 8; ++id) {
    WaitingGang gang = Gang(id, 1);
    gang.spec.owner.user = id <= 6 ? "ann" : "bob";
    view_->PutWaiting(gang);
  }
  EXPECT_EQ(Schedule(), (Ids{1, 7, 2, 8}));
  std::vector<std::pair<int64_t, int64_t>> items;
  for (const ClusterView::QueueItem& item : view_->ListQueue(3)) {
    items.emplace_back(item.id.experiment_id, item.position);
  }
  EXPECT_EQ(items, (std::vector<std::pair<int64_t, int64_t>>{{3, 1}, {4, 2}, {5, 3}}));
  EXPECT_EQ(Why(4), "needs 1 slot, 0 free in pool gpu; behind e3; e1, e2, e7 and 1 other run there");
  const auto use = view_->TakeChangedUse();
  ASSERT_EQ(use.size(), 2u);
  EXPECT_EQ(use[0].owner.user, "ann");
  EXPECT_EQ(use[0].use.time, kStart);
}

TEST_F(ClusterViewTest, AWorkerThatChangesItsPoolServesTheNewOneWhenTheOldGangIsGone) {
  Worker(1, 2, "gpu");
  EXPECT_EQ(Submit(1, 1), (Ids{1}));
  Worker(1, 2, "lab");
  WaitingGang other = Gang(2, 1);
  other.spec.pool.pool = "lab";
  EXPECT_EQ(Submit(other), (Ids{}));
  EXPECT_EQ(Submit(3, 1), (Ids{}));
  EXPECT_EQ(End(1), (Ids{2}));
  EXPECT_EQ(decisions_.starts[0].ranks, (Places{{1, 0}}));
}

TEST_F(ClusterViewTest, OtherStatesReplaceWhatWasKnownOfAGang) {
  Worker(1, 2);
  EXPECT_EQ(Submit(1, 2), (Ids{1}));
  RunningGang running;
  running.id = {1, 1};
  running.spec = Gang(1, 2).spec;
  running.places = {{1, 0}};  // one of its ranks has gone
  running.start = running.checkpoint = kStart;
  view_->PutRunning(running);
  EXPECT_EQ(Submit(2, 1), (Ids{2}));
  EXPECT_EQ(decisions_.starts[0].ranks, (Places{{1, 1}}));
  view_->PutWaiting(Gang(1, 1));
  EXPECT_EQ(Schedule(), (Ids{1}));
}

TEST(SchedulingOptionsTest, NamesLimitAndValue) {
  SchedulingOptions options;
  options.user_slots_max = 0;
  EXPECT_EQ(options.Validate().message(), "scheduling option user_slots_max: 0; allowed: 1 to 9223372036854775807");
  options = {};
  options.use_half_life = absl::ZeroDuration();
  EXPECT_EQ(options.Validate().message(), "scheduling option use_half_life: 0; at least 1s");
}

TEST(SimdLevelTest, WordsAndLevels) {
  for (int32_t level = 0; level < kNumSimdLevels; ++level) EXPECT_EQ(SimdLevel(SimdName(level)), level);
  EXPECT_EQ(SimdLevel("sse9"), -1);
}

}  // namespace
}  // namespace ursa
