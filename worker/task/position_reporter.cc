#include "worker/task/position_reporter.h"

#include "absl/time/time.h"

namespace ursa {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(500);

}  // namespace

PositionReporter::PositionReporter(AgentClient* agent, const PositionBoard* board)
    : agent_(agent), board_(board), thread_([this] { Loop(); }) {}

PositionReporter::~PositionReporter() {
  {
    absl::MutexLock lock(&mu_);
    is_ending_ = true;
  }
  thread_.join();
}

void PositionReporter::Loop() {
  while (true) {
    const PositionBoard::Position position = board_->Get();
    worker::v1::RankPosition said;
    said.set_step(position.step);
    said.set_collectives(position.collectives);
    said.set_in_collective(position.in_collective);
    said.set_doing(position.doing);
    said.set_for_millis(absl::ToInt64Milliseconds(position.duration));
    if (!agent_->ReportPosition(said).ok()) return;  // the agent is gone, and with it this process
    absl::MutexLock lock(&mu_);
    if (mu_.AwaitWithTimeout(absl::Condition(&is_ending_), kInterval)) return;
  }
}

}  // namespace ursa
