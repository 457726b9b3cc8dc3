// The trainer's promises: exact resume, exact validation, ranks that agree, control from outside.
#include "worker/train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "worker/comm/thread_collective.h"
#include "worker/train/training_testing.h"

namespace ursa {
namespace {

TrainerOptions MakeOptions() {
  FineTuneOptions fine_tune;
  fine_tune.epochs = 2;
  fine_tune.base_lr = 2e-2;
  TrainerOptions options;
  options.phases = FineTunePhases(fine_tune);
  options.metrics = {"error_rate", "accuracy"};
  options.loss.label_smoothing = 0.1;
  options.seed = 42;
  return options;
}

struct Outcome {
  TrainResult result;
  std::string state;
};

// One rank's run from the beginning, or from `from`.
Outcome Train(const TrainerOptions& options, RunRecord* record, const Checkpoint* from = nullptr,
              std::function<TrainControl()> control = nullptr) {
  const auto model = MakeSmallNet(4, /*with_norms=*/true, /*dropout=*/0.3);
  TensorBatchSource batches(MakeImages(42, 21, 4, 12), 0, 1);
  Trainer::Parts parts;
  parts.model = model.get();
  parts.batches = &batches;
  parts.observer = record;
  parts.checkpoints = record;
  parts.control = std::move(control);
  auto trainer = Trainer::Create(parts, options);
  EXPECT_TRUE(trainer.ok()) << trainer.status();
  if (from != nullptr) {
    EXPECT_TRUE((*trainer)->Restore(*from).ok());
  }
  const auto result = (*trainer)->Run();
  EXPECT_TRUE(result.ok()) << result.status();
  return {result.ok() ? *result : TrainResult(), StateBytes(*model)};
}

TEST(TrainerTest, LearnsAndReports) {
  RunRecord record;
  TrainerOptions options = MakeOptions();
  const Outcome outcome = Train(options, &record);
  EXPECT_EQ(outcome.result.outcome, TrainResult::Outcome::kCompleted);
  EXPECT_EQ(outcome.result.step, 18);
  EXPECT_EQ(outcome.result.epoch, 3);
  EXPECT_EQ(record.steps.size(), 18u);
  EXPECT_EQ(record.steps.back().num_steps, 18);
  ASSERT_EQ(record.epochs.size(), 3u);
  uint64_t hash = 0;
  for (int64_t i = 0; i < 21; ++i) hash += HashExample(i);
  for (const EpochSummary& epoch : record.epochs) {
    EXPECT_EQ(epoch.num_valid_examples, 21);
    EXPECT_EQ(epoch.valid_examples_hash, hash);
    EXPECT_NEAR(epoch.metrics.at("error_rate") + epoch.metrics.at("accuracy"), 1, 1e-12);
  }
  EXPECT_LT(record.epochs[2].metrics.at("valid_loss"), record.epochs[0].metrics.at("valid_loss"));
  ASSERT_EQ(record.checkpoints.size(), 3u);
  EXPECT_EQ(record.checkpoints[2].metadata.reason, CheckpointReason::kEnd);
  EXPECT_EQ(record.checkpoints[2].metadata.step, 18);
  EXPECT_EQ(record.checkpoints[2].metadata.metrics, outcome.result.metrics);
}

TEST(TrainerTest, ResumeIsBitEqual) {
  TrainerOptions options = MakeOptions();
  options.checkpoint_every_steps = 1;
  RunRecord undisturbed;
  const Outcome whole = Train(options, &undisturbed);
  RunRecord again;
  EXPECT_EQ(Train(options, &again).state, whole.state) << "two undisturbed runs";
  ASSERT_EQ(undisturbed.checkpoints.size(), 18u + 3u);
  for (size_t i = 0; i < undisturbed.checkpoints.size(); ++i) {
    const Checkpoint& checkpoint = undisturbed.checkpoints[i];
    SCOPED_TRACE(std::string(CheckpointReasonName(checkpoint.metadata.reason)) + " at step " +
                 std::to_string(checkpoint.metadata.step));
    RunRecord resumed;
    for (const MetricPoint& point : undisturbed.points) {
      const bool is_before = point.step < checkpoint.metadata.step ||
                             (point.step == checkpoint.metadata.step &&
                              (point.name == "train_loss" || checkpoint.metadata.metrics_step == point.step));
      if (is_before) resumed.points.push_back(point);
    }
    const Outcome outcome = Train(options, &resumed, &checkpoint);
    EXPECT_TRUE(outcome.state == whole.state);
    EXPECT_EQ(resumed.PointsText(), undisturbed.PointsText());
    EXPECT_EQ(outcome.result.metrics, whole.result.metrics);
    if (!resumed.checkpoints.empty()) {
      EXPECT_TRUE(resumed.checkpoints.back().state == undisturbed.checkpoints.back().state);
      EXPECT_EQ(resumed.checkpoints.back().metadata.is_best, undisturbed.checkpoints.back().metadata.is_best);
    }
  }
}

TEST(TrainerTest, StopAndCheckpointThenResume) {
  TrainerOptions options = MakeOptions();
  RunRecord undisturbed;
  const Outcome whole = Train(options, &undisturbed);
  int polls = 0;
  RunRecord first;
  const Outcome stopped = Train(options, &first, nullptr, [&] {
    return ++polls == 8 ? TrainControl::kCheckpointAndStop : TrainControl::kContinue;
  });
  EXPECT_EQ(stopped.result.outcome, TrainResult::Outcome::kStopped);
  EXPECT_EQ(stopped.result.step, 8);
  ASSERT_FALSE(first.checkpoints.empty());
  EXPECT_EQ(first.checkpoints.back().metadata.reason, CheckpointReason::kRequested);
  const Checkpoint checkpoint = first.checkpoints.back();
  EXPECT_TRUE(Train(options, &first, &checkpoint).state == whole.state);
  EXPECT_EQ(first.PointsText(), undisturbed.PointsText());
}

// As a search trains it: to a rung, and on from there when it is promoted.
TEST(TrainerTest, EndsAtUntilEpochAndGoesOnBitEqual) {
  RunRecord undisturbed;
  const Outcome whole = Train(MakeOptions(), &undisturbed);
  TrainerOptions options = MakeOptions();
  options.checkpoint_every_epoch = false;
  RunRecord record;
  std::optional<Checkpoint> checkpoint;
  for (const int64_t epoch : {1, 2}) {
    options.until_epoch = epoch;
    const Outcome outcome = Train(options, &record, checkpoint ? &*checkpoint : nullptr);
    EXPECT_EQ(outcome.result.outcome, TrainResult::Outcome::kReached);
    EXPECT_EQ(outcome.result.epoch, epoch);
    EXPECT_EQ(outcome.result.step, epoch * 6);
    ASSERT_EQ(record.checkpoints.size(), static_cast<size_t>(epoch));
    EXPECT_EQ(record.checkpoints.back().metadata.epoch, epoch);
    checkpoint = record.checkpoints.back();
  }
  // Asked for what it has, it does nothing.
  EXPECT_EQ(Train(options, &record, &*checkpoint).result.step, 12);
  EXPECT_EQ(record.checkpoints.size(), 2u);
  options.until_epoch = 3;  // the last one: that is the end
  const Outcome outcome = Train(options, &record, &*checkpoint);
  EXPECT_EQ(outcome.result.outcome, TrainResult::Outcome::kCompleted);
  EXPECT_TRUE(outcome.state == whole.state);
  EXPECT_EQ(record.PointsText(), undisturbed.PointsText());
}

TEST(TrainerTest, StopWritesNothing) {
  RunRecord record;
  const Outcome outcome = Train(MakeOptions(), &record, nullptr, [] { return TrainControl::kStop; });
  EXPECT_EQ(outcome.result.outcome, TrainResult::Outcome::kStopped);
  EXPECT_EQ(outcome.result.step, 1);
  EXPECT_TRUE(record.checkpoints.empty());
}

TEST(TrainerTest, RefusesForeignCheckpoints) {
  RunRecord record;
  Train(MakeOptions(), &record);
  const auto model = MakeSmallNet(4, true, 0.3);
  TensorBatchSource batches(MakeImages(42, 21, 4, 12), 0, 1);
  Trainer::Parts parts;
  parts.model = model.get();
  parts.batches = &batches;
  TrainerOptions options = MakeOptions();
  options.phases[0].epochs = 5;
  auto trainer = Trainer::Create(parts, options);
  ASSERT_TRUE(trainer.ok());
  EXPECT_EQ((*trainer)->Restore(record.checkpoints[0]).code(), absl::StatusCode::kInvalidArgument);
  Checkpoint damaged = record.checkpoints[0];
  damaged.state.resize(damaged.state.size() / 2);
  EXPECT_EQ((*trainer)->Restore(damaged).code(), absl::StatusCode::kDataLoss);
}

TEST(TrainerTest, EarlyStoppingEndsItsPhaseOnly) {
  TrainerOptions options = MakeOptions();
  options.phases[0].epochs = 6;
  options.phases[0].learning_rate = {1e-9};
  options.early_stopping = EarlyStoppingOptions{"valid_loss", 2, /*min_delta=*/1};
  RunRecord record;
  const Outcome outcome = Train(options, &record);
  // Never better by 1 after the first epoch: stops after three; the second phase still runs.
  ASSERT_GE(record.epochs.size(), 4u);
  EXPECT_EQ(record.epochs[3].epoch, 3);
  EXPECT_EQ(outcome.result.epoch, 5);
  EXPECT_EQ(outcome.result.outcome, TrainResult::Outcome::kCompleted);
  options.phases.resize(1);
  RunRecord single;
  EXPECT_EQ(Train(options, &single).result.outcome, TrainResult::Outcome::kEarlyStopped);
}

TEST(TrainerTest, SinkErrorEndsTheRun) {
  struct FullDisk : public CheckpointSink {
    absl::Status Write(Checkpoint) override { return absl::ResourceExhaustedError("disk full"); }
  } sink;
  const auto model = MakeSmallNet(4, true, 0);
  TensorBatchSource batches(MakeImages(42, 21, 4, 12), 0, 1);
  Trainer::Parts parts;
  parts.model = model.get();
  parts.batches = &batches;
  parts.checkpoints = &sink;
  auto trainer = Trainer::Create(parts, MakeOptions());
  ASSERT_TRUE(trainer.ok());
  EXPECT_EQ((*trainer)->Run().status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(TrainerTest, Validation) {
  TrainerOptions options = MakeOptions();
  options.metrics = {"auc"};
  EXPECT_EQ(options.Validate().code(), absl::StatusCode::kInvalidArgument);
  options = MakeOptions();
  options.best_metric = "f1";
  EXPECT_EQ(options.Validate().code(), absl::StatusCode::kInvalidArgument);
  options = MakeOptions();
  options.early_stopping = EarlyStoppingOptions{"nothing"};
  EXPECT_EQ(options.Validate().code(), absl::StatusCode::kInvalidArgument);
  options = MakeOptions();
  options.phases.clear();
  EXPECT_EQ(options.Validate().code(), absl::StatusCode::kInvalidArgument);
  options = MakeOptions();
  options.checkpoint_every_steps = 0;
  EXPECT_EQ(options.Validate().code(), absl::StatusCode::kInvalidArgument);
}

// Runs `world` ranks as threads; no dropout, since threads share torch's generator.
std::vector<Outcome> TrainRanks(int world, bool with_norms, std::vector<RunRecord>* records,
                                std::function<TrainControl()> control_of_last = nullptr) {
  at::set_num_threads(1);
  auto collectives = MakeThreadCollectives(world);
  std::vector<Outcome> outcomes(static_cast<size_t>(world));
  records->resize(static_cast<size_t>(world));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world; ++rank) {
    threads.emplace_back([&, rank] {
      const auto i = static_cast<size_t>(rank);
      const auto model = MakeSmallNet(4, with_norms, 0);
      TensorBatchSource batches(MakeImages(42, 21, 4, 12), rank, world);
      Trainer::Parts parts;
      parts.model = model.get();
      parts.batches = &batches;
      parts.collective = collectives[i].get();
      parts.observer = &(*records)[i];
      parts.checkpoints = &(*records)[i];
      if (rank == world - 1) parts.control = control_of_last;
      auto trainer = Trainer::Create(parts, MakeOptions());
      ASSERT_TRUE(trainer.ok()) << trainer.status();
      const auto result = (*trainer)->Run();
      ASSERT_TRUE(result.ok()) << result.status();
      outcomes[i] = {*result, StateBytes(*model)};
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

TEST(DataParallelTrainerTest, RanksAgreeWithOneRank) {
  std::vector<RunRecord> one, three;
  const std::vector<Outcome> single = TrainRanks(1, /*with_norms=*/false, &one);
  // Batches of 8 and of 2 over three ranks: shares are unequal, some empty in validation only.
  const std::vector<Outcome> ranks = TrainRanks(2, /*with_norms=*/false, &three);
  EXPECT_TRUE(ranks[0].state == ranks[1].state);
  EXPECT_EQ(three[0].PointsText(), three[1].PointsText());
  ASSERT_EQ(one[0].points.size(), three[0].points.size());
  for (size_t i = 0; i < one[0].points.size(); ++i) {
    EXPECT_EQ(one[0].points[i].name, three[0].points[i].name);
    EXPECT_NEAR(one[0].points[i].value, three[0].points[i].value, 1e-4) << one[0].points[i].name << " " << i;
  }
  EXPECT_EQ(one[0].epochs[0].valid_examples_hash, three[0].epochs[0].valid_examples_hash);
  EXPECT_TRUE(three[1].checkpoints.empty()) << "rank 0 alone writes";
}

TEST(DataParallelTrainerTest, NormStatisticsAreRankZeros) {
  std::vector<RunRecord> records, again;
  const std::vector<Outcome> ranks = TrainRanks(2, /*with_norms=*/true, &records);
  EXPECT_TRUE(ranks[0].state == ranks[1].state);
  EXPECT_TRUE(TrainRanks(2, true, &again)[0].state == ranks[0].state) << "two runs of two ranks";
}

TEST(DataParallelTrainerTest, AWishOfOneRankStopsAllAtTheSameStep) {
  std::vector<RunRecord> records;
  int polls = 0;
  const std::vector<Outcome> ranks = TrainRanks(
      2, true, &records, [&] { return ++polls == 4 ? TrainControl::kCheckpointAndStop : TrainControl::kContinue; });
  EXPECT_EQ(ranks[0].result.step, 4);
  EXPECT_EQ(ranks[1].result.step, 4);
  ASSERT_EQ(records[0].checkpoints.size(), 1u);
  EXPECT_EQ(records[0].checkpoints[0].metadata.step, 4);
}

}  // namespace
}  // namespace ursa
