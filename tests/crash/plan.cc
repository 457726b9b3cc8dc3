#include "tests/crash/plan.h"

#include <algorithm>
#include <deque>

#include "absl/strings/match.h"

namespace ursa::crash {
namespace {

constexpr char kDie[] = "die";
constexpr char kFail[] = "fail";

constexpr int kRandomWorkKills = 3;    // of each program
constexpr int kRandomChangeKills = 8;  // of the coordinator

bool StartsWithAny(const std::string& name, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&name](const std::string& prefix) { return absl::StartsWith(name, prefix); });
}

// Passed at the first start in a folder, or at the end alone.
bool IsOfFirstOrLast(const std::string& name) {
  return StartsWithAny(name, {"coordinator.start.token_made", "coordinator.end.", "agent.session.before_worker_id",
                              "agent.session.worker_id_kept"});
}

// Of the coordinator, passed only when a worker reports something.
bool NeedsWork(const std::string& name) {
  return StartsWithAny(name, {"storage.metrics.", "storage.logs.", "storage.ledger.", "coordinator.commit.bulk_written",
                              "coordinator.report.", "coordinator.import.", "coordinator.evaluation."});
}

// Passed when something has been garbage for a minute, as the jobs of the storm before leave it: their turn comes last,
// for which the short form has no time.
bool NeedsGarbage(const std::string& name) {
  return StartsWithAny(name, {"storage.blob.before_delete", "storage.blob.deleted"});
}

// Passed once by each process.
bool IsOfStart(const std::string& name) {
  return StartsWithAny(name, {"coordinator.start.", "coordinator.worker.", "coordinator.commit.opened",
                              "storage.kv.opened", "base.file."});
}

// Passed many times a second.
bool IsHot(const std::string& name) {
  return StartsWithAny(name,
                       {"coordinator.commit.before_write", "coordinator.commit.written", "coordinator.commit.effect",
                        "storage.kv.before_synced", "storage.kv.after_synced", "storage.records."});
}

// Adds the kills of one point: a death, and by chance a failure where there can be one.
void Add(const Cluster::Point& point, int passes_max, Rng* rng, std::deque<Kill>* kills) {
  const auto pass = [&] { return 1 + static_cast<int>(rng->Below(passes_max)); };
  kills->push_back(Kill{point.name, kDie, pass()});
  if (point.can_fail && rng->Below(2) == 0) kills->push_back(Kill{point.name, kFail, pass()});
}

void Shuffle(std::deque<Kill>* kills, Rng* rng) {
  for (size_t i = kills->size(); i > 1; --i) std::swap((*kills)[i - 1], (*kills)[rng->Below(i)]);
}

}  // namespace

Storm::Kills FirstKills() {
  return {{kCoordinator, {Kill{"coordinator.start.token_made", kDie, 1}}},
          {kWorker,
           {Kill{"agent.session.before_worker_id", kDie, 1}, Kill{"base.file.before_replace", kDie, 1},
            Kill{"agent.session.worker_id_kept", kDie, 1}}}};
}

Storm::Kills WorkKills(const Cluster& cluster, Rng* rng) {
  Storm::Kills kills;
  for (const char* program : {kCoordinator, kWorker, kTask}) {
    std::deque<Kill>& list = kills[program];
    for (const Cluster::Point& point : cluster.Points(program)) {
      if (IsOfFirstOrLast(point.name)) continue;
      if (program == kCoordinator ? !NeedsWork(point.name) : absl::StartsWith(point.name, "base.")) continue;
      Add(point, /*passes_max=*/2, rng, &list);
    }
    list.insert(list.end(), kRandomWorkKills, Kill());
    Shuffle(&list, rng);
  }
  return kills;
}

Storm::Kills ChangeKills(const Cluster& cluster, Rng* rng) {
  std::deque<Kill> kills;
  std::deque<Kill> late;
  for (const Cluster::Point& point : cluster.Points(kCoordinator)) {
    if (IsOfFirstOrLast(point.name) || NeedsWork(point.name)) continue;
    if (NeedsGarbage(point.name)) {
      Add(point, 1, rng, &late);
    } else {
      Add(point, IsHot(point.name) ? 60 : IsOfStart(point.name) ? 1 : 3, rng, &kills);
    }
  }
  kills.insert(kills.end(), kRandomChangeKills, Kill());
  Shuffle(&kills, rng);
  kills.insert(kills.end(), late.begin(), late.end());
  return {{kCoordinator, kills}};
}

Kill EndKill() { return Kill{"coordinator.end.before", kDie, 1}; }

std::vector<Kill> UpKills() {
  return {Kill{"up.daemon_started", kDie, 1},         // the coordinator, for which nobody waits then
          Kill{"up.daemon_ready", kDie, 1},           // the coordinator
          Kill{"up.daemon_started", kDie, 1},         // the worker
          Kill{"base.file.before_replace", kDie, 1},  // the list of pids
          Kill{"up.before_client_env", kDie, 1},     Kill{"base.file.replaced", kDie, 2}};
}

}  // namespace ursa::crash
