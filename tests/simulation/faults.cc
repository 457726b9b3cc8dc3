#include "tests/simulation/faults.h"

#include <cmath>
#include <utility>

#include "base/ids.h"

namespace ursa::sim {
namespace {

constexpr int64_t kManyWorkers = 50;
constexpr double kKindShare = 0.75;  // of the kinds that a run has

}  // namespace

absl::Duration Faults::Some(absl::Duration most) {
  const double share = world_.rng()->Uniform();
  return absl::Milliseconds(static_cast<int64_t>(absl::ToDoubleMilliseconds(most) * share * share * share));
}

void Faults::Add(absl::Duration mean, std::function<void()> fault) {
  const double rate = std::exp2(static_cast<double>(world_.Between(-2, 2)));
  if (!world_.Chance(kKindShare)) return;
  Repeat(absl::Nanoseconds(static_cast<int64_t>(absl::ToDoubleNanoseconds(mean) / rate)), std::move(fault));
}

void Faults::Repeat(absl::Duration mean, std::function<void()> fault) {
  world_.In(world_.After(mean), [this, mean, fault = std::move(fault)]() mutable {
    if (!is_on_) return;
    fault();
    Repeat(mean, std::move(fault));
  });
}

void Faults::Start() {
  is_on_ = true;
  const auto num_workers = static_cast<int64_t>(agents_.size());
  // In a large cluster there are enough of them all the same, and its workers get something done.
  AddWorkerFaults((num_workers < kManyWorkers ? 1 : 8) * absl::Seconds(1) / num_workers);
  AddCoordinatorFaults();
}

void Faults::AddWorkerFaults(absl::Duration per_worker) {
  Add(2 * per_worker, [this] { cluster_.network->BreakStreams(AnyAgent().host()); });
  Add(40 * per_worker, [this] {
    const bool up = world_.Chance(0.8);
    cluster_.network->Partition(AnyAgent().host(), Some(absl::Seconds(40)), up, !up || world_.Chance(0.8));
  });
  Add(90 * per_worker, [this] { AnyAgent().Kill(Some(absl::Seconds(20)), world_.Chance(0.1)); });
  Add(200 * per_worker, [this] { AnyAgent().Shutdown(Some(absl::Seconds(10))); });
  Add(50 * per_worker, [this] { AnyAgent().Pause(Some(absl::Seconds(20))); });
  Add(100 * per_worker, [this] {
    AnyAgent().Skew(0.9 + 0.2 * world_.rng()->Uniform(), world_.Between(-absl::Minutes(10), absl::Hours(1)));
  });
  Add(40 * per_worker, [this] { AnyAgent().KillTask(); });
  Add(20 * per_worker, [this] { AnyAgent().EvictBlobs(); });
  Add(absl::Seconds(60), [this] {
    const SimAgent& agent = AnyAgent();
    const auto worker = WorkerId::Parse(agent.is_up() ? agent.state()->worker_id() : "");
    if (worker) workload_.Drain(worker->number(), Some(absl::Seconds(30)));
  });
}

void Faults::AddCoordinatorFaults() {
  SimCoordinator& coordinator = *cluster_.coordinator;
  const auto downtime = [this] { return Some(absl::Seconds(8)); };
  Add(absl::Seconds(40), [this, &coordinator, downtime] {
    if (world_.Chance(0.3)) {
      world_.Count(Fault::kClockJumped);
      coordinator.JumpClockAtStart(world_.Between(-absl::Seconds(30), absl::Seconds(30)));
    }
    coordinator.Crash(downtime());
  });
  Add(absl::Seconds(40),
      [this, &coordinator, downtime] { coordinator.DieAtSending(world_.Between(1, 30), downtime()); });
  Add(absl::Seconds(60), [this] { disk_.FailNextWrite(false); });
  Add(absl::Seconds(60), [this] { disk_.FailNextWrite(true); });
  Add(absl::Seconds(120), [this] { disk_.Fill(Some(absl::Seconds(20)), world_.Chance(0.3)); });
  Add(absl::Seconds(60), [this, &coordinator] { coordinator.SlowDisk(Some(absl::Seconds(20)), absl::Seconds(1)); });
  Add(absl::Seconds(60), [this, &coordinator] { coordinator.Pause(Some(absl::Seconds(8))); });
}

}  // namespace ursa::sim
