// What a training rank tells its agent: metric points, progress, checkpoints, and lines for the log.
#ifndef URSA_WORKER_TASK_TRAINING_REPORTER_H_
#define URSA_WORKER_TASK_TRAINING_REPORTER_H_

#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "ursa/worker/v1/task.pb.h"
#include "worker/agent_client/agent_client.h"
#include "worker/train/trainer.h"

namespace ursa {

// Borrows `agent` and `clock`. Only rank 0 reports, or who takes over from it; the others print their log lines alone,
// and say when they have joined.
// Called by the training thread (TrainObserver) and the checkpoint thread (CheckpointSink): points of a step are always
// handed over before the checkpoint of that step, so that a run resumed from it lacks none.
class TrainingReporter : public TrainObserver, public CheckpointSink {
 public:
  struct Options {
    int rank = 0;
    int64_t resumed_from_step = 0;
    absl::Duration flush_interval = absl::Milliseconds(150);  // points and progress are gathered for so long
  };
  TrainingReporter(AgentClient* agent, Clock* clock, const Options& options);

  void OnJoined() override;
  void OnTakingOver() override;
  void OnMetric(const MetricPoint& point) override;
  void OnStep(const TrainProgress& progress) override;
  void OnEpoch(const EpochSummary& summary) override;
  absl::Status Write(Checkpoint checkpoint) override;

  // Hands over whatever is still gathered; answers the first error of any report.
  absl::Status Flush();

 private:
  void FlushLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReportLocked(std::vector<worker::v1::TaskEvent> events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  AgentClient* const agent_;
  Clock* const clock_;
  const Options options_;
  bool tells_;      // of the training thread
  absl::Mutex mu_;  // held while reporting: it keeps the order of events
  worker::v1::MetricPoints points_ ABSL_GUARDED_BY(mu_);
  worker::v1::TaskProgress progress_ ABSL_GUARDED_BY(mu_);
  bool has_progress_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time last_flush_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ursa

#endif  // URSA_WORKER_TASK_TRAINING_REPORTER_H_
