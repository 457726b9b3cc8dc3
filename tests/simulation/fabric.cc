#include "tests/simulation/fabric.h"

#include <algorithm>
#include <utility>

namespace ursa::sim {

Gang::Gang(Fabric* fabric, const Options& options)
    : fabric_(*fabric),
      world_(fabric->world()),
      options_(options),
      step_time_(world_.Between(fabric->options().step_least, fabric->options().step_most)),
      step_(options.first_step) {}

void Gang::Join(int64_t rank, GangMember* member) {
  if (is_over_) {
    world_.In(world_.Between(absl::ZeroDuration(), fabric_.options().notice_most), [self = shared_from_this(), rank] {
      const auto it = self->members_.find(rank);
      if (it != self->members_.end()) it->second->OnPeerLost();
    });
  }
  members_[rank] = member;
  if (++num_joined_ == options_.world_size && !is_over_) ScheduleStep();
}

void Gang::Leave(int64_t rank) {
  members_.erase(rank);
  if (std::exchange(is_over_, true)) return;
  for (const auto& [peer, member] : members_) {
    world_.In(world_.Between(absl::ZeroDuration(), fabric_.options().notice_most),
              [self = shared_from_this(), peer = peer] {
                const auto it = self->members_.find(peer);
                if (it != self->members_.end()) it->second->OnPeerLost();
              });
  }
}

void Gang::End(worker::v1::TaskFinished::Outcome outcome) {
  is_over_ = true;
  const std::map<int64_t, GangMember*> members = members_;
  for (const auto& [rank, member] : members) {
    if (members_.count(rank) > 0) member->OnGangEnd(outcome);
  }
}

void Gang::KillIfHung() {
  if (is_hung_ && !members_.empty()) members_.begin()->second->OnFault(RankFault::kKilled);
}

void Gang::ScheduleStep() {
  world_.In(step_time_, [self = shared_from_this()] { self->Step(); });
}

void Gang::Step() {
  if (is_over_ || is_hung_) return;
  absl::Time awake = world_.now();
  bool stop = false;
  for (const auto& [rank, member] : members_) {
    awake = std::max(awake, member->PausedUntil());
    stop |= member->WantsStop();
  }
  if (awake > world_.now()) return world_.At(awake, [self = shared_from_this()] { self->Step(); });
  ++step_;
  if (step_ == options_.fails_at) return members_.begin()->second->OnFault(RankFault::kFailure);
  if (world_.Chance(fabric_.options().fault_share)) {
    auto it = members_.begin();
    std::advance(it, world_.Below(static_cast<int64_t>(members_.size())));
    if (world_.Chance(fabric_.options().hang_share)) {
      world_.Count(Fault::kTaskHung);
      is_hung_ = true;
      return it->second->OnFault(RankFault::kHang);
    }
    world_.Count(Fault::kTaskFailed);
    constexpr RankFault kFaults[] = {RankFault::kCrash,       RankFault::kKilled,    RankFault::kFailure,
                                     RankFault::kOutOfMemory, RankFault::kNotFinite, RankFault::kHardware};
    return it->second->OnFault(kFaults[world_.Below(6)]);
  }
  members_.begin()->second->OnStep(step_, stop);
}

void Fabric::Heal() {
  options_.fault_share = options_.hang_share = options_.ignored_stop_share = 0;
  for (const auto& [name, weak] : gangs_) {
    if (const std::shared_ptr<Gang> gang = weak.lock()) gang->KillIfHung();
  }
}

std::shared_ptr<Gang> Fabric::FindOrMake(const std::string& task_id, int64_t epoch, const Gang::Options& options) {
  std::weak_ptr<Gang>& known = gangs_[{task_id, epoch}];
  std::shared_ptr<Gang> gang = known.lock();
  if (gang == nullptr) known = gang = std::make_shared<Gang>(this, options);
  return gang;
}

}  // namespace ursa::sim
