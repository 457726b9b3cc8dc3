#include "tests/simulation/fabric.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ursa::sim {

Group::Group(Fabric* fabric, Options options)
    : fabric_(*fabric),
      world_(fabric->world()),
      options_(std::move(options)),
      step_time_(world_.Between(fabric->options().step_least, fabric->options().step_most)) {}

void Group::Join(int64_t rank, GroupMember* member) {
  if (!members_.emplace(rank, member).second) {
    world_.Fail(absl::StrCat(options_.task_id, " rank ", rank, ": is twice in the group of epoch ", options_.epoch));
    return;
  }
  if (is_over_) return TellLost(rank);
  if (static_cast<int64_t>(members_.size()) == options_.world_size) Form();
}

void Group::Leave(int64_t rank) {
  members_.erase(rank);
  if (!is_over_) Break();
}

void Group::Break() {
  is_over_ = true;
  for (const auto& [rank, member] : members_) {
    // Its last operation of what was under way may have gone through before the connection broke.
    if (doing_ != Doing::kNothing && world_.Chance(0.5)) {
      doing_ == Doing::kStep ? member->OnStepDone() : member->OnEpochDone();
      fabric_.invariants().groups().OnStepOfSome(options_.task_id, options_.epoch, member->standing().step);
    }
    TellLost(rank);
  }
}

void Group::TellLost(int64_t rank) {
  world_.In(world_.Between(absl::ZeroDuration(), fabric_.options().notice_most), [self = shared_from_this(), rank] {
    const auto it = self->members_.find(rank);
    if (it != self->members_.end()) it->second->OnPeerLost();
  });
}

int64_t Group::Leader() const {
  int64_t leader = -1;
  Standing best;
  for (const auto& [rank, member] : members_) {
    const Standing& standing = member->standing();
    if (!standing.has_state) continue;
    const bool is_ahead = standing.step > best.step || (standing.step == best.step && standing.epoch < best.epoch);
    if (leader >= 0 && !is_ahead) continue;
    leader = rank;
    best = standing;
  }
  return leader;
}

void Group::Form() {
  const int64_t leader = Leader();
  if (leader < 0) {
    world_.Fail(absl::StrCat(options_.task_id, ": no rank of the group of epoch ", options_.epoch, " has the state"));
    return;
  }
  const Standing theirs = members_.at(leader)->standing();
  std::vector<int64_t> process_epochs;
  int64_t least_step = theirs.step;
  for (const auto& [rank, member] : members_) {
    process_epochs.push_back(member->process_epoch());
    if (member->standing().has_state) least_step = std::min(least_step, member->standing().step);
  }
  fabric_.invariants().groups().OnFormed(options_.task_id, options_.epoch, process_epochs, least_step, theirs.step);
  ShareState(theirs);
}

void Group::ShareState(const Standing& theirs) {
  absl::Duration longest;
  for (const auto& [rank, member] : members_) {
    if (member->standing().IsAt(theirs)) continue;
    const absl::Duration time = world_.Between(absl::ZeroDuration(), fabric_.options().share_most);
    longest = std::max(longest, time);
    world_.In(time, [self = shared_from_this(), rank = rank, theirs] {
      self->WhenAwake([self, rank, theirs] { self->members_.at(rank)->TakeState(theirs); });
    });
  }
  world_.In(longest, [self = shared_from_this(), step = theirs.step] {
    // Behind those that wait for the same machine to go on.
    self->WhenAwake([self, step] {
      self->fabric_.invariants().groups().OnStateShared(self->options_.task_id, self->options_.epoch, step);
      self->members_.begin()->second->OnFormed();
    });
  });
}

void Group::WhenAwake(std::function<void()> then) {
  if (is_over_) return;
  absl::Time awake = world_.now();
  for (const auto& [rank, member] : members_) awake = std::max(awake, member->PausedUntil());
  if (awake <= world_.now()) return then();
  world_.At(awake, [self = shared_from_this(), then = std::move(then)]() mutable { self->WhenAwake(std::move(then)); });
}

void Group::Continue() {
  doing_ = Doing::kStep;
  world_.In(step_time_, [self = shared_from_this()] { self->WhenAwake([self] { self->Step(); }); });
}

void Group::BeginEpochEnd() { doing_ = Doing::kEpochEnd; }

void Group::EndEpoch() {
  doing_ = Doing::kNothing;
  for (const auto& [rank, member] : members_) member->OnEpochDone();
}

void Group::End(worker::v1::TaskFinished::Outcome outcome) {
  is_over_ = true;
  const std::map<int64_t, GroupMember*> members = members_;
  for (const auto& [rank, member] : members) {
    if (members_.count(rank) == 0) continue;
    if (world_.Chance(fabric_.options().fault_share)) {  // before it could say how its work ended
      world_.Count(Fault::kTaskFailed);
      member->OnFault(RankFault::kKilled);
    } else {
      member->OnGroupEnd(outcome);
    }
  }
}

void Group::KillIfHung() {
  const auto it = members_.find(hung_rank_);
  if (it != members_.end()) it->second->OnFault(RankFault::kKilled);
}

// Whether something fails in this step.
bool Group::Fail() {
  GroupMember* const first = members_.begin()->second;
  if (first->standing().step + 1 == options_.fails_at) {
    first->OnFault(RankFault::kFailure);
    return true;
  }
  if (options_.world_size > 1 && world_.Chance(fabric_.options().break_share)) {
    world_.Count(Fault::kGroupBroken);
    Break();
    return true;
  }
  if (!world_.Chance(fabric_.options().fault_share)) return false;
  auto it = members_.begin();
  std::advance(it, world_.Below(static_cast<int64_t>(members_.size())));
  if (world_.Chance(fabric_.options().hang_share)) {
    world_.Count(Fault::kTaskHung);
    hung_rank_ = it->first;
    it->second->OnFault(RankFault::kHang);
    return true;
  }
  world_.Count(Fault::kTaskFailed);
  constexpr RankFault kFaults[] = {RankFault::kCrash,       RankFault::kKilled,    RankFault::kFailure,
                                   RankFault::kOutOfMemory, RankFault::kNotFinite, RankFault::kHardware};
  it->second->OnFault(kFaults[world_.Below(6)]);
  return true;
}

void Group::Step() {
  bool stop = false;
  for (const auto& [rank, member] : members_) stop |= member->WantsStop();
  if (Fail()) return;
  for (const auto& [rank, member] : members_) member->OnStepDone();
  GroupMember* const first = members_.begin()->second;
  fabric_.invariants().groups().OnStep(options_.task_id, options_.epoch, first->standing().step);
  doing_ = Doing::kNothing;
  first->OnStep(stop);
}

void Fabric::Heal() {
  options_.fault_share = options_.hang_share = options_.break_share = options_.ignored_stop_share = 0;
  for (const auto& [name, group] : groups_) group->KillIfHung();
}

std::shared_ptr<Group> Fabric::FindOrMake(const Group::Options& options) {
  std::shared_ptr<Group>& group = groups_[{options.task_id, options.epoch}];
  if (group == nullptr) group = std::make_shared<Group>(this, options);
  return group;
}

}  // namespace ursa::sim
