#include "worker/task/training_reporter.h"

#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "worker/task/failpoints.h"

namespace ursa {

using worker::v1::TaskEvent;

TrainingReporter::TrainingReporter(AgentClient* agent, Clock* clock, const Options& options)
    : agent_(agent), clock_(clock), options_(options), tells_(options.rank == 0) {}

void TrainingReporter::OnJoined() {
  TaskEvent event;
  event.mutable_joined_group();
  absl::MutexLock lock(&mu_);
  ReportLocked({std::move(event)});
}

void TrainingReporter::OnTakingOver() { tells_ = true; }

void TrainingReporter::OnMetric(const MetricPoint& point) {
  if (!tells_) return;
  absl::MutexLock lock(&mu_);
  auto* added = points_.add_points();
  added->set_name(point.name);
  added->set_step(point.step);
  added->set_epoch(static_cast<int32_t>(point.epoch));
  added->set_value(point.value);
}

void TrainingReporter::OnStep(const TrainProgress& progress) {
  if (!tells_) return;
  absl::MutexLock lock(&mu_);
  progress_.set_step(progress.step);
  progress_.set_num_steps(progress.num_steps);
  progress_.set_epoch(static_cast<int32_t>(progress.epoch));
  progress_.set_num_epochs(static_cast<int32_t>(progress.num_epochs));
  progress_.set_data_wait_percent(100 * progress.data_wait_fraction);
  progress_.set_resumed_from_step(options_.resumed_from_step);
  has_progress_ = true;
  if (clock_->Now() - last_flush_ >= options_.flush_interval) FlushLocked();
}

void TrainingReporter::OnEpoch(const EpochSummary& summary) {
  std::string line = absl::StrCat("epoch ", summary.epoch, "  step ", summary.step);
  for (const auto& [name, value] : summary.metrics) absl::StrAppendFormat(&line, "  %s %.6f", name, value);
  absl::StrAppendFormat(&line, "  %.1f s%s\n", absl::ToDoubleSeconds(summary.duration),
                        summary.is_best ? "  best" : "");
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
  if (!tells_) return;

  absl::MutexLock lock(&mu_);
  FlushLocked();
  TaskEvent event;
  auto* row = event.mutable_metrics();
  row->set_validation(true);
  row->set_epoch(static_cast<int32_t>(summary.epoch));
  auto add = [&](const std::string& name, double value) {
    auto* point = row->add_points();
    point->set_name(name);
    point->set_step(summary.step);
    point->set_epoch(static_cast<int32_t>(summary.epoch));
    point->set_value(value);
  };
  for (const auto& [name, value] : summary.metrics) add(name, value);
  if (summary.duration > absl::ZeroDuration()) add("seconds", absl::ToDoubleSeconds(summary.duration));
  ReportLocked({std::move(event)});
}

absl::Status TrainingReporter::Write(Checkpoint checkpoint) {
  URSA_RETURN_IF_ERROR(Flush());
  URSA_ASSIGN_OR_RETURN(const StoredBlob model, agent_->PutBytes(checkpoint.model));
  URSA_ASSIGN_OR_RETURN(const StoredBlob state, agent_->PutBytes(checkpoint.state));
  TaskEvent event;
  auto* saved = event.mutable_checkpoint();
  saved->set_step(checkpoint.metadata.step);
  saved->set_epoch(static_cast<int32_t>(checkpoint.metadata.epoch));
  saved->set_model_blob(model.hash);
  saved->set_optimizer_blob(state.hash);
  saved->set_size_bytes(model.size_bytes + state.size_bytes);
  // Only a validation of these very weights may make this checkpoint the best one.
  if (checkpoint.metadata.metrics_step == checkpoint.metadata.step) {
    for (const auto& [name, value] : checkpoint.metadata.metrics) (*saved->mutable_metrics())[name] = value;
  }
  saved->set_last(checkpoint.metadata.reason == CheckpointReason::kEnd);
  failpoints::checkpoint_written.Pass();
  absl::MutexLock lock(&mu_);
  ReportLocked({std::move(event)});
  failpoints::checkpoint_reported.Pass();
  return status_;
}

absl::Status TrainingReporter::Flush() {
  absl::MutexLock lock(&mu_);
  FlushLocked();
  return status_;
}

void TrainingReporter::FlushLocked() {
  last_flush_ = clock_->Now();
  std::vector<TaskEvent> events;
  if (points_.points_size() > 0) {
    events.emplace_back().mutable_metrics()->Swap(&points_);
    points_.Clear();
  }
  if (has_progress_) *events.emplace_back().mutable_progress() = progress_;
  has_progress_ = false;
  if (!events.empty()) ReportLocked(std::move(events));
}

void TrainingReporter::ReportLocked(std::vector<TaskEvent> events) {
  if (!status_.ok()) return;
  status_ = agent_->Report(std::move(events));
}

}  // namespace ursa
