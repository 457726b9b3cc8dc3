// The training loop: for each phase, for each epoch, for each batch: forward, loss, backward, step; then validation.
#ifndef URSA_WORKER_TRAIN_TRAINER_H_
#define URSA_WORKER_TRAIN_TRAINER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "worker/comm/collective.h"
#include "worker/comm/position_board.h"
#include "worker/nn/model.h"
#include "worker/train/batch_source.h"
#include "worker/train/checkpoint.h"
#include "worker/train/early_stopping.h"
#include "worker/train/loss.h"
#include "worker/train/metric_point.h"
#include "worker/train/optimizer.h"
#include "worker/train/phase.h"

namespace ursa {

struct EpochSummary {
  int64_t epoch = 0;  // from 0
  int64_t step = 0;
  std::map<std::string, double> metrics;  // train_loss, valid_loss, chosen metrics
  // Of training and validation; not reproducible, hence no metric point. Zero if it is not known: the row is told again
  // by a rank 0 that has taken the place of another.
  absl::Duration duration;
  int64_t num_valid_examples = 0;    // over all ranks
  uint64_t valid_examples_hash = 0;  // sum over all ranks' examples of HashExample(index), modulo 2^64
  bool is_best = false;
};

struct TrainProgress {
  int64_t step = 0;
  int64_t num_steps = 0;  // of the whole run
  int64_t epoch = 0;
  int64_t num_epochs = 0;
  double loss = 0;                     // of this step's whole batch, not smoothed
  std::vector<double> learning_rates;  // per parameter group, in force for this step
  double momentum = 0;
  double examples_per_second = 0;  // over all ranks, over the last step
  double data_wait_fraction = 0;   // of this rank's training time so far in this process: waiting for batches, 0..1
};

// Told of everything, on the training thread, on every rank (a task forwards rank 0's). Must return quickly.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void OnJoined() {}      // its state came from the other ranks just now
  virtual void OnTakingOver() {}  // what rank 0 was to tell, this rank tells from now on, all of late once more
  virtual void OnMetric(const MetricPoint& point) {}
  virtual void OnStep(const TrainProgress& progress) {}
  virtual void OnEpoch(const EpochSummary& summary) {}
};

// What somebody outside wants of the run, asked before each step. The strongest wish of any rank counts for all, and
// takes effect on all ranks after the same step.
enum class TrainControl { kContinue = 0, kCheckpoint = 1, kCheckpointAndStop = 2, kStop = 3 };

struct TrainerOptions {
  std::vector<Phase> phases;  // FineTunePhases(), or others
  AdamOptions adam;
  LossOptions loss;
  std::vector<std::string> metrics = {"error_rate"};  // see ClassificationMetricNames()
  std::optional<EarlyStoppingOptions> early_stopping;
  std::string best_metric = "valid_loss";         // a column; lower is better if its name has "loss" or "error"
  std::optional<int64_t> checkpoint_every_steps;  // >= 1
  bool checkpoint_every_epoch = true;
  std::optional<int64_t> until_epoch;  // >= 1: ends after so many epochs, with a checkpoint, as kReached
  uint64_t seed = 0;                   // dropout draws at step s of rank r depend on (seed, s, r) only

  // INVALID_ARGUMENT naming the field.
  absl::Status Validate() const;
};

struct TrainResult {
  enum class Outcome { kCompleted, kEarlyStopped, kStopped, kReached };
  Outcome outcome = Outcome::kCompleted;
  int64_t step = 0;
  int64_t epoch = 0;                      // epochs completed
  std::map<std::string, double> metrics;  // of the last validation
};

// Drives one rank of one run. Owns nothing of `Parts`; all must outlive it. Used by one thread, which becomes the
// training thread; a second, its own, serialises and writes checkpoints: at most one is in flight, the next waits.
// Lifecycle: Create -> [Restore] -> Run, once; or Run -> (its group is lost) -> LeaveGroup -> JoinGroup -> Run, and so
// on. No exception leaves it.
//
// A group that is lost costs no step. All that ranks say to each other in a step comes before anything is changed, but
// for the statistics of batch norm, which are put back: so a rank stands after its last whole step. Ranks may stand one
// step apart, and one that was started anew stands nowhere; at the beginning of Run they find out, and those behind get
// the state of one that is ahead, in the form of a checkpoint. What rank 0 may not have handed on is told again. The
// bits are those of an undisturbed run.
class Trainer {
 public:
  struct Parts {
    Model* model = nullptr;
    BatchSource* batches = nullptr;
    Collective* collective = nullptr;       // null: one rank
    bool joins = false;                     // its state comes from the other ranks, when Run begins
    TrainObserver* observer = nullptr;      // may be null
    CheckpointSink* checkpoints = nullptr;  // may be null; used on rank 0, and by Part(true)
    std::function<TrainControl()> control;  // may be null
    PositionBoard* position = nullptr;      // where this rank is; may be null
    Clock* clock = Clock::Real();
  };

  // Errors: INVALID_ARGUMENT (options, a metric name, an early-stopping monitor that is no column).
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(Parts parts, TrainerOptions options);
  ~Trainer();

  // Continues from a checkpoint of a run with equal options, data and rank count: every later point and weight is the
  // same, bit for bit, as without interruption. To be called on every rank with the same checkpoint. Errors: DATA_LOSS
  // (damaged), INVALID_ARGUMENT (of another model or other phases).
  absl::Status Restore(const Checkpoint& checkpoint);

  // Trains to the end, to an early stop, to `until_epoch`, or until told to stop. Returns after the last checkpoint has
  // been written. Errors: of the batch source, of the sink, UNAVAILABLE (a peer died), DATA_LOSS (validation did not
  // see each example exactly once), OUT_OF_RANGE (the loss is not finite), INTERNAL (torch).
  absl::StatusOr<TrainResult> Run();

  // After Run has failed with FailureCause::kPeerLost: lets go of the collective, which may then be destroyed; and
  // takes another one of the same size, in which this rank has the same number.
  void LeaveGroup();
  void JoinGroup(Collective* collective);

  // Instead of joining another group: returns what Run does when it is told to stop. One rank, any that has the state,
  // checkpoints where it stands (`keeps_state`), so that no step is lost. Errors: of the sink; UNAVAILABLE (it has not
  // yet got its state), FailureCause::kPeerLost.
  absl::StatusOr<TrainResult> Part(bool keeps_state);

 private:
  class Impl;
  explicit Trainer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_TRAINER_H_
