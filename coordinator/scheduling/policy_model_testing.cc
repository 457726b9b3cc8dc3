#include "coordinator/scheduling/policy_model_testing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace ursa {
namespace {

constexpr int32_t kFront = 100;

std::string Name(const GangId& id) { return absl::StrCat("t", id.experiment_id, ".", id.number); }

bool IsOffered(const SchedulerWorker& worker, int32_t slot) {
  return slot >= 0 && slot < worker.num_slots && std::count(worker.withheld.begin(), worker.withheld.end(), slot) == 0;
}

bool Fits(const SchedulerWorker& worker, const GangSpec& spec) {
  return worker.usable && worker.simd_level >= spec.simd_level &&
         std::all_of(spec.labels.begin(), spec.labels.end(), [&worker](const std::string& label) {
           return std::count(worker.labels.begin(), worker.labels.end(), label) > 0;
         });
}

}  // namespace

int64_t PolicyModel::Capacity(const GangSpec& spec) const {
  int64_t sum = 0;
  for (const auto& [id, worker] : workers) {
    for (int32_t slot = 0; slot < worker.num_slots; ++slot) sum += Fits(worker, spec) && IsOffered(worker, slot);
  }
  return sum;
}

int64_t PolicyModel::Gives(const RunningGang& gang, const GangSpec& spec) const {
  return std::count_if(gang.places.begin(), gang.places.end(), [&](const RankPlace& place) {
    const auto worker = workers.find(place.worker_id);
    return worker != workers.end() && Fits(worker->second, spec) && IsOffered(worker->second, place.slot);
  });
}

int64_t PolicyModel::CountFree(const std::function<bool(const SchedulerWorker&)>& counts) const {
  std::set<std::pair<int64_t, int32_t>> taken;
  for (const auto& [id, gang] : running) {
    for (const RankPlace& place : gang.places) taken.emplace(place.worker_id, place.slot);
  }
  int64_t sum = 0;
  for (const auto& [id, worker] : workers) {
    for (int32_t slot = 0; slot < worker.num_slots; ++slot) {
      sum += counts(worker) && IsOffered(worker, slot) && taken.count({id, slot}) == 0;
    }
  }
  return sum;
}

int64_t PolicyModel::Free(const GangSpec& spec) const {
  return CountFree([&spec](const SchedulerWorker& worker) { return Fits(worker, spec); });
}

int64_t PolicyModel::FreeOfBoth(const GangSpec& spec, const GangSpec& other) const {
  return CountFree([&](const SchedulerWorker& worker) { return Fits(worker, spec) && Fits(worker, other); });
}

int64_t PolicyModel::HeldByUser(const Owner& owner) const {
  int64_t sum = 0;
  for (const auto& [id, gang] : running) {
    if (!(gang.spec.owner < owner) && !(owner < gang.spec.owner)) sum += static_cast<int64_t>(gang.places.size());
  }
  return sum;
}

int64_t PolicyModel::HeldByWorkspace(const std::string& workspace) const {
  int64_t sum = 0;
  for (const auto& [id, gang] : running) {
    if (gang.spec.owner.workspace == workspace) sum += static_cast<int64_t>(gang.places.size());
  }
  return sum;
}

int64_t PolicyModel::HeldByExperiment(int64_t experiment_id) const {
  int64_t sum = 0;
  for (const auto& [id, gang] : running) {
    if (id.experiment_id == experiment_id) sum += static_cast<int64_t>(gang.places.size());
  }
  return sum;
}

absl::Time PolicyModel::OrderTime() const {
  return absl::FromUnixSeconds(absl::ToUnixSeconds(now) / absl::ToInt64Seconds(options.order_period) *
                               absl::ToInt64Seconds(options.order_period));
}

int32_t PolicyModel::LevelOf(const WaitingGang& gang) const {
  int32_t level = gang.spec.priority;
  for (absl::Time rise = gang.since + options.aging_step; rise <= OrderTime() && level < kFront;
       rise += options.aging_step) {
    ++level;
  }
  return level;
}

std::pair<int64_t, int64_t> PolicyModel::ScoresOf(const Owner& owner) const {
  int64_t workspace_score = 0;
  int64_t user_score = 0;
  std::set<Owner> owners;
  for (const auto& [user, used] : use) owners.insert(user);
  for (const auto& [id, gang] : running) owners.insert(gang.spec.owner);
  for (const Owner& user : owners) {
    if (user.workspace != owner.workspace) continue;
    const int64_t held = HeldByUser(user);
    const auto it = use.find(user);
    const DecayedUse used =
        Charge(it == use.end() ? DecayedUse() : it->second, held, OrderTime(), options.use_half_life);
    const int64_t score = std::llround(AverageSlots(used, options.use_half_life) * 1e6) + held * 1'000'000;
    workspace_score += score;
    if (user.user == owner.user) user_score = score;
  }
  return {workspace_score, user_score};
}

int64_t PolicyModel::RoomOf(const Owner& owner) const {
  int64_t room = INT64_MAX;
  if (options.user_slots_max) room = std::min(room, *options.user_slots_max - HeldByUser(owner));
  if (options.workspace_slots_max) {
    room = std::min(room, *options.workspace_slots_max - HeldByWorkspace(owner.workspace));
  }
  return room;
}

std::set<GangId> PolicyModel::HeldBack() const {
  std::map<int64_t, std::vector<const WaitingGang*>> by_experiment;
  for (const auto& [id, gang] : waiting) {
    if (gang.spec.experiment_slots_max) by_experiment[id.experiment_id].push_back(&gang);
  }
  std::set<GangId> held_back;
  for (auto& [experiment_id, gangs] : by_experiment) {
    std::sort(gangs.begin(), gangs.end(), [](const WaitingGang* a, const WaitingGang* b) {
      return std::tie(a->position, a->id) < std::tie(b->position, b->id);
    });
    int64_t sum = HeldByExperiment(experiment_id);
    bool has_room = true;
    for (const WaitingGang* gang : gangs) {
      sum += gang->spec.min_ranks;
      has_room &= sum <= *gang->spec.experiment_slots_max;
      if (!has_room) held_back.insert(gang->id);
    }
  }
  return held_back;
}

std::vector<GangId> PolicyModel::InOrder() const {
  const std::set<GangId> held_back = HeldBack();
  std::vector<std::tuple<int32_t, std::pair<int64_t, int64_t>, int64_t, GangId>> order;
  for (const auto& [id, gang] : waiting) {
    if (held_back.count(id) || gang.spec.min_ranks > RoomOf(gang.spec.owner)) continue;
    const int32_t level = LevelOf(gang);
    const auto scores = level == kFront ? std::pair<int64_t, int64_t>() : ScoresOf(gang.spec.owner);
    order.emplace_back(-level, scores, gang.position, id);
  }
  std::sort(order.begin(), order.end());
  std::vector<GangId> ids;
  for (const auto& [level, scores, position, id] : order) ids.push_back(id);
  return ids;
}

std::optional<GangId> PolicyModel::First() const {
  std::optional<GangId> first;
  std::optional<GangId> claimant;
  for (const GangId& id : InOrder()) {
    const WaitingGang& gang = waiting.at(id);
    if (gang.spec.min_ranks > Capacity(gang.spec)) continue;
    if (!first) first = id;
    const bool is_live = std::any_of(running.begin(), running.end(), [&id = id](const auto& entry) {
      return entry.second.stopping && entry.second.preempted_for == id;
    });
    const bool fits = gang.spec.min_ranks <= Free(gang.spec);
    if (!claims.count(id) || !(is_live || fits)) continue;
    const int32_t best = claimant ? waiting.at(*claimant).spec.priority : 0;
    if (gang.spec.priority > best || (gang.spec.priority == best && id < *claimant)) claimant = id;
  }
  if (!claimant || waiting.at(*first).spec.priority > waiting.at(*claimant).spec.priority) return first;
  return claimant;
}

int64_t PolicyModel::BackfillAllowance(const WaitingGang& head) const {
  std::vector<int64_t> gives;
  for (const auto& [id, gang] : running) gives.push_back(Gives(gang, head.spec));
  const int64_t missing = head.spec.min_ranks - Free(head.spec);
  int64_t allowance = INT64_MAX;
  for (size_t ended = 0; ended < (size_t{1} << gives.size()); ++ended) {
    int64_t sum = 0;
    for (size_t i = 0; i < gives.size(); ++i) sum += ended >> i & 1 ? gives[i] : 0;
    // If these have ended, the head starts; it has to all the same without what others have taken.
    if (sum >= missing) allowance = std::min(allowance, sum - missing);
  }
  return allowance == INT64_MAX ? 0 : allowance;
}

int32_t PolicyModel::RanksFor(const WaitingGang& gang, int64_t available) const {
  int64_t num_ranks = std::min({int64_t{gang.spec.max_ranks}, available, RoomOf(gang.spec.owner)});
  if (gang.spec.experiment_slots_max) {
    const std::set<GangId> held_back = HeldBack();
    int64_t num_others = HeldByExperiment(gang.id.experiment_id);
    for (const auto& [id, other] : waiting) {
      if (id.experiment_id == gang.id.experiment_id && id != gang.id && !held_back.count(id)) {
        num_others += other.spec.min_ranks;
      }
    }
    num_ranks = std::min(num_ranks, *gang.spec.experiment_slots_max - num_others);
  }
  if (gang.spec.ranks_divide != 0) {
    while (gang.spec.ranks_divide % num_ranks != 0) --num_ranks;
  }
  return static_cast<int32_t>(num_ranks);
}

std::string PolicyModel::CheckStart(const GangStart& start, int64_t available, const GangSpec* head, int64_t kept_max) {
  const WaitingGang gang = waiting.at(start.id);
  const int32_t num_ranks = RanksFor(gang, available);
  if (static_cast<int32_t>(start.ranks.size()) != num_ranks) {
    return absl::StrCat(Name(gang.id), " starts with ", start.ranks.size(), " ranks, not ", num_ranks);
  }
  std::set<std::pair<int64_t, int32_t>> taken;
  for (const auto& [id, other] : running) {
    for (const RankPlace& place : other.places) taken.emplace(place.worker_id, place.slot);
  }
  int64_t num_kept = 0;
  std::set<int64_t> left;  // workers whose ranks are complete
  for (size_t i = 0; i < start.ranks.size(); ++i) {
    const RankPlace& place = start.ranks[i];
    const auto worker = workers.find(place.worker_id);
    if (worker == workers.end() || !Fits(worker->second, gang.spec) || !IsOffered(worker->second, place.slot)) {
      return absl::StrCat(Name(gang.id), " stands on w", place.worker_id, " slot ", place.slot,
                          ", which is none for it");
    }
    if (!taken.emplace(place.worker_id, place.slot).second) {
      return absl::StrCat("w", place.worker_id, " slot ", place.slot, " is booked twice");
    }
    num_kept += head != nullptr && Fits(worker->second, *head);
    if (i > 0 && start.ranks[i - 1].worker_id != place.worker_id) left.insert(start.ranks[i - 1].worker_id);
    if (left.count(place.worker_id)) return absl::StrCat(Name(gang.id), ": ranks of one worker do not stand together");
  }
  if (head != nullptr && num_kept > kept_max)
    return absl::StrCat(Name(gang.id), " takes ", num_kept, " kept slots of ", kept_max);
  const bool is_raised = LevelOf(gang) > gang.spec.priority;
  const int32_t protected_level = is_raised ? LevelOf(gang) : 0;
  const absl::Time protected_until = is_raised ? now + options.aged_run_min : absl::InfinitePast();
  if (start.protected_level != protected_level || start.protected_until != protected_until) {
    return absl::StrCat(Name(gang.id), " has another protection");
  }
  const Owner& owner = gang.spec.owner;
  use[owner] = Charge(use[owner], HeldByUser(owner), now, options.use_half_life);
  running[gang.id] = {gang.id, gang.spec, start.ranks, now, now, protected_level, protected_until, false, std::nullopt};
  waiting.erase(gang.id);
  return "";
}

std::string PolicyModel::CheckPreemptions(const Decisions& decisions, const WaitingGang& head, size_t* next) {
  int64_t missing = head.spec.min_ranks - Free(head.spec);
  std::vector<const RunningGang*> candidates;
  int64_t num_available = 0;
  for (const auto& [id, gang] : running) {
    if (gang.stopping) {
      missing -= Gives(gang, head.spec);
    } else if (gang.spec.priority < head.spec.priority && Gives(gang, head.spec) > 0 &&
               (gang.protected_until <= now || gang.protected_level < head.spec.priority)) {
      candidates.push_back(&gang);
      num_available += Gives(gang, head.spec);
    }
  }
  std::set<GangId> victims;
  for (; *next < decisions.preemptions.size() && decisions.preemptions[*next].for_whom == head.id; ++*next) {
    if (!victims.insert(decisions.preemptions[*next].victim).second) return "a victim is named twice";
  }
  if (missing <= 0 || num_available < missing) {
    return victims.empty() ? "" : absl::StrCat("preempts without need or use for ", Name(head.id));
  }
  // Cost: by priority from above, lost work, gangs, slots. (The victims' own test knows all ties.)
  const auto cost_of = [&](const auto& is_chosen) {
    std::map<int32_t, std::array<int64_t, 3>> cost;
    int64_t freed = 0;
    for (const RunningGang* gang : candidates) {
      if (!is_chosen(gang)) continue;
      freed += Gives(*gang, head.spec);
      auto& of_priority = cost[-gang->spec.priority];
      of_priority[0] += absl::ToInt64Milliseconds(now - gang->checkpoint) * static_cast<int64_t>(gang->places.size());
      ++of_priority[1];
      of_priority[2] += Gives(*gang, head.spec);
    }
    std::vector<int64_t> flat(300);
    for (const auto& [priority, values] : cost) {
      for (size_t i = 0; i < 3; ++i) flat[static_cast<size_t>(99 + priority) * 3 + i] = values[i];
    }
    return std::make_pair(freed, flat);
  };
  const auto [freed, cost] = cost_of([&](const RunningGang* gang) { return victims.count(gang->id) > 0; });
  if (freed < missing) return absl::StrCat("victims give ", freed, " of ", missing, " slots");
  for (size_t subset = 0; subset < (size_t{1} << candidates.size()); ++subset) {
    const auto [other_freed, other_cost] = cost_of([&](const RunningGang* gang) {
      const auto i = std::find(candidates.begin(), candidates.end(), gang) - candidates.begin();
      return (subset >> i & 1) != 0;
    });
    if (other_freed >= missing && other_cost < cost) return "cheaper victims would do";
  }
  for (const GangId& id : victims) {
    if (!running.count(id)) return absl::StrCat("the victim ", Name(id), " does not run");
    running[id].stopping = true;
    running[id].preempted_for = head.id;
  }
  claims.insert(head.id);
  return "";
}

std::string PolicyModel::CheckBackfill(const Decisions& decisions, const WaitingGang& head, size_t* next) {
  while (true) {
    const int64_t allowance = BackfillAllowance(head);
    std::optional<GangId> backfill;
    int64_t available = 0;
    for (const GangId& id : InOrder()) {
      const WaitingGang& gang = waiting.at(id);
      const int64_t of_head = FreeOfBoth(gang.spec, head.spec);
      available = Free(gang.spec) - of_head + std::min(allowance, of_head);
      if (id != head.id && gang.spec.min_ranks <= available) {
        backfill = id;
        break;
      }
    }
    if (!backfill) return "";
    if (*next == decisions.starts.size() || decisions.starts[*next].id != *backfill) {
      return absl::StrCat(Name(*backfill), " should start before the head as number ", *next);
    }
    const std::string problem = CheckStart(decisions.starts[(*next)++], available, &head.spec, allowance);
    if (!problem.empty()) return problem;
  }
}

std::string PolicyModel::Check(const Decisions& decisions) {
  size_t next = 0;
  size_t next_preemption = 0;
  while (const std::optional<GangId> first = First()) {
    const WaitingGang gang = waiting.at(*first);
    const int64_t free = Free(gang.spec);
    if (free >= gang.spec.min_ranks) {
      if (next == decisions.starts.size() || decisions.starts[next].id != *first) {
        return absl::StrCat(Name(*first), " should start as number ", next);
      }
      const std::string problem = CheckStart(decisions.starts[next++], free, nullptr, 0);
      if (!problem.empty()) return problem;
      continue;
    }
    const size_t num_started = next;
    std::string problem = CheckPreemptions(decisions, gang, &next_preemption);
    if (problem.empty()) problem = CheckBackfill(decisions, gang, &next);
    if (!problem.empty()) return problem;
    num_backfills += static_cast<int64_t>(next - num_started);
    if (next == num_started) break;
  }
  if (next != decisions.starts.size()) return absl::StrCat(Name(decisions.starts[next].id), " should not start");
  if (next_preemption != decisions.preemptions.size()) return "preempts for no head";
  for (auto it = claims.begin(); it != claims.end();) {
    const bool is_live = std::any_of(running.begin(), running.end(), [&](const auto& entry) {
      return entry.second.stopping && entry.second.preempted_for == *it;
    });
    it = is_live ? std::next(it) : claims.erase(it);
  }
  return "";
}

}  // namespace ursa
