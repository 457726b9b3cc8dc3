#include "worker/agent/launch/spare_task.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace ursa {
namespace {

constexpr size_t kPrintedBytesMax = 16'384;

}  // namespace

void SpareTask::Step(bool is_wanted) {
  keeper_.SetWanted(is_wanted);
  const SpareKeeper::Todo todo = keeper_.TakeTodo(clock_->Now());
  if (todo.start_threads) Start(*todo.start_threads);
  if (todo.end) {
    spare_->is_told_to_end = true;
    launcher_->Kill(spare_->process.process_id);  // it has nothing to lose
  }
}

void SpareTask::Start(int threads) {
  absl::StatusOr<LaunchedTask> process = launcher_->LaunchSpare(threads, [this](int64_t process_id) {
    post_([this, process_id] {
      if (!spare_ || spare_->process.process_id != process_id) return;
      keeper_.OnReady(clock_->Now());
      last_failure_.clear();
      URSA_LOG(INFO) << "spare READY pid=" << spare_->process.pid;
    });
  });
  if (process.ok()) {
    spare_.emplace().process = *std::move(process);
  } else {
    LogFailure(process.status());
    keeper_.OnEnded(clock_->Now());
  }
}

std::optional<SpareTask::Taken> SpareTask::TakeFor(const ProcessKey& key,
                                                   const worker::v1::TaskAssignment& assignment) {
  const int threads = std::max(1, assignment.threads());
  const SpareKeeper::Spare spare = keeper_.TakeFor(threads, assignment.has_train(), clock_->Now());
  if (spare == SpareKeeper::Spare::kNone) return std::nullopt;
  Taken taken{std::move(spare_->process), std::move(spare_->printed), spare == SpareKeeper::Spare::kReady};
  spare_.reset();
  if (!launcher_->IsAlive(taken.process.process_id)) {
    LogFailure(absl::UnavailableError("it has just died"));  // how is of no interest any more
    return std::nullopt;
  }
  taken.process.server->Assign(key, assignment);
  return taken;
}

bool SpareTask::OnOutput(int64_t process_id, std::string_view printed) {
  if (!spare_ || spare_->process.process_id != process_id) return false;
  spare_->printed += printed;
  if (spare_->printed.size() > kPrintedBytesMax) spare_->printed.erase(0, spare_->printed.size() - kPrintedBytesMax);
  return true;
}

bool SpareTask::OnExit(int64_t process_id, const ProcessSupervisor::Exit& exit) {
  if (!spare_ || spare_->process.process_id != process_id) return false;
  if (!spare_->is_told_to_end) LogFailure(ExitStatus(exit, spare_->printed));
  spare_.reset();
  keeper_.OnEnded(clock_->Now());
  return true;
}

void SpareTask::LogFailure(const absl::Status& status) {
  // Not each of many tries that fail alike.
  if (std::exchange(last_failure_, status.ToString()) != status.ToString())
    URSA_LOG(WARNING) << "spare ENDED, tasks start without one: " << status;
}

}  // namespace ursa
