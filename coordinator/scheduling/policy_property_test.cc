// The policy on random clusters: every decision is checked against a plain model of what is promised, and the view kept
// by deltas against one built anew. URSA_CLUSTERS says how many; a failure names its seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "coordinator/scheduling/cluster_view.h"
#include "coordinator/scheduling/policy_model_testing.h"

namespace ursa {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);
const PoolKey kPool{"gpu", "cuda"};
constexpr int kEvents = 24;

int NumClusters() {
  const char* number = std::getenv("URSA_CLUSTERS");
  return number == nullptr ? 500 : std::atoi(number);
}

// What the clusters have seen, so that a run in which nothing happens is no proof.
struct Totals {
  int64_t num_starts = 0;
  int64_t num_backfills = 0;
  int64_t num_preemptions = 0;
  int64_t num_waiting = 0;
};

// A small cluster, and what happens to it.
class RandomCluster {
 public:
  RandomCluster(uint64_t seed, Totals* totals)
      : rng_(seed), totals_(*totals), options_(RandomOptions()), view_(options_) {
    model_.options = options_;
    model_.now = kStart;
    view_.SetTime(kStart);
    const uint64_t num_workers = 1 + rng_.Below(4);
    for (uint64_t id = 1; id <= num_workers; ++id) PutWorker(static_cast<int64_t>(id));
  }

  // Returns what went wrong; empty if nothing did.
  std::string Run() {
    for (int event = 0; event < kEvents; ++event) {
      const uint64_t num_changes = 1 + rng_.Below(3);
      for (uint64_t i = 0; i < num_changes; ++i) Change();
      std::string problem = Decide();
      if (problem.empty() && event % 4 == 3) problem = CompareWithFresh();
      if (!problem.empty()) return absl::StrCat("event ", event, ": ", problem, "\n", view_.DebugExport());
    }
    return "";
  }

 private:
  int32_t Random(int32_t low, int32_t high) {
    return low + static_cast<int32_t>(rng_.Below(static_cast<uint64_t>(high - low) + 1));
  }
  bool OneIn(uint64_t n) { return rng_.Below(n) == 0; }
  template <typename Map>
  typename Map::iterator Any(Map* map) {
    return std::next(map->begin(), static_cast<std::ptrdiff_t>(rng_.Below(map->size())));
  }

  SchedulingOptions RandomOptions() {
    SchedulingOptions options;
    options.use_half_life = absl::Seconds(Random(20, 2000));
    options.aging_step = absl::Seconds(Random(1, 40));
    options.aged_run_min = absl::Seconds(Random(0, 60));
    if (OneIn(3)) options.user_slots_max = Random(1, 6);
    if (OneIn(4)) options.workspace_slots_max = Random(2, 8);
    return options;
  }

  std::vector<std::string> RandomLabels() {
    std::vector<std::string> labels;
    for (const char* label : {"disk=ssd", "gpu=h100", "zone=a"}) {
      if (OneIn(2)) labels.emplace_back(label);
    }
    return labels;
  }

  void PutWorker(int64_t id) {
    SchedulerWorker& worker = model_.workers[id];
    // Its slots, labels and kind stay the same; whether it is usable changes, and which slots are offered.
    const bool is_new = worker.id == 0;
    if (is_new) worker = {id, kPool, OneIn(2) ? Random(0, 2) : 1, Random(1, 4), true};
    if (is_new) worker.labels = RandomLabels();
    worker.usable = is_new || OneIn(2);
    worker.withheld.clear();
    for (int32_t slot = 0; slot < worker.num_slots; ++slot) {
      if (OneIn(8)) worker.withheld.push_back(slot);
    }
    view_.PutWorker(worker);
  }

  void Change() {
    switch (rng_.Below(9)) {
      case 0:
      case 1:
      case 2:
      case 3:
        if (model_.waiting.size() < 8) Submit();
        break;
      case 4:
      case 5:
        if (!model_.running.empty()) End(Any(&model_.running)->first);
        break;
      case 6:
        model_.now += absl::Milliseconds(Random(0, 30'000));
        view_.SetTime(model_.now);
        break;
      case 7:
        ChangeOne();
        break;
      default:
        if (OneIn(3)) PutWorker(Any(&model_.workers)->first);
        if (OneIn(12)) PutWorker(static_cast<int64_t>(model_.workers.size()) + 1);
        break;
    }
  }

  void Submit() {
    WaitingGang gang;
    const bool is_trial = OneIn(4);
    ++num_submitted_;
    gang.id = is_trial ? GangId{1 + num_submitted_ % 2, 100 + num_submitted_} : GangId{10 + num_submitted_, 1};
    gang.spec.pool = kPool;
    gang.spec.owner = {OneIn(3) ? "lab" : "", std::string(1, static_cast<char>('a' + rng_.Below(3)))};
    gang.spec.priority = OneIn(2) ? 50 : Random(1, 99);
    gang.spec.simd_level = OneIn(3) ? Random(0, 2) : 0;
    if (OneIn(3)) gang.spec.labels = RandomLabels();
    if (OneIn(30)) gang.spec.labels = {"gpu=none"};
    gang.spec.min_ranks = OneIn(6) ? Random(1, 12) : Random(1, 4);
    gang.spec.max_ranks = gang.spec.min_ranks + (OneIn(5) ? Random(0, 4) : 0);
    if (OneIn(2)) gang.spec.ranks_divide = gang.spec.min_ranks * Random(1, 6);
    if (is_trial) gang.spec.experiment_slots_max = 4;
    gang.position = num_submitted_ * 2;
    gang.since = model_.now;
    since_[gang.id] = gang.since;
    positions_[gang.id] = gang.position;
    model_.waiting[gang.id] = gang;
    view_.PutWaiting(gang);
  }

  // A gang has ended, and is queued again if it was only stopped, now and then also else.
  void End(GangId id) {
    const RunningGang gang = model_.running[id];
    model_.use[gang.spec.owner] =
        Charge(model_.use[gang.spec.owner], model_.HeldByUser(gang.spec.owner), model_.now, options_.use_half_life);
    model_.running.erase(id);
    if (!gang.stopping && !OneIn(5)) return view_.Remove(id);
    WaitingGang again;
    again.id = id;
    again.spec = gang.spec;
    again.position = positions_[id];
    again.since = since_[id] = WaitsSince(options_, since_[id], gang.start, model_.now);
    model_.waiting[id] = again;
    view_.PutWaiting(again);
  }

  // A checkpoint, a new priority, a rank that is gone, a cancelation.
  void ChangeOne() {
    if (!model_.running.empty() && OneIn(2)) {
      RunningGang& gang = Any(&model_.running)->second;
      if (OneIn(2)) {
        gang.checkpoint = model_.now;
      } else if (gang.places.size() > 1 && gang.stopping) {
        const Owner& owner = gang.spec.owner;
        model_.use[owner] = Charge(model_.use[owner], model_.HeldByUser(owner), model_.now, options_.use_half_life);
        gang.places.pop_back();
      } else {
        gang.stopping = true;
      }
      view_.PutRunning(gang);
    } else if (!model_.waiting.empty()) {
      const auto it = Any(&model_.waiting);
      if (OneIn(2)) {
        view_.Remove(it->first);
        model_.waiting.erase(it);
      } else {
        it->second.spec.priority = Random(1, 99);
        view_.PutWaiting(it->second);
      }
    }
  }

  std::string Decide() {
    const Decisions decisions = view_.Schedule();
    totals_.num_starts += static_cast<int64_t>(decisions.starts.size());
    totals_.num_preemptions += static_cast<int64_t>(decisions.preemptions.size());
    model_.num_backfills = 0;
    const std::string problem = model_.Check(decisions);
    if (!problem.empty()) return problem;
    totals_.num_backfills += model_.num_backfills;
    totals_.num_waiting += static_cast<int64_t>(model_.waiting.size());
    // What waits has a reason, what runs has none.
    for (const auto& [id, gang] : model_.waiting) {
      const auto reason = view_.WhyWaits(id);
      if (!reason || reason->ToText().empty()) return "no reason for a gang that waits";
      if (reason->cause == WaitCause::kNext) return "a gang that could start waits: " + view_.DebugExport();
    }
    for (const auto& [id, gang] : model_.running) {
      if (view_.WhyWaits(id)) return "a reason to wait for a gang that runs";
    }
    if (view_.ListQueue(100).size() != model_.waiting.size()) return "the queue's list is not complete";
    return "";
  }

  // A view built anew, in another order, is equal, and has nothing more to decide.
  std::string CompareWithFresh() {
    for (const ClusterView::UserUse& use : view_.TakeChangedUse()) {
      records_[use.owner] = use.use;
      if (use.use == DecayedUse()) model_.use.erase(use.owner);
    }
    ClusterView fresh(options_);
    fresh.SetTime(model_.now);
    for (auto it = model_.workers.rbegin(); it != model_.workers.rend(); ++it) fresh.PutWorker(it->second);
    for (auto it = model_.running.rbegin(); it != model_.running.rend(); ++it) fresh.PutRunning(it->second);
    for (const auto& [owner, use] : records_) fresh.SetUse({kPool, owner, use});
    for (auto it = model_.waiting.rbegin(); it != model_.waiting.rend(); ++it) fresh.PutWaiting(it->second);
    if (fresh.DebugExport() != view_.DebugExport()) return "not equal to a fresh view:\n" + fresh.DebugExport();
    const Decisions decisions = fresh.Schedule();
    if (!decisions.starts.empty() || !decisions.preemptions.empty()) return "a fresh view decides again";
    // And one that is copied goes on as the first.
    ClusterView copy = view_;
    return copy.DebugExport() == view_.DebugExport() ? "" : "a copy is not equal";
  }

  SeededRng rng_;
  Totals& totals_;
  SchedulingOptions options_;
  ClusterView view_;
  PolicyModel model_;
  std::map<GangId, absl::Time> since_;
  std::map<GangId, int64_t> positions_;
  std::map<Owner, DecayedUse> records_;
  int64_t num_submitted_ = 0;
};

TEST(PolicyPropertyTest, RandomClusters) {
  Totals totals;
  const int num_clusters = NumClusters();
  for (int seed = 1; seed <= num_clusters; ++seed) {
    const std::string problem = RandomCluster(static_cast<uint64_t>(seed), &totals).Run();
    ASSERT_EQ(problem, "") << "seed " << seed;
  }
  RecordProperty("starts", std::to_string(totals.num_starts));
  RecordProperty("backfills", std::to_string(totals.num_backfills));
  RecordProperty("preemptions", std::to_string(totals.num_preemptions));
  std::printf("%d clusters: %lld starts, %lld of them before a head, %lld preemptions, %lld waits explained\n",
              num_clusters, static_cast<long long>(totals.num_starts), static_cast<long long>(totals.num_backfills),
              static_cast<long long>(totals.num_preemptions), static_cast<long long>(totals.num_waiting));
  EXPECT_GT(totals.num_starts, num_clusters * 4);
  EXPECT_GT(totals.num_backfills, num_clusters / 20);
  EXPECT_GT(totals.num_preemptions, num_clusters / 20);
}

TEST(PolicyPropertyTest, TheSameDeltasGiveTheSameDecisions) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Totals one, two;
    EXPECT_EQ(RandomCluster(seed, &one).Run(), RandomCluster(seed, &two).Run());
    EXPECT_EQ(one.num_starts, two.num_starts);
    EXPECT_EQ(one.num_preemptions, two.num_preemptions);
  }
}

// A cluster that is never idle for want of gangs of priority 99, and one gang of priority 1 that needs all of it.
class StarvationTest : public testing::Test {
 protected:
  static constexpr absl::Duration kStep = absl::Seconds(5);

  StarvationTest() : view_(Options()) {
    view_.SetTime(now_);
    for (int64_t id = 1; id <= 2; ++id) view_.PutWorker({id, kPool, 0, 2, true});
  }
  static SchedulingOptions Options() {
    SchedulingOptions options;
    options.aging_step = absl::Seconds(10);
    options.aged_run_min = absl::Seconds(60);
    return options;
  }
  void Put(GangId id, int32_t priority, int32_t num_ranks, const std::string& user, absl::Time since) {
    WaitingGang gang;
    gang.id = id;
    gang.spec.pool = kPool;
    gang.spec.owner.user = user;
    gang.spec.priority = priority;
    gang.spec.min_ranks = gang.spec.max_ranks = num_ranks;
    gang.position = id.experiment_id;
    gang.since = since;
    specs_[id] = gang.spec;
    since_[id] = since;
    view_.PutWaiting(gang);
  }
  // What high gangs run for; what is preempted ends within a step.
  void Step() {
    now_ += kStep;
    view_.SetTime(now_);
    for (auto it = ends_.begin(); it != ends_.end();) {
      if (it->second > now_) {
        ++it;
        continue;
      }
      view_.Remove(it->first);
      it = ends_.erase(it);
    }
    for (const GangId& id : stopping_) {
      if (starts_.count(id) == 0) continue;
      ran_[id] += now_ - starts_[id];
      Put(id, specs_[id].priority, specs_[id].min_ranks, specs_[id].owner.user,
          WaitsSince(Options(), since_[id], starts_[id], now_));
      starts_.erase(id);
    }
    stopping_.clear();
    const Decisions decisions = view_.Schedule();
    for (const GangStart& start : decisions.starts) {
      starts_[start.id] = now_;
      ++num_starts_[start.id];
      if (specs_[start.id].priority == 99) ends_[start.id] = now_ + absl::Seconds(20);
    }
    for (const GangPreemption& preemption : decisions.preemptions) {
      EXPECT_LT(specs_[preemption.victim].priority, specs_[preemption.for_whom].priority);
      stopping_.push_back(preemption.victim);
    }
  }

  ClusterView view_;
  absl::Time now_ = kStart;
  std::map<GangId, GangSpec> specs_;
  std::map<GangId, absl::Time> since_;
  std::map<GangId, absl::Time> starts_;  // of what runs
  std::map<GangId, int> num_starts_;
  std::map<GangId, absl::Time> ends_;
  std::map<GangId, absl::Duration> ran_;
  std::vector<GangId> stopping_;
};

TEST_F(StarvationTest, ALowGangStartsWithinItsAgingBoundUnderAnEndlessStreamOfHighOnes) {
  const GangId low{1, 1};
  Put(low, 1, 4, "heavy", now_);
  int64_t next = 2;
  absl::Time started = absl::InfiniteFuture();
  while (now_ < kStart + absl::Seconds(3000) && started == absl::InfiniteFuture()) {
    // More than can ever run, each time of another user, who has used nothing.
    for (int i = 0; i < 3; ++i, ++next) Put({next, 1}, 99, 1, absl::StrCat("u", next), now_);
    Step();
    if (starts_.count(low)) started = now_;
  }
  // At the front after 99 steps; then the cluster empties within one gang's time.
  EXPECT_LE(started, kStart + 99 * Options().aging_step + absl::Seconds(20) + 2 * kStep);
  EXPECT_GE(started, kStart + 95 * Options().aging_step);  // not before its time
}

TEST_F(StarvationTest, ALowGangThatIsPreemptedOverAndOverGetsOn) {
  const GangId low{1, 1};
  Put(low, 1, 4, "heavy", now_);
  int64_t next = 2;
  int step = 0;
  absl::Duration longest;
  while (now_ < kStart + absl::Seconds(6000)) {
    // A high one every 40 s, of which each runs for 20: the low one is started and stopped again.
    if (step++ % 8 == 4) Put({next++, 1}, 99, 1, "other", now_);
    Step();
    if (starts_.count(low)) longest = std::max(longest, now_ - starts_[low]);
  }
  EXPECT_GT(num_starts_[low], 20);
  EXPECT_GE(longest, Options().aged_run_min - kStep);
}

}  // namespace
}  // namespace ursa
