#include "coordinator/scheduling/fair_share.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"

namespace ursa {
namespace {

using Order = FairShares::Order;

double DecayRate(absl::Duration half_life) { return std::log(2.0) / absl::ToDoubleSeconds(half_life); }

DecayedUse ChargeAtRate(const DecayedUse& use, int64_t num_slots, absl::Time now, double rate) {
  if (now <= use.time) return use;
  const double decay = std::exp(-rate * absl::ToDoubleSeconds(now - use.time));
  return {use.slot_seconds * decay + static_cast<double>(num_slots) * (1 - decay) / rate, now};
}

// `entries` are the users or workspaces of which the order is: each knows where it stands, so none is searched for.
template <typename Entry>
void PutAt(Order* order, size_t place, const Order::value_type& item, std::vector<Entry>* entries) {
  (*order)[place] = item;
  (*entries)[static_cast<size_t>(item.second)].order_index = place;
}

// Scores change by little: the item moves past a few others.
template <typename Entry>
void Move(Order* order, int64_t score, int32_t index, std::vector<Entry>* entries) {
  const Order::value_type item(score, index);
  size_t place = (*entries)[static_cast<size_t>(index)].order_index;
  for (; place + 1 < order->size() && (*order)[place + 1] < item; ++place) {
    PutAt(order, place, (*order)[place + 1], entries);
  }
  for (; place > 0 && item < (*order)[place - 1]; --place) PutAt(order, place, (*order)[place - 1], entries);
  PutAt(order, place, item, entries);
}

template <typename Entry>
void Insert(Order* order, int64_t score, int32_t index, std::vector<Entry>* entries) {
  order->emplace_back(score, index);
  (*entries)[static_cast<size_t>(index)].order_index = order->size() - 1;
  Move(order, score, index, entries);
}

template <typename Entry>
void Erase(Order* order, int32_t index, std::vector<Entry>* entries) {
  size_t place = (*entries)[static_cast<size_t>(index)].order_index;
  for (; place + 1 < order->size(); ++place) PutAt(order, place, (*order)[place + 1], entries);
  order->pop_back();
}

}  // namespace

DecayedUse Charge(const DecayedUse& use, int64_t num_slots, absl::Time now, absl::Duration half_life) {
  return ChargeAtRate(use, num_slots, now, DecayRate(half_life));
}

double AverageSlots(const DecayedUse& use, absl::Duration half_life) { return use.slot_seconds * DecayRate(half_life); }

FairShares::FairShares(absl::Duration half_life) : decay_rate_(DecayRate(half_life)) {}

int32_t FairShares::IndexOf(const Owner& owner) {
  const auto [it, is_new] = user_indexes_.try_emplace(owner, static_cast<int32_t>(users_.size()));
  if (!is_new) return it->second;
  const auto [workspace, is_new_workspace] =
      workspace_indexes_.try_emplace(owner.workspace, static_cast<int32_t>(workspaces_.size()));
  if (is_new_workspace) {
    workspaces_.emplace_back();
    workspaces_.back().name = owner.workspace;
    user_orders_.emplace_back();
  }
  users_.emplace_back();
  users_.back().owner = owner;
  users_.back().workspace = workspace->second;
  return it->second;
}

int64_t FairShares::AverageMicros(const DecayedUse& use, int64_t num_held) const {
  const double average = ChargeAtRate(use, num_held, order_time_, decay_rate_).slot_seconds * decay_rate_;
  return static_cast<int64_t>(std::llround(average * static_cast<double>(kMicros)));
}

void FairShares::Update(int32_t index, int64_t num_held, int64_t average_micros) {
  User& user = users_[static_cast<size_t>(index)];
  Workspace& workspace = workspaces_[static_cast<size_t>(user.workspace)];
  const int64_t old_score = user.score();
  workspace.num_held += num_held - user.num_held;
  user.num_held = num_held;
  user.average_micros = average_micros;
  workspace.score += user.score() - old_score;
  if (user.num_waiting > 0) Move(&user_orders_[static_cast<size_t>(user.workspace)], user.score(), index, &users_);
  if (workspace.num_waiting > 0) Move(&order_, workspace.score, user.workspace, &workspaces_);
}

void FairShares::MarkChanged(int32_t index) {
  User& user = users_[static_cast<size_t>(index)];
  if (!user.changed) changed_.push_back(index);
  user.changed = true;
}

void FairShares::ForgetIfNothing(int32_t index) {
  User& user = users_[static_cast<size_t>(index)];
  if (user.num_held != 0 || user.average_micros != 0 || user.use == DecayedUse()) return;
  user.use = DecayedUse();
  MarkChanged(index);
}

void FairShares::AddHeld(int32_t index, int64_t num_slots, absl::Time now) {
  if (num_slots == 0) return;
  User& user = users_[static_cast<size_t>(index)];
  user.use = ChargeAtRate(user.use, user.num_held, now, decay_rate_);
  MarkChanged(index);
  Update(index, user.num_held + num_slots, AverageMicros(user.use, user.num_held + num_slots));
}

void FairShares::SetUse(int32_t index, const DecayedUse& use) {
  User& user = users_[static_cast<size_t>(index)];
  user.use = use;
  Update(index, user.num_held, AverageMicros(user.use, user.num_held));
  ForgetIfNothing(index);
}

void FairShares::AddWaiting(int32_t index, int32_t num_gangs) {
  User& user = users_[static_cast<size_t>(index)];
  const bool was_waiting = user.num_waiting > 0;
  user.num_waiting += num_gangs;
  const bool is_waiting = user.num_waiting > 0;
  if (was_waiting == is_waiting) return;
  Workspace& workspace = workspaces_[static_cast<size_t>(user.workspace)];
  Order* order = &user_orders_[static_cast<size_t>(user.workspace)];
  if (is_waiting) {
    Insert(order, user.score(), index, &users_);
    if (++workspace.num_waiting == 1) Insert(&order_, workspace.score, user.workspace, &workspaces_);
  } else {
    Erase(order, index, &users_);
    if (--workspace.num_waiting == 0) Erase(&order_, user.workspace, &workspaces_);
  }
}

std::vector<int32_t> FairShares::TakeChanged() {
  for (const int32_t index : std::vector<int32_t>(changed_)) ForgetIfNothing(index);
  std::vector<int32_t> changed;
  changed.swap(changed_);
  for (const int32_t index : changed) users_[static_cast<size_t>(index)].changed = false;
  return changed;
}

void FairShares::SetOrderTime(absl::Time time) {
  order_time_ = time;
  for (int32_t index = 0; index < num_users(); ++index) {
    const User& user = users_[static_cast<size_t>(index)];
    if (user.use == DecayedUse() && user.num_held == 0) continue;
    Update(index, user.num_held, AverageMicros(user.use, user.num_held));
    ForgetIfNothing(index);
  }
}

std::string FairShares::DebugExport() const {
  std::string text;
  for (const auto& [owner, index] : std::map<Owner, int32_t>(user_indexes_.begin(), user_indexes_.end())) {
    const User& found = user(index);
    if (found.num_held == 0 && found.num_waiting == 0 && found.use.slot_seconds == 0) continue;
    absl::StrAppend(&text, "user ", owner.workspace, "/", owner.user, " holds ", found.num_held, " use ",
                    found.use.slot_seconds, " average ", found.average_micros, " waiting ", found.num_waiting, "\n");
  }
  for (const auto& [name, index] : workspace_indexes_) {
    const Workspace& found = workspace(index);
    if (found.num_held == 0 && found.num_waiting == 0 && found.score == 0) continue;
    absl::StrAppend(&text, "workspace ", name, " holds ", found.num_held, " score ", found.score, " waiting users ",
                    found.num_waiting, "\n");
  }
  // Indexes depend on who came first, names do not.
  std::set<std::string> lines;
  for (const auto& [score, index] : order_) {
    std::string line = absl::StrCat("order ", score, " ", workspace(index).name, ":");
    for (const auto& [user_score, user_index] : users_in_order(index)) absl::StrAppend(&line, " ", user_score);
    lines.insert(line);
  }
  for (const std::string& line : lines) absl::StrAppend(&text, line, "\n");
  return text;
}

}  // namespace ursa
