#include "coordinator/scheduling/waiting_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace ursa {
namespace {

constexpr int64_t kAgingMicrosMax = int64_t{1} << 50;  // 35 years: as good as never, and far from an overflow

int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

}  // namespace

WaitingQueue::WaitingQueue(const SchedulingOptions& options)
    : options_(options),
      period_micros_(absl::ToInt64Microseconds(options.order_period)),
      aging_micros_(options.aging_step == absl::InfiniteDuration()
                        ? 0
                        : std::min(absl::ToInt64Microseconds(options.aging_step), kAgingMicrosMax)),
      shares_(options.use_half_life),
      levels_(kFrontLevel + 1) {}

int32_t WaitingQueue::Add(Job job) {
  const int32_t handle = jobs_.Add();
  job.waits = true;
  job.aging_index = kNone;
  job.held_back = false;
  mutable_job(handle) = std::move(job);
  SetLevel(handle);
  const Job& added = this->job(handle);
  const std::optional<int32_t> max = added.experiment_slots_max;
  shares_.AddWaiting(added.user, 1);
  ++num_jobs_;
  if (!max) {
    Enter(handle);
    return handle;
  }
  Experiment& experiment = experiments_[added.id.experiment_id];
  experiment.slots.max = *max;
  const JobKey key = KeyOf(handle);
  if (experiment.held_back.empty() || key < *experiment.held_back.begin()) {
    experiment.queued.insert(key);
    experiment.num_queued += added.min_ranks;
    Enter(handle);
  } else {
    experiment.held_back.insert(key);
    mutable_job(handle).held_back = true;
  }
  Rebalance(&experiment);
  return handle;
}

void WaitingQueue::Remove(int32_t handle) {
  const Job& removed = job(handle);
  ForgetRise(handle);
  if (!removed.held_back) Leave(handle);
  if (removed.experiment_slots_max) {
    Experiment& experiment = experiments_[removed.id.experiment_id];
    if (removed.held_back) {
      experiment.held_back.erase(KeyOf(handle));
    } else {
      experiment.queued.erase(KeyOf(handle));
      experiment.num_queued -= removed.min_ranks;
    }
    Rebalance(&experiment);  // it may have been all that stood before others
    DropIfEmpty(removed.id.experiment_id);
  }
  shares_.AddWaiting(removed.user, -1);
  mutable_job(handle).waits = false;
  --num_jobs_;
  jobs_.GiveBack(handle);
}

int32_t WaitingQueue::Find(const GangId& id) const {
  for (int32_t handle = 0; handle < jobs_.num_handles(); ++handle) {
    if (job(handle).waits && job(handle).id == id) return handle;
  }
  return kNone;
}

void WaitingQueue::AddExperimentHeld(int64_t experiment_id, int64_t num_slots, int32_t max) {
  Experiment& experiment = experiments_[experiment_id];
  experiment.slots.num_held += num_slots;
  experiment.slots.max = max;
  Rebalance(&experiment);
  DropIfEmpty(experiment_id);
}

std::optional<WaitingQueue::ExperimentSlots> WaitingQueue::SlotsOfExperiment(int64_t experiment_id) const {
  const auto it = experiments_.find(experiment_id);
  if (it == experiments_.end()) return std::nullopt;
  return it->second.slots;
}

void WaitingQueue::Rebalance(Experiment* experiment) {
  const ExperimentSlots& slots = experiment->slots;
  while (!experiment->queued.empty() && slots.num_held + experiment->num_queued > slots.max) {
    const JobKey last = *std::prev(experiment->queued.end());
    experiment->queued.erase(last);
    experiment->num_queued -= job(last.handle).min_ranks;
    Leave(last.handle);
    experiment->held_back.insert(last);
    mutable_job(last.handle).held_back = true;
  }
  while (!experiment->held_back.empty()) {
    const JobKey first = *experiment->held_back.begin();
    const int32_t min_ranks = job(first.handle).min_ranks;
    if (slots.num_held + experiment->num_queued + min_ranks > slots.max) break;
    experiment->held_back.erase(first);
    mutable_job(first.handle).held_back = false;
    experiment->queued.insert(first);
    experiment->num_queued += min_ranks;
    Enter(first.handle);
  }
}

void WaitingQueue::DropIfEmpty(int64_t experiment_id) {
  const auto it = experiments_.find(experiment_id);
  const Experiment& experiment = it->second;
  if (experiment.slots.num_held == 0 && experiment.queued.empty() && experiment.held_back.empty()) {
    experiments_.erase(it);
  }
}

SizeCounts* WaitingQueue::SizesOf(const Job& job) {
  const auto label_class = static_cast<size_t>(job.label_class);
  if (sizes_.size() <= label_class) sizes_.resize(label_class + 1);
  return &sizes_[label_class][static_cast<size_t>(job.simd_level)];
}

void WaitingQueue::Enter(int32_t handle) {
  const Job& entered = job(handle);
  Level& level = levels_[static_cast<size_t>(entered.level)];
  const auto user = static_cast<size_t>(entered.user);
  if (level.lines.size() <= user) level.lines.resize(user + 1);
  Lines& lines = level.lines[user];
  const auto line = std::find_if(lines.begin(), lines.end(), [&](const Line& l) { return l.IsOf(entered); });
  const auto index = static_cast<size_t>(line - lines.begin());
  JobKey key = KeyOf(handle);
  if (line == lines.end()) {
    lines.push_back({entered.label_class, entered.simd_level, entered.min_ranks, key, {}});
    PutInOrder(&lines, index);
  } else if (key < line->first) {
    std::swap(key, line->first);
    line->others.insert(line->others.begin(), key);
    PutInOrder(&lines, index);
  } else {
    line->others.insert(line->others.end(), key);  // where most belong
  }
  if (++level.num_queued == 1) used_levels_.Insert(UpsideDown(entered.level));
  SizesOf(entered)->Add(entered.min_ranks, 1);
}

void WaitingQueue::Leave(int32_t handle) {
  const Job& left = job(handle);
  Level& level = levels_[static_cast<size_t>(left.level)];
  Lines& lines = level.lines[static_cast<size_t>(left.user)];
  const auto line = std::find_if(lines.begin(), lines.end(), [&](const Line& l) { return l.IsOf(left); });
  if (line->first.handle != handle) {
    line->others.erase(KeyOf(handle));
  } else if (line->others.empty()) {
    lines.erase(line);
  } else {
    line->first = *line->others.begin();
    line->others.erase(line->others.begin());
    PutInOrder(&lines, static_cast<size_t>(line - lines.begin()));
  }
  if (--level.num_queued == 0) used_levels_.Erase(UpsideDown(left.level));
  SizesOf(left)->Add(left.min_ranks, -1);
}

void WaitingQueue::PutInOrder(Lines* lines, size_t line) {
  const auto is_before = [lines](size_t a, size_t b) { return (*lines)[a].first < (*lines)[b].first; };
  for (; line > 0 && is_before(line, line - 1); --line) std::swap((*lines)[line], (*lines)[line - 1]);
  for (; line + 1 < lines->size() && is_before(line + 1, line); ++line) std::swap((*lines)[line], (*lines)[line + 1]);
}

absl::Time WaitingQueue::order_time() const {
  return period_ == INT64_MIN ? absl::InfinitePast() : absl::FromUnixMicros(period_ * period_micros_);
}

bool WaitingQueue::SetTime(absl::Time now) {
  const int64_t period = FloorDivide(absl::ToUnixMicros(now), period_micros_);
  if (period <= period_) return false;
  period_ = period;
  while (!rises_.empty() && rises_.begin()->first <= period_) {
    const std::vector<int32_t> risen = std::move(rises_.begin()->second);
    rises_.erase(rises_.begin());
    for (const int32_t handle : risen) {
      mutable_job(handle).aging_index = kNone;
      const bool is_queued = !job(handle).held_back;
      if (is_queued) Leave(handle);
      SetLevel(handle);
      if (is_queued) Enter(handle);
    }
  }
  shares_.SetOrderTime(order_time());
  return true;
}

void WaitingQueue::SetLevel(int32_t handle) {
  Job& job = mutable_job(handle);
  job.level = job.priority;
  if (aging_micros_ == 0) return;
  const int64_t since = absl::ToUnixMicros(job.since);
  int64_t num_steps = 0;
  if (period_ != INT64_MIN) num_steps = std::max<int64_t>(0, period_ * period_micros_ - since) / aging_micros_;
  job.level = static_cast<int32_t>(std::min<int64_t>(kFrontLevel, job.priority + num_steps));
  if (job.level == kFrontLevel) return;
  job.aging_period = -FloorDivide(-(since + (num_steps + 1) * aging_micros_), period_micros_);
  std::vector<int32_t>& rising = rises_[job.aging_period];
  job.aging_index = static_cast<int32_t>(rising.size());
  rising.push_back(handle);
}

void WaitingQueue::ForgetRise(int32_t handle) {
  const Job& job = this->job(handle);
  if (job.aging_index == kNone) return;
  const auto it = rises_.find(job.aging_period);
  std::vector<int32_t>& rising = it->second;
  const int32_t last = rising.back();
  rising[static_cast<size_t>(job.aging_index)] = last;
  mutable_job(last).aging_index = job.aging_index;
  rising.pop_back();
  if (rising.empty()) rises_.erase(it);
}

int64_t WaitingQueue::RoomOf(int32_t index) const {
  const FairShares::User& user = shares_.user(index);
  int64_t room = INT64_MAX;
  if (options_.user_slots_max) room = *options_.user_slots_max - user.num_held;
  if (options_.workspace_slots_max) {
    room = std::min(room, *options_.workspace_slots_max - shares_.workspace(user.workspace).num_held);
  }
  return room;
}

int32_t WaitingQueue::RanksFor(const Job& job, int64_t available) const {
  int64_t num_ranks = std::min({int64_t{job.max_ranks}, available, RoomOf(job.user)});
  if (job.experiment_slots_max) {
    const Experiment& experiment = experiments_.at(job.id.experiment_id);
    const int64_t num_others = experiment.slots.num_held + experiment.num_queued - job.min_ranks;
    num_ranks = std::min(num_ranks, experiment.slots.max - num_others);
  }
  while (job.ranks_divide != 0 && num_ranks > job.min_ranks && job.ranks_divide % num_ranks != 0) --num_ranks;
  return static_cast<int32_t>(std::max<int64_t>(num_ranks, job.min_ranks));
}

bool WaitingQueue::AnyFits(const SlotsByClass& limits) const {
  for (size_t label_class = 0; label_class < sizes_.size(); ++label_class) {
    for (size_t level = 0; level < kNumSimdLevels; ++level) {
      const SizeCounts& sizes = sizes_[label_class][level];
      if (!sizes.empty() && sizes.begin()->first <= limits[label_class][level]) return true;
    }
  }
  return false;
}

int32_t WaitingQueue::FindFirst(const SlotsByClass& limits) const {
  if (!AnyFits(limits)) return kNone;
  for (int32_t i = used_levels_.First(); i != IndexSet::kNone; i = used_levels_.NextAtLeast(i + 1)) {
    const int32_t found = FirstOfLevel(kFrontLevel - i, limits);
    if (found != kNone) return found;
  }
  return kNone;
}

int32_t WaitingQueue::FirstOfLevel(int32_t level, const SlotsByClass& limits) const {
  const bool is_front = level == kFrontLevel;
  const std::vector<Lines>& lines = levels_[static_cast<size_t>(level)].lines;  // of those who have ever had any
  const JobKey* best = nullptr;
  std::pair<int64_t, int64_t> best_scores;
  for (const auto& [workspace_score, workspace] : shares_.workspaces_in_order()) {
    if (best != nullptr && !is_front && workspace_score > best_scores.first) break;
    for (const auto& [user_score, user] : shares_.users_in_order(workspace)) {
      const std::pair<int64_t, int64_t> scores(workspace_score, user_score);
      if (best != nullptr && !is_front && scores > best_scores) break;
      if (static_cast<size_t>(user) >= lines.size() || lines[static_cast<size_t>(user)].empty()) continue;
      const JobKey* first = FirstOfUser(user, lines[static_cast<size_t>(user)], limits);
      if (first == nullptr) continue;
      if (best == nullptr || (!is_front && scores < best_scores) || *first < *best) {
        best = first;
        best_scores = scores;
      }
    }
  }
  return best == nullptr ? kNone : best->handle;
}

const WaitingQueue::JobKey* WaitingQueue::FirstOfUser(int32_t user, const Lines& lines,
                                                      const SlotsByClass& limits) const {
  const int64_t room = RoomOf(user);
  for (const Line& line : lines) {
    const SlotsByLevel& by_level = limits[static_cast<size_t>(line.label_class)];
    if (line.min_ranks <= by_level[static_cast<size_t>(line.simd_level)] && line.min_ranks <= room) return &line.first;
  }
  return nullptr;
}

std::vector<int32_t> WaitingQueue::InOrder(size_t num_max) const {
  std::vector<int32_t> order;
  Scores scores;
  for (const auto& [workspace_score, workspace] : shares_.workspaces_in_order()) {
    scores.workspaces.resize(std::max(scores.workspaces.size(), static_cast<size_t>(workspace) + 1));
    scores.workspaces[static_cast<size_t>(workspace)] = workspace_score;
  }
  for (int32_t user = 0; user < shares_.num_users(); ++user) scores.users.push_back(shares_.user(user).score());
  for (int32_t i = used_levels_.First(); i != IndexSet::kNone && order.size() < num_max;
       i = used_levels_.NextAtLeast(i + 1)) {
    AppendLevel(kFrontLevel - i, num_max, &scores, &order);
  }
  JobKeys held_back;
  for (const auto& [id, experiment] : experiments_) {
    held_back.insert(experiment.held_back.begin(), experiment.held_back.end());
  }
  for (const JobKey& key : held_back) {
    if (order.size() == num_max) break;
    order.push_back(key.handle);
  }
  return order;
}

void WaitingQueue::AppendLevel(int32_t level, size_t num_max, Scores* scores, std::vector<int32_t>* order) const {
  struct Cursor {
    JobKey next;
    JobKeys::const_iterator others;
    JobKeys::const_iterator end;
    size_t user;
    size_t workspace;
  };
  std::vector<Cursor> cursors;
  const std::vector<Lines>& lines_by_user = levels_[static_cast<size_t>(level)].lines;
  for (size_t user = 0; user < lines_by_user.size(); ++user) {
    const auto workspace = static_cast<size_t>(shares_.user(static_cast<int32_t>(user)).workspace);
    for (const Line& line : lines_by_user[user]) {
      cursors.push_back({line.first, line.others.begin(), line.others.end(), user, workspace});
    }
  }
  const bool is_front = level == kFrontLevel;
  while (!cursors.empty() && order->size() < num_max) {
    const auto first = std::min_element(cursors.begin(), cursors.end(), [&](const Cursor& a, const Cursor& b) {
      const std::pair<int64_t, int64_t> a_scores(scores->workspaces[a.workspace], scores->users[a.user]);
      const std::pair<int64_t, int64_t> b_scores(scores->workspaces[b.workspace], scores->users[b.user]);
      if (!is_front && a_scores != b_scores) return a_scores < b_scores;
      return a.next < b.next;
    });
    order->push_back(first->next.handle);
    const int64_t taken = FairShares::SlotsScore(job(first->next.handle).min_ranks);
    scores->users[first->user] += taken;
    scores->workspaces[first->workspace] += taken;
    if (first->others == first->end) {
      cursors.erase(first);
    } else {
      first->next = *first->others++;
    }
  }
}

std::string WaitingQueue::DebugExport() const {
  std::string text;
  for (const int32_t handle : InOrder(static_cast<size_t>(num_jobs_))) {
    const Job& found = job(handle);
    absl::StrAppend(&text, "waiting ", found.id.experiment_id, ".", found.id.number, " level ", found.level,
                    found.held_back ? " held back" : "", " rises at ",
                    found.aging_index == kNone ? std::string("-") : absl::StrCat(found.aging_period), "\n");
  }
  // The numbers of classes depend on who came first: their sizes are added up.
  for (size_t level = 0; level < kNumSimdLevels; ++level) {
    SizeCounts sum;
    for (const auto& by_level : sizes_) {
      for (const auto& [size, count] : by_level[level]) sum.Add(size, count);
    }
    for (const auto& [size, count] : sum) absl::StrAppend(&text, "size ", level, "/", size, ": ", count, "\n");
  }
  const absl::btree_map<int64_t, const Experiment*> experiments = [this] {
    absl::btree_map<int64_t, const Experiment*> sorted;
    for (const auto& [id, experiment] : experiments_) sorted[id] = &experiment;
    return sorted;
  }();
  for (const auto& [id, experiment] : experiments) {
    absl::StrAppend(&text, "experiment ", id, " holds ", experiment->slots.num_held, " of ", experiment->slots.max,
                    " queued ", experiment->num_queued, "\n");
  }
  return text + shares_.DebugExport();
}

}  // namespace ursa
