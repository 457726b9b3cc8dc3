// How fast gangs are placed: the policy with gangs, priorities, fair share, limits and backfill, on one core.
//
//   bazel run //tools/bench:scheduler -- [--form=full|short|ci] [--clock=cpu|wall] [--only=fill|churn]
//
// full: 10 000 workers x 8 slots and a queue of 100 000 gangs, 7 rounds; short: 5 rounds of a tenth of the steps; ci: a
// small cluster, correctness only. Each round runs all parts one after the other, so that they meet the same machine:
//   fill    an empty cluster, a queue that fills it: gangs placed a second, in one decision
//   churn   a full cluster: a gang ends, another is submitted, and a decision: such cycles a second
//   blocked a full cluster, 100 000 gangs wait: the time of a submit and a decision that starts nothing
//   preempt a full cluster of low priorities: the time of a decision that finds victims for a gang of 32; the first
//           one puts all that runs in order
//   why     reasons for the first 1 000 gangs of the queue, as `ursa queue` shows them
//   limit   no policy at all: slots taken one after the other from a bitmap of all workers, their places written out
// A decision is one gang placed; peers place one container at a time, which is one of our ranks: both are printed. In
// every form the first round is checked: no slot held twice, and the view kept by deltas equal to one built anew.
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/rng.h"
#include "coordinator/scheduling/cluster_view.h"

namespace ursa {
namespace {

struct Form {
  int64_t num_workers;
  int64_t num_waiting;  // deep queue
  int64_t num_cycles;
  int64_t num_probes;  // single calls that are timed
  int rounds;
};
const std::map<std::string, Form> kForms = {
    {"full", {10'000, 100'000, 500'000, 20'000, 7}},
    {"short", {10'000, 100'000, 50'000, 2'000, 5}},
    {"ci", {200, 2'000, 5'000, 200, 1}},
};
constexpr int32_t kSlots = 8;
constexpr int32_t kSizes[] = {1, 1, 1, 1, 2, 2, 4, 4, 8, 16, 32};
const PoolKey kPool{"gpu", "cuda"};
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

clockid_t clock_id = CLOCK_PROCESS_CPUTIME_ID;

double Seconds() {
  timespec now;
  clock_gettime(clock_id, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// A cluster in its view, and beside it what the test needs to know.
class Cluster {
 public:
  Cluster(int64_t num_workers, uint64_t seed) : rng_(seed), num_workers_(num_workers), view_(Options()) {
    view_.SetTime(kStart);
    for (int64_t id = 1; id <= num_workers; ++id) view_.PutWorker({id, kPool, 1, kSlots, true});
  }

  ClusterView& view() { return view_; }
  int64_t num_slots() const { return num_workers_ * kSlots; }
  const std::vector<GangId>& running() const { return running_; }

  // A gang of any size and user. Priorities as people use them: most the same.
  WaitingGang NewGang() {
    WaitingGang gang;
    gang.id = {++num_submitted_, 1};
    gang.spec.pool = kPool;
    const uint64_t user = rng_.Below(100);
    gang.spec.owner = {absl::StrCat("team", user % 5), absl::StrCat("user", user)};
    gang.spec.priority = rng_.Below(2) == 0 ? 50 : static_cast<int32_t>(10 + 20 * rng_.Below(5));
    gang.spec.min_ranks = gang.spec.max_ranks = kSizes[rng_.Below(std::size(kSizes))];
    gang.position = num_submitted_;
    gang.since = kStart + absl::Milliseconds(num_submitted_);
    return gang;
  }
  // Gangs that need so many slots together.
  std::vector<WaitingGang> NewGangs(int64_t num_slots) {
    std::vector<WaitingGang> gangs;
    while (num_slots > 0) {
      gangs.push_back(NewGang());
      num_slots -= gangs.back().spec.min_ranks;
    }
    return gangs;
  }
  Decisions Schedule() {
    Decisions decisions = view_.Schedule();
    for (const GangStart& start : decisions.starts) {
      const auto id = static_cast<size_t>(start.id.experiment_id);
      if (indexes_.size() <= id) indexes_.resize(2 * id + 1);
      indexes_[id] = running_.size();
      running_.push_back(start.id);
    }
    for (const GangPreemption& preemption : decisions.preemptions) victims_.push_back(preemption.victim);
    return decisions;
  }
  // One that runs, taken off the list: first those that were told to end.
  GangId AnyRunning() {
    GangId id = running_[rng_.Below(running_.size())];
    if (!victims_.empty()) {
      id = victims_.back();
      victims_.pop_back();
    }
    const size_t i = indexes_[static_cast<size_t>(id.experiment_id)];
    running_[i] = running_.back();
    indexes_[static_cast<size_t>(running_[i].experiment_id)] = i;
    running_.pop_back();
    return id;
  }
  bool has_victims() const { return !victims_.empty(); }
  void Pass(absl::Duration time) { view_.SetTime(now_ += time); }

 private:
  static SchedulingOptions Options() {
    SchedulingOptions options;
    options.user_slots_max = 8'000;
    return options;
  }

  SeededRng rng_;
  int64_t num_workers_;
  ClusterView view_;
  absl::Time now_ = kStart;
  int64_t num_submitted_ = 0;
  std::vector<GangId> running_;
  std::vector<size_t> indexes_;  // in running_, by experiment
  std::vector<GangId> victims_;
};

// Values of all rounds under one name.
class Results {
 public:
  void Add(const std::string& name, double value) { values_[name].push_back(value); }
  double Median(const std::string& name) {
    std::vector<double>& values = values_[name];
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }
  void Print(const std::string& name, const char* what, const char* unit) {
    const double median = Median(name);
    std::printf("%-36s %12.0f [%12.0f %12.0f] %s\n", what, median, values_[name].front(), values_[name].back(), unit);
  }

 private:
  std::map<std::string, std::vector<double>> values_;
};

int64_t NumRanks(const Decisions& decisions) {
  int64_t sum = 0;
  for (const GangStart& start : decisions.starts) sum += static_cast<int64_t>(start.ranks.size());
  return sum;
}

void Fill(const Form& form, uint64_t round, Results* results) {
  Cluster cluster(form.num_workers, round);
  for (const WaitingGang& gang : cluster.NewGangs(cluster.num_slots() * 5 / 4)) cluster.view().PutWaiting(gang);
  const double began = Seconds();
  const Decisions decisions = cluster.view().Schedule();
  const double seconds = Seconds() - began;
  URSA_CHECK(NumRanks(decisions) > cluster.num_slots() * 9 / 10) << NumRanks(decisions);
  results->Add("fill", static_cast<double>(decisions.starts.size()) / seconds);
  results->Add("fill ranks", static_cast<double>(NumRanks(decisions)) / seconds);
}

void Churn(const Form& form, Cluster* cluster, Results* results) {
  std::vector<WaitingGang> gangs;
  for (int64_t i = 0; i < form.num_cycles; ++i) gangs.push_back(cluster->NewGang());
  int64_t num_starts = 0;
  int64_t num_ranks = 0;
  const double began = Seconds();
  for (const WaitingGang& gang : gangs) {
    cluster->view().Remove(cluster->AnyRunning());
    cluster->view().PutWaiting(gang);
    const Decisions decisions = cluster->Schedule();
    num_starts += static_cast<int64_t>(decisions.starts.size());
    num_ranks += NumRanks(decisions);
  }
  const double seconds = Seconds() - began;
  URSA_CHECK(num_starts > form.num_cycles / 2) << num_starts;
  results->Add("churn", static_cast<double>(form.num_cycles) / seconds);
  results->Add("churn starts", static_cast<double>(num_starts) / seconds);
  results->Add("churn ranks", static_cast<double>(num_ranks) / seconds);
}

// Times single calls, in nanoseconds.
void Probe(const std::string& name, int64_t num_probes, Results* results, const std::function<void()>& prepare,
           const std::function<void()>& call) {
  std::vector<double> nanos;
  for (int64_t i = 0; i < num_probes; ++i) {
    prepare();
    const double began = Seconds();
    call();
    nanos.push_back((Seconds() - began) * 1e9);
  }
  std::sort(nanos.begin(), nanos.end());
  results->Add(name + " p50", nanos[nanos.size() / 2]);
  results->Add(name + " p99", nanos[nanos.size() * 99 / 100]);
}

void Blocked(const Form& form, Cluster* cluster, Results* results) {
  Probe(
      "clock", form.num_probes, results, [] {}, [] {});
  WaitingGang gang;
  Probe(
      "blocked", form.num_probes, results, [&] { gang = cluster->NewGang(); },
      [&] {
        cluster->view().PutWaiting(gang);
        cluster->Schedule();
      });
}

void Preempt(const Form& form, uint64_t round, Results* results) {
  Cluster full(form.num_workers, round);
  for (WaitingGang& gang : full.NewGangs(full.num_slots() * 5 / 4)) {
    gang.spec.priority = 50;
    full.view().PutWaiting(gang);
  }
  full.Schedule();
  full.Pass(absl::Minutes(1));
  Cluster cluster = full;
  const auto submit = [&cluster] {
    WaitingGang gang = cluster.NewGang();
    gang.spec.priority = 99;
    gang.spec.min_ranks = gang.spec.max_ranks = 32;
    cluster.view().PutWaiting(gang);
  };
  const auto preempt = [&cluster] {
    const Decisions decisions = cluster.Schedule();
    URSA_CHECK(!decisions.preemptions.empty()) << "nothing was preempted";
  };
  const int64_t num_probes = std::max<int64_t>(5, form.num_probes / 1000);
  // It files all that runs.
  Probe(
      "first preempt", num_probes, results,
      [&] {
        cluster = full;
        submit();
      },
      preempt);
  // What was preempted is gone and the gang has started.
  Probe(
      "preempt", num_probes, results,
      [&] {
        while (cluster.has_victims()) cluster.view().Remove(cluster.AnyRunning());
        cluster.Schedule();
        submit();
      },
      preempt);
}

void Why(Cluster* cluster, Results* results) {
  Probe(
      "why", 5, results, [] {}, [&] { URSA_CHECK(cluster->view().ListQueue(1000).size() == 1000); });
}

// What a machine could place if it had nothing to decide.
void Limit(const Form& form, Results* results) {
  std::vector<uint64_t> free(static_cast<size_t>(form.num_workers), (uint64_t{1} << kSlots) - 1);
  std::vector<RankPlace> places;
  places.reserve(free.size() * kSlots);
  const double began = Seconds();
  for (size_t worker = 0; worker < free.size(); ++worker) {
    while (free[worker] != 0) {
      places.push_back({static_cast<int64_t>(worker), __builtin_ctzll(free[worker])});
      free[worker] &= free[worker] - 1;
    }
  }
  const double seconds = Seconds() - began;
  URSA_CHECK(places.size() == free.size() * kSlots) << places.back().worker_id;
  results->Add("limit", static_cast<double>(places.size()) / seconds);
}

// A small cluster through everything: no slot is held twice, and the deltas give what building it anew gives.
void CheckCorrectness(uint64_t seed) {
  constexpr int64_t kWorkers = 50;
  Cluster cluster(kWorkers, seed);
  std::unordered_map<int64_t, WaitingGang> gangs;
  std::map<int64_t, GangStart> running;
  std::map<std::pair<int64_t, int32_t>, int64_t> held;
  std::map<GangId, GangId> preempted_for;
  for (int step = 0; step < 3000; ++step) {
    const WaitingGang gang = cluster.NewGang();
    gangs[gang.id.experiment_id] = gang;
    cluster.view().PutWaiting(gang);
    if (step > 300 && !cluster.running().empty()) {
      const GangId id = cluster.AnyRunning();
      for (const RankPlace& place : running[id.experiment_id].ranks) held.erase({place.worker_id, place.slot});
      running.erase(id.experiment_id);
      gangs.erase(id.experiment_id);
      cluster.view().Remove(id);
    }
    const Decisions decisions = cluster.Schedule();
    for (const GangPreemption& preemption : decisions.preemptions)
      preempted_for[preemption.victim] = preemption.for_whom;
    for (const GangStart& start : decisions.starts) {
      URSA_CHECK(static_cast<int32_t>(start.ranks.size()) == gangs[start.id.experiment_id].spec.min_ranks);
      for (const RankPlace& place : start.ranks) {
        URSA_CHECK(held.emplace(std::make_pair(place.worker_id, place.slot), start.id.experiment_id).second)
            << "w" << place.worker_id << " slot " << place.slot << " is held twice";
      }
      running[start.id.experiment_id] = start;
    }
  }
  Cluster fresh(kWorkers, seed);
  for (const auto& [id, start] : running) {
    RunningGang gang;
    gang.id = start.id;
    gang.spec = gangs[id].spec;
    gang.places = start.ranks;
    gang.stopping = preempted_for.count(start.id) > 0;
    if (gang.stopping) gang.preempted_for = preempted_for[start.id];
    fresh.view().PutRunning(gang);
    gangs.erase(id);
  }
  for (const ClusterView::UserUse& use : cluster.view().TakeChangedUse()) fresh.view().SetUse(use);
  for (const auto& [id, gang] : gangs) fresh.view().PutWaiting(gang);
  URSA_CHECK(fresh.view().DebugExport() == cluster.view().DebugExport())
      << "deltas give another view:\n"
      << cluster.view().DebugExport() << "instead of\n"
      << fresh.view().DebugExport();
}

Cluster FullCluster(const Form& form, uint64_t seed) {
  Cluster cluster(form.num_workers, seed);
  for (const WaitingGang& gang : cluster.NewGangs(cluster.num_slots())) cluster.view().PutWaiting(gang);
  for (int64_t i = 0; i < form.num_waiting; ++i) cluster.view().PutWaiting(cluster.NewGang());
  cluster.Schedule();
  return cluster;
}

// One part alone, for a profiler.
int RunOnly(const std::string& part, const Form& form, Results* results) {
  Cluster cluster = FullCluster(form, 1);
  for (int round = 0; round < form.rounds; ++round) {
    if (part == "fill") Fill(form, static_cast<uint64_t>(round + 1), results);
    if (part == "churn") Churn(form, &cluster, results);
  }
  results->Print(part, part.c_str(), "a second");
  return 0;
}

int Main(int argc, char** argv) {
  std::string form_name = "short";
  std::string only;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--form=", 0) == 0 && kForms.count(argument.substr(7))) {
      form_name = argument.substr(7);
    } else if (argument == "--clock=cpu" || argument == "--clock=wall") {
      clock_id = argument == "--clock=cpu" ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    } else if (argument == "--only=fill" || argument == "--only=churn") {
      only = argument.substr(7);
    } else {
      std::fprintf(stderr, "error: %s: unknown argument\n", argument.c_str());
      return 2;
    }
  }
  const Form& form = kForms.at(form_name);
  Results results;
  if (!only.empty()) return RunOnly(only, form, &results);
  CheckCorrectness(1);
  std::printf("checked: gangs whole, no slot held twice, deltas equal a view built anew\n");
  for (int round = 0; round < form.rounds; ++round) {
    const auto seed = static_cast<uint64_t>(round + 1);
    Limit(form, &results);
    Fill(form, seed, &results);
    Cluster cluster = FullCluster(form, seed);
    Churn(form, &cluster, &results);
    Blocked(form, &cluster, &results);
    Preempt(form, seed, &results);
    Why(&cluster, &results);
  }
  std::printf(
      "%s: %lld workers x %d slots, %lld gangs of 1 to 32 wait, 100 users in 5 workspaces; median [least most] of %d "
      "rounds\n",
      form_name.c_str(), static_cast<long long>(form.num_workers), kSlots, static_cast<long long>(form.num_waiting),
      form.rounds);
  results.Print("limit", "limit: slots from a bare bitmap", "ranks/s");
  results.Print("fill", "fill", "gangs/s");
  results.Print("fill ranks", "", "ranks/s");
  results.Print("churn", "churn: end + submit + decide", "cycles/s");
  results.Print("churn starts", "", "gangs/s");
  results.Print("churn ranks", "", "ranks/s");
  results.Print("blocked p50", "blocked: submit + decide, median", "ns");
  results.Print("blocked p99", "                     99th percentile", "ns");
  results.Print("clock p50", "  of that, reading the clock", "ns");
  results.Print("first preempt p50", "preempt: the first decision, median", "ns");
  results.Print("preempt p50", "preempt: later ones, median", "ns");
  results.Print("why p50", "why: 1000 reasons", "ns");
  std::printf("of the limit: %.1f %% (fill, ranks)\n", 100 * results.Median("fill ranks") / results.Median("limit"));
  std::printf("goal: 1000000 decisions/s; fill makes %.2f of it in gangs, %.2f in ranks\n",
              results.Median("fill") / 1e6, results.Median("fill ranks") / 1e6);
  std::printf(
      "peers, published: Nomad 3750 containers/s (hashicorp.com/c1m: 1 M containers on 5000 hosts, 5 servers); "
      "Kubernetes' scheduler gate 400 pods/s (scheduler_perf)\n");
  return 0;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) { return ursa::Main(argc, argv); }
