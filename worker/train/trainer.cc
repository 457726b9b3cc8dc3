#include "worker/train/trainer.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/failure_cause.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "worker/comm/data_parallel.h"
#include "worker/comm/single_rank.h"
#include "worker/nn/safetensors.h"
#include "worker/nn/torch_error.h"
#include "worker/train/checkpoint_writer.h"
#include "worker/train/group_sync.h"
#include "worker/train/metric_history.h"
#include "worker/train/train_state.h"

namespace ursa {
namespace {

constexpr const char* kValidLoss = "valid_loss";
constexpr const char* kTrainLoss = "train_loss";
constexpr uint32_t kDropoutStream = 1;

std::vector<std::string> Columns(const TrainerOptions& options) {
  std::vector<std::string> columns = {kTrainLoss, kValidLoss};
  columns.insert(columns.end(), options.metrics.begin(), options.metrics.end());
  return columns;
}

absl::Status CheckColumn(const TrainerOptions& options, const char* field, const std::string& column) {
  const std::vector<std::string> columns = Columns(options);
  if (std::find(columns.begin(), columns.end(), column) != columns.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("trainer: ", field, ": \"", column, "\" is no column, there are ", absl::StrJoin(columns, ", ")));
}

// Draws of dropout: those of step s on rank r depend on (seed, s, r) alone, so there is no generator state to save.
void SeedStep(uint64_t seed, int64_t step, int rank, at::Device device) {
  CounterRng rng(seed, static_cast<uint64_t>(step) << 16 | static_cast<uint64_t>(rank), kDropoutStream);
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_current_seed(rng.Next());
}

}  // namespace

absl::Status TrainerOptions::Validate() const {
  if (phases.empty()) return absl::InvalidArgumentError("trainer: no phases");
  for (const Phase& phase : phases) {
    if (phase.epochs < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("trainer: epochs of a phase must be >= 1, they are ", phase.epochs));
    }
    URSA_RETURN_IF_ERROR(phase.learning_rate.Validate());
    URSA_RETURN_IF_ERROR(phase.schedule.Validate());
  }
  URSA_RETURN_IF_ERROR(adam.Validate());
  URSA_RETURN_IF_ERROR(loss.Validate());
  const auto& known = ClassificationMetricNames();
  for (const std::string& name : metrics) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("trainer: unknown metric \"", name, "\", known are ", absl::StrJoin(known, ", ")));
    }
  }
  URSA_RETURN_IF_ERROR(CheckColumn(*this, "best_metric", best_metric));
  if (early_stopping) {
    URSA_RETURN_IF_ERROR(early_stopping->Validate());
    URSA_RETURN_IF_ERROR(CheckColumn(*this, "early_stopping.monitor", early_stopping->monitor));
  }
  if (checkpoint_every_steps && *checkpoint_every_steps < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("trainer: checkpoint_every_steps must be >= 1, it is ", *checkpoint_every_steps));
  }
  if (until_epoch && *until_epoch < 1) {
    return absl::InvalidArgumentError(absl::StrCat("trainer: until_epoch must be >= 1, it is ", *until_epoch));
  }
  return absl::OkStatus();
}

class Trainer::Impl {
 public:
  Impl(Parts parts, TrainerOptions options)
      : parts_(std::move(parts)),
        options_(std::move(options)),
        collective_(parts_.collective != nullptr ? parts_.collective : &single_rank_),
        has_state_(!parts_.joins),
        keeps_state_(collective_->rank() == 0),
        optimizer_(parts_.model->parameters(), options_.adam) {
    best_.smaller_is_better = SmallerIsBetter(options_.best_metric);
    best_.Reset();
    if (options_.early_stopping) early_stopping_.emplace(*options_.early_stopping);
    for (const NamedTensor& buffer : parts_.model->buffers()) {
      if (buffer.tensor.is_floating_point()) statistics_.push_back(buffer.tensor);
      buffers_.push_back(buffer.tensor);
      kept_buffers_.push_back(buffer.tensor.clone());
    }
  }

  absl::Status Restore(const Checkpoint& checkpoint);
  absl::StatusOr<TrainResult> Run();
  absl::StatusOr<TrainResult> Part(bool keeps_state);
  void LeaveGroup() {
    data_parallel_.reset();
    collective_ = nullptr;
  }
  void JoinGroup(Collective* collective) {
    collective_ = collective;
    keeps_state_ = collective->rank() == 0;
  }

 private:
  const Phase& phase() const { return options_.phases[static_cast<size_t>(at_.phase)]; }
  bool is_done() const { return at_.phase == static_cast<int64_t>(options_.phases.size()); }
  bool has_reached() const { return options_.until_epoch && at_.epoch >= *options_.until_epoch; }
  std::string Plan() const;
  absl::Status CheckPlan(const std::string& plan) const;
  void GoTo(const TrainState& state);
  void Mark(const char* doing);
  absl::Status FlushCheckpoints();
  void StartPhase();
  absl::StatusOr<TrainControl> TrainStep();
  absl::Status Synchronise();
  absl::Status TakeState(int leader, const RankStanding& own, const RankStanding& theirs);
  absl::Status TellAgain(const std::string& history);
  void Tell(MetricPoint point);
  absl::StatusOr<TrainControl> Propose(const Batch& batch, double* loss);
  absl::StatusOr<double> Learn(const Batch& batch);
  absl::StatusOr<TrainControl> Agree(double mean_loss, const Batch& batch, double* global_loss);
  absl::Status EndEpoch(absl::Time start);
  absl::Status Validate(EpochSummary* summary);
  absl::Status SaveCheckpoint(CheckpointReason reason, bool is_best);
  void NoteCounters();
  CheckpointSnapshot Snapshot();
  TrainResult Result(TrainResult::Outcome outcome) const { return {outcome, at_.step, at_.epoch, at_.metrics}; }

  const Parts parts_;
  const TrainerOptions options_;
  SingleRank single_rank_;
  Collective* collective_;
  bool has_state_;    // false: it is the other ranks' to give
  bool keeps_state_;  // writes checkpoints
  Adam optimizer_;
  SmoothedLoss smoothed_;
  std::optional<EarlyStopping> early_stopping_;
  BestTracker best_;
  TrainState at_;                         // of smoothed_, early_stopping_ and best_ only as of the last checkpoint
  std::vector<at::Tensor> statistics_;    // of batch norm layers
  std::vector<at::Tensor> buffers_;       // these, and their counts
  std::vector<at::Tensor> kept_buffers_;  // as they were when the step began
  MetricHistory history_;
  std::optional<DataParallel> data_parallel_;
  std::vector<double> maxima_;  // learning rate per group of this phase
  std::vector<double> rates_;   // and of the last step
  double momentum_ = 0;
  std::optional<CheckpointWriter> writer_;
  double schedule_position_ = 0;
  absl::Duration waited_, worked_;
};

// What the counters of a checkpoint refer to: a run with another plan cannot go on from it.
std::string Trainer::Impl::Plan() const {
  std::vector<std::string> epochs;
  for (const Phase& phase : options_.phases) epochs.push_back(absl::StrCat(phase.epochs));
  return absl::StrCat(absl::StrJoin(epochs, "+"), " epochs of ", parts_.batches->num_train_steps(), " steps, seed ",
                      options_.seed);
}

absl::Status Trainer::Impl::CheckPlan(const std::string& plan) const {
  if (plan == Plan()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("checkpoint: is of a run of ", plan, ", this one is of ", Plan()));
}

absl::Status Trainer::Impl::Restore(const Checkpoint& checkpoint) {
  URSA_ASSIGN_OR_RETURN(const SafetensorsContents model, ParseSafetensors(checkpoint.model));
  URSA_ASSIGN_OR_RETURN(const TrainStateFile file, ParseTrainState(checkpoint.state));
  URSA_RETURN_IF_ERROR(CheckPlan(file.plan));
  URSA_RETURN_IF_ERROR(parts_.model->LoadState(model.tensors));
  URSA_RETURN_IF_ERROR(optimizer_.LoadState(file.optimizer));
  GoTo(file.state);
  return absl::OkStatus();
}

void Trainer::Impl::GoTo(const TrainState& state) {
  at_ = state;
  smoothed_.Restore(at_.smooth_sum, at_.smooth_count);
  best_.best = at_.best;
  if (early_stopping_) early_stopping_->Restore(at_.early_best, static_cast<int>(at_.early_wait));
}

void Trainer::Impl::Mark(const char* doing) {
  if (parts_.position == nullptr) return;
  parts_.position->SetStep(at_.step);
  parts_.position->Enter(doing);
}

absl::Status Trainer::Impl::FlushCheckpoints() {
  if (!writer_) return absl::OkStatus();
  Mark("writes its last checkpoint");
  return writer_->Flush();
}

absl::StatusOr<TrainResult> Trainer::Impl::Run() {
  URSA_RETURN_IF_ERROR(Synchronise());
  while (!is_done() && !has_reached()) {
    StartPhase();
    for (const int64_t this_phase = at_.phase; at_.phase == this_phase && !has_reached();) {
      const absl::Time start = parts_.clock->Now();
      schedule_position_ =
          SchedulePosition(at_.epoch_in_phase, phase().epochs, at_.step_in_epoch, parts_.batches->num_train_steps());
      while (at_.step_in_epoch < parts_.batches->num_train_steps()) {
        URSA_ASSIGN_OR_RETURN(const TrainControl control, TrainStep());
        const bool is_due = options_.checkpoint_every_steps && at_.step % *options_.checkpoint_every_steps == 0;
        if (control == TrainControl::kCheckpoint || control == TrainControl::kCheckpointAndStop) {
          URSA_RETURN_IF_ERROR(SaveCheckpoint(CheckpointReason::kRequested, /*is_best=*/false));
        } else if (is_due && control == TrainControl::kContinue) {
          URSA_RETURN_IF_ERROR(SaveCheckpoint(CheckpointReason::kSteps, /*is_best=*/false));
        }
        if (control == TrainControl::kCheckpointAndStop || control == TrainControl::kStop) {
          URSA_RETURN_IF_ERROR(FlushCheckpoints());
          return Result(TrainResult::Outcome::kStopped);
        }
      }
      URSA_RETURN_IF_ERROR(EndEpoch(start));
    }
  }
  data_parallel_.reset();
  URSA_RETURN_IF_ERROR(FlushCheckpoints());
  if (!is_done()) return Result(TrainResult::Outcome::kReached);
  return Result(at_.stopped_early ? TrainResult::Outcome::kEarlyStopped : TrainResult::Outcome::kCompleted);
}

absl::StatusOr<TrainResult> Trainer::Impl::Part(bool keeps_state) {
  if (!has_state_) {
    return WithCause(absl::UnavailableError("training: has lost its group before it got its state"),
                     FailureCause::kPeerLost);
  }
  if (keeps_state && !keeps_state_) {
    keeps_state_ = true;
    if (parts_.observer != nullptr) parts_.observer->OnTakingOver();
    URSA_RETURN_IF_ERROR(TellAgain(std::exchange(history_, MetricHistory()).ToText()));
  }
  const CheckpointReason reason = is_done() ? CheckpointReason::kEnd : CheckpointReason::kRequested;
  if (keeps_state && at_.step > 0) URSA_RETURN_IF_ERROR(SaveCheckpoint(reason, /*is_best=*/false));
  URSA_RETURN_IF_ERROR(FlushCheckpoints());
  return Result(TrainResult::Outcome::kStopped);
}

void Trainer::Impl::StartPhase() {
  const int num_groups = parts_.model->num_groups();
  maxima_ = phase().learning_rate.PerGroup(num_groups);
  const int frozen = phase().freeze_to >= 0 ? phase().freeze_to : num_groups + phase().freeze_to;
  parts_.model->Freeze(std::clamp(frozen, 0, num_groups), phase().train_norms, phase().hold_norm_statistics);
  if (at_.epoch_in_phase == 0 && at_.step_in_epoch == 0) {
    optimizer_.ClearState();
    smoothed_.Reset();
    if (early_stopping_) early_stopping_->Reset();
  }
  std::vector<at::Tensor> trainable;
  for (const Parameter& parameter : parts_.model->parameters()) {
    if (parameter.tensor.requires_grad()) trainable.push_back(parameter.tensor);
  }
  data_parallel_.reset();
  data_parallel_.emplace(collective_, std::move(trainable));
}

// All ranks at the same place, with equal weights.
absl::Status Trainer::Impl::Synchronise() {
  if (collective_->world_size() == 1) return absl::OkStatus();
  Mark("meets its group");
  const RankStanding own = {has_state_, at_.step, at_.epoch};
  URSA_ASSIGN_OR_RETURN(const std::vector<RankStanding> ranks, ExchangeStandings(collective_, own));
  const int leader = ChooseLeader(ranks);
  if (leader < 0) return absl::UnavailableError("training: no rank of the group has the state to go on from");
  const RankStanding& theirs = ranks[static_cast<size_t>(leader)];
  if (std::any_of(ranks.begin(), ranks.end(), [&](const RankStanding& rank) { return !(rank == theirs); })) {
    return TakeState(leader, own, theirs);
  }
  std::vector<at::Tensor> everything;
  for (const NamedTensor& entry : parts_.model->state()) everything.push_back(entry.tensor);
  return BroadcastCoalesced(collective_, /*root=*/0, everything);
}

absl::Status Trainer::Impl::TakeState(int leader, const RankStanding& own, const RankStanding& theirs) {
  const bool takes = !(own == theirs);
  NamedTensors optimizer;
  std::vector<std::string> texts(3);  // counters, names of the optimizer's state, history
  if (collective_->rank() == leader) {
    NoteCounters();
    optimizer = optimizer_.State();
    URSA_ASSIGN_OR_RETURN(texts[0],
                          SerializeSafetensors(TrainStateTensors(at_, /*optimizer=*/{}), TrainStateMetadata(Plan())));
    for (const NamedTensor& entry : optimizer) absl::StrAppend(&texts[1], entry.name, "\n");
    texts[2] = history_.ToText();
  }
  URSA_RETURN_IF_ERROR(ShareTexts(collective_, leader, &texts));
  if (collective_->rank() != leader) {
    const std::vector<std::string> names = absl::StrSplit(texts[1], '\n', absl::SkipEmpty());
    URSA_ASSIGN_OR_RETURN(optimizer, optimizer_.MakeState(names, takes));
  }
  URSA_ASSIGN_OR_RETURN(const TrainStateFile file, ParseTrainState(texts[0]));
  URSA_RETURN_IF_ERROR(CheckPlan(file.plan));
  std::vector<at::Tensor> everything;
  for (const NamedTensor& entry : parts_.model->state()) everything.push_back(entry.tensor);
  for (const NamedTensor& entry : optimizer) everything.push_back(entry.tensor);
  URSA_RETURN_IF_ERROR(BroadcastCoalesced(collective_, leader, everything, takes));
  if (!takes) return absl::OkStatus();
  URSA_RETURN_IF_ERROR(optimizer_.LoadState(optimizer));
  GoTo(file.state);
  has_state_ = true;
  if (parts_.observer != nullptr) parts_.observer->OnJoined();
  return TellAgain(texts[2]);
}

// What the rank before this one, or this one at a place before, may not have told: points, an epoch's row, a
// checkpoint. All of it may come twice.
absl::Status Trainer::Impl::TellAgain(const std::string& history) {
  URSA_ASSIGN_OR_RETURN(std::vector<MetricPoint> points, MetricHistory::Parse(history));
  for (MetricPoint& point : points) Tell(std::move(point));
  if (at_.step == 0 || at_.step_in_epoch != 0 || at_.metrics_step != at_.step) return absl::OkStatus();
  EpochSummary summary;
  summary.epoch = at_.epoch - 1;
  summary.step = at_.step;
  summary.metrics = at_.metrics;
  if (parts_.observer != nullptr) parts_.observer->OnEpoch(summary);
  return SaveCheckpoint(is_done() ? CheckpointReason::kEnd : CheckpointReason::kEpoch, /*is_best=*/false);
}

void Trainer::Impl::Tell(MetricPoint point) {
  if (parts_.observer != nullptr) parts_.observer->OnMetric(point);
  history_.Add(std::move(point));
}

absl::StatusOr<TrainControl> Trainer::Impl::TrainStep() {
  const absl::Time start = parts_.clock->Now();
  Mark("waits for a batch");
  URSA_ASSIGN_OR_RETURN(const Batch batch, parts_.batches->NextTrain(at_.epoch, at_.step_in_epoch));
  waited_ += parts_.clock->Now() - start;

  double loss = 0;
  URSA_ASSIGN_OR_RETURN(const TrainControl control, Propose(batch, &loss));
  Mark("updates the weights");
  rates_.clear();
  for (const double maximum : maxima_) rates_.push_back(phase().schedule.LearningRateAt(schedule_position_, maximum));
  momentum_ = phase().schedule.MomentumAt(schedule_position_);
  optimizer_.Step(rates_, momentum_);
  ++at_.step;
  ++at_.step_in_epoch;
  schedule_position_ += 1.0 / static_cast<double>(parts_.batches->num_train_steps() * phase().epochs);
  if (!std::isfinite(loss)) {
    return WithCause(absl::OutOfRangeError(absl::StrCat("training: the loss of step ", at_.step, " is ", loss,
                                                        " (hint: a lower train.fine_tune.base_lr)")),
                     FailureCause::kNotFinite);
  }

  const absl::Duration elapsed = parts_.clock->Now() - start;
  worked_ += elapsed;
  const double smooth = smoothed_.Add(loss);
  Tell({kTrainLoss, at_.step, at_.epoch, smooth});
  if (parts_.observer != nullptr) {
    TrainProgress progress;
    progress.step = at_.step;
    progress.epoch = at_.epoch;
    progress.loss = loss;
    progress.learning_rates = rates_;
    progress.momentum = momentum_;
    for (const Phase& phase : options_.phases) progress.num_epochs += phase.epochs;
    progress.num_steps = progress.num_epochs * parts_.batches->num_train_steps();
    const int64_t examples = batch.num_global > 0 ? batch.num_global : batch.labels.numel();
    progress.examples_per_second = static_cast<double>(examples) / std::max(1e-9, absl::ToDoubleSeconds(elapsed));
    progress.data_wait_fraction = absl::FDivDuration(waited_, std::max(worked_, absl::Nanoseconds(1)));
    parts_.observer->OnStep(progress);
  }
  return control;
}

// All of a step that needs the other ranks. When one of them is lost, nothing has changed.
absl::StatusOr<TrainControl> Trainer::Impl::Propose(const Batch& batch, double* loss) {
  const auto copy = [](const std::vector<at::Tensor>& from, std::vector<at::Tensor>* to) {
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < from.size(); ++i) (*to)[i].copy_(from[i]);
  };
  const bool is_alone = collective_->world_size() == 1;
  if (!is_alone) copy(buffers_, &kept_buffers_);
  absl::StatusOr<TrainControl> control = [&]() -> absl::StatusOr<TrainControl> {
    URSA_ASSIGN_OR_RETURN(const double mean_loss, Learn(batch));
    URSA_ASSIGN_OR_RETURN(const TrainControl agreed, Agree(mean_loss, batch, loss));
    // Rank 0's statistics are everybody's.
    URSA_RETURN_IF_ERROR(BroadcastCoalesced(collective_, /*root=*/0, statistics_));
    return agreed;
  }();
  if (!control.ok() && !is_alone) copy(kept_buffers_, &buffers_);
  return control;
}

// Forward, loss, backward: leaves the gradients. Returns the mean loss of this rank's share.
absl::StatusOr<double> Trainer::Impl::Learn(const Batch& batch) {
  Mark("runs its forward pass");
  Model& model = *parts_.model;
  model.SetTraining(true);
  const at::Device device = model.parameters().back().tensor.device();
  SeedStep(options_.seed, at_.step, collective_->rank(), device);
  optimizer_.ZeroGradients();
  data_parallel_->PrepareForward();

  const at::Tensor logits = model.Forward(batch.images.to(device));
  const at::Tensor loss = ClassificationLoss(options_.loss, logits, batch.labels.to(device));
  Mark("runs its backward pass");
  // Ranks' gradients are averaged with equal weights: scaled so, the sum is that of the whole batch's mean loss.
  const auto share = static_cast<double>(batch.labels.numel() * collective_->world_size());
  const double weight = batch.num_global > 0 ? share / static_cast<double>(batch.num_global) : 1.0;
  URSA_RETURN_IF_ERROR(data_parallel_->Backward(weight == 1.0 ? loss : loss * weight));
  return loss.item<double>();
}

// One message per step: the whole batch's mean loss, and the strongest wish of any rank's outside.
absl::StatusOr<TrainControl> Trainer::Impl::Agree(double mean_loss, const Batch& batch, double* global_loss) {
  const TrainControl wish = parts_.control ? parts_.control() : TrainControl::kContinue;
  const auto count = static_cast<double>(batch.labels.numel());
  if (collective_->world_size() == 1) {
    *global_loss = mean_loss;
    return wish;
  }
  std::vector<double> message = {mean_loss * count, count, 0, 0, 0};
  constexpr size_t kFirstWish = 2;  // of kCheckpoint, which is 1
  if (wish != TrainControl::kContinue) message[kFirstWish + static_cast<size_t>(wish) - 1] = 1;
  const at::Tensor sums = at::tensor(message, at::kDouble).to(parts_.model->parameters().back().tensor.device());
  URSA_RETURN_IF_ERROR(collective_->AllReduceSum(sums));
  const at::Tensor result = sums.cpu();
  const auto* values = result.const_data_ptr<double>();
  *global_loss = values[0] / values[1];
  TrainControl strongest = TrainControl::kContinue;
  for (int wanted = 1; wanted <= 3; ++wanted) {
    if (values[kFirstWish + static_cast<size_t>(wanted) - 1] > 0) strongest = static_cast<TrainControl>(wanted);
  }
  return strongest;
}

absl::Status Trainer::Impl::EndEpoch(absl::Time start) {
  EpochSummary summary;
  summary.epoch = at_.epoch;
  summary.step = at_.step;
  URSA_RETURN_IF_ERROR(Validate(&summary));
  if (smoothed_.count() > 0) summary.metrics[kTrainLoss] = smoothed_.value();
  summary.duration = parts_.clock->Now() - start;

  const auto value_of = [&](const std::string& column) {
    const auto found = summary.metrics.find(column);
    return found != summary.metrics.end() ? found->second : std::nan("");
  };
  summary.is_best = best_.Update(value_of(options_.best_metric));
  const bool stops = early_stopping_ && early_stopping_->Update(value_of(early_stopping_->options().monitor));
  at_.metrics = summary.metrics;
  at_.metrics_step = at_.step;
  for (const auto& [name, value] : summary.metrics) {
    // The training loss has its point already: that of the last step.
    if (name != kTrainLoss) Tell({name, at_.step, at_.epoch, value});
  }
  if (parts_.observer != nullptr) parts_.observer->OnEpoch(summary);

  // The position moves on before the checkpoint, which so never repeats a validation.
  ++at_.epoch;
  ++at_.epoch_in_phase;
  at_.step_in_epoch = 0;
  at_.stopped_early = stops && at_.epoch_in_phase < phase().epochs;
  if (stops || at_.epoch_in_phase == phase().epochs) {
    ++at_.phase;
    at_.epoch_in_phase = 0;
  }
  if (is_done()) return SaveCheckpoint(CheckpointReason::kEnd, summary.is_best);
  if (options_.checkpoint_every_epoch || has_reached())
    return SaveCheckpoint(CheckpointReason::kEpoch, summary.is_best);
  return absl::OkStatus();
}

absl::Status Trainer::Impl::Validate(EpochSummary* summary) {
  const int64_t expected = parts_.batches->num_valid_examples();
  if (expected == 0) return absl::OkStatus();
  const at::NoGradGuard no_grad;
  parts_.model->SetTraining(false);
  const at::Device device = parts_.model->parameters().back().tensor.device();
  ValidationSums sums;
  URSA_RETURN_IF_ERROR(parts_.batches->StartValid());
  while (true) {
    Mark("waits for a validation batch");
    URSA_ASSIGN_OR_RETURN(const std::optional<Batch> batch, parts_.batches->NextValid());
    if (!batch) break;
    Mark("validates");
    sums.Add(options_.loss, parts_.model->Forward(batch->images.to(device)), batch->labels.to(device),
             batch->example_indices);
  }
  const at::Tensor loss = at::tensor({sums.loss_sum}, at::kDouble).to(device);
  const at::Tensor counts =
      at::tensor({sums.num_correct, sums.num_examples, static_cast<int64_t>(sums.examples_hash)}, at::kLong).to(device);
  URSA_RETURN_IF_ERROR(collective_->AllReduceSum(loss));
  URSA_RETURN_IF_ERROR(collective_->AllReduceSum(counts));
  const at::Tensor totals = counts.cpu();
  const auto* values = totals.const_data_ptr<int64_t>();
  sums = {loss.item<double>(), values[0], values[1], static_cast<uint64_t>(values[2])};
  if (sums.num_examples != expected) {
    return absl::DataLossError(
        absl::StrCat("validation: ", expected, " examples are in the split, ranks saw ", sums.num_examples));
  }
  summary->num_valid_examples = sums.num_examples;
  summary->valid_examples_hash = sums.examples_hash;
  summary->metrics = sums.Metrics(options_.metrics);
  return absl::OkStatus();
}

absl::Status Trainer::Impl::SaveCheckpoint(CheckpointReason reason, bool is_best) {
  if (!keeps_state_ || parts_.checkpoints == nullptr) return absl::OkStatus();
  if (!writer_) writer_.emplace(parts_.checkpoints);
  Mark("hands a checkpoint over");
  CheckpointSnapshot snapshot = Snapshot();
  snapshot.metadata = {at_.step, at_.epoch, reason, at_.metrics, at_.metrics_step, is_best};
  return writer_->Submit(std::move(snapshot));
}

void Trainer::Impl::NoteCounters() {
  at_.smooth_sum = smoothed_.sum();
  at_.smooth_count = smoothed_.count();
  at_.best = best_.best;
  if (early_stopping_) {
    at_.early_best = early_stopping_->tracker().best;
    at_.early_wait = early_stopping_->num_without_improvement();
  }
}

CheckpointSnapshot Trainer::Impl::Snapshot() {
  NoteCounters();
  const at::NoGradGuard no_grad;
  const auto copy = [](NamedTensors tensors) {
    for (NamedTensor& tensor : tensors)
      tensor.tensor = tensor.tensor.detach().to(at::kCPU, /*non_blocking=*/false, /*copy=*/true);
    return tensors;
  };
  CheckpointSnapshot snapshot;
  snapshot.model = copy(parts_.model->state());
  snapshot.model_metadata = {{"format", "pt"}};
  snapshot.state = TrainStateTensors(at_, copy(optimizer_.State()));
  snapshot.state_metadata = TrainStateMetadata(Plan());
  return snapshot;
}

Trainer::Trainer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trainer::~Trainer() = default;

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(Parts parts, TrainerOptions options) {
  URSA_RETURN_IF_ERROR(options.Validate());
  if (parts.model == nullptr || parts.batches == nullptr || parts.clock == nullptr) {
    return absl::InvalidArgumentError("trainer: model, batches and clock must be given");
  }
  if (parts.batches->num_train_steps() < 1) {
    return absl::InvalidArgumentError("trainer: the training split has fewer examples than one batch: no steps");
  }
  return std::unique_ptr<Trainer>(new Trainer(std::make_unique<Impl>(std::move(parts), std::move(options))));
}

absl::Status Trainer::Restore(const Checkpoint& checkpoint) {
  try {
    return impl_->Restore(checkpoint);
  } catch (const std::exception& e) {
    return TorchErrorStatus("checkpoint", e, absl::StatusCode::kInternal);
  }
}

absl::StatusOr<TrainResult> Trainer::Run() {
  try {
    return impl_->Run();
  } catch (const std::exception& e) {
    return TorchErrorStatus("training", e, absl::StatusCode::kInternal);
  }
}

absl::StatusOr<TrainResult> Trainer::Part(bool keeps_state) {
  try {
    return impl_->Part(keeps_state);
  } catch (const std::exception& e) {
    return TorchErrorStatus("checkpoint", e, absl::StatusCode::kInternal);
  }
}

void Trainer::LeaveGroup() { impl_->LeaveGroup(); }
void Trainer::JoinGroup(Collective* collective) { impl_->JoinGroup(collective); }

}  // namespace ursa
