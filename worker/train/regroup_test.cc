// Ranks die, at any operation of the group; the others go on with one that was started anew: not a bit is different.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "worker/comm/thread_collective.h"
#include "worker/train/group_sync.h"
#include "worker/train/metric_history.h"
#include "worker/train/optimizer.h"
#include "worker/train/trainer.h"
#include "worker/train/training_testing.h"

namespace ursa {
namespace {

constexpr int kNever = -1;
constexpr size_t kPointsNotHandedOn = 3;

// What happens to a rank at its operation of that number.
struct Event {
  int rank = 0;
  int operation = kNever;
  bool is_death = true;  // else the operation takes place, but this rank does not hear of it: its connection breaks
};

// Counts operations, and lets the event happen.
class MortalCollective : public Collective {
 public:
  MortalCollective(std::unique_ptr<Collective> collective, const Event& event)
      : collective_(std::move(collective)), event_(event) {}

  int rank() const override { return collective_->rank(); }
  int world_size() const override { return collective_->world_size(); }
  absl::Status AllReduceSum(at::Tensor tensor) override {
    return Do([&] { return collective_->AllReduceSum(std::move(tensor)); });
  }
  absl::Status Broadcast(at::Tensor tensor, int root) override {
    return Do([&] { return collective_->Broadcast(std::move(tensor), root); });
  }
  absl::Status Barrier() override {
    return Do([&] { return collective_->Barrier(); });
  }

  bool is_broken() const { return is_broken_; }
  int num_operations() const { return num_operations_; }

 private:
  template <typename Call>
  absl::Status Do(const Call& call) {
    const bool happens = num_operations_++ == event_.operation && event_.rank == rank();
    if (happens && !event_.is_death) call().IgnoreError();  // whatever it says, nobody hears it
    is_broken_ = is_broken_ || happens;
    return is_broken_ ? absl::UnavailableError("the connection is broken") : call();
  }

  std::unique_ptr<Collective> collective_;
  const Event event_;
  std::atomic<int> num_operations_{0};
  std::atomic<bool> is_broken_{false};
};

// What comes out of a rank that is not the first: nothing, until it takes over.
class SilentRank : public TrainObserver, public CheckpointSink {
 public:
  explicit SilentRank(RunRecord* record) : record_(*record) {}
  void OnTakingOver() override { tells_ = true; }
  void OnMetric(const MetricPoint& point) override {
    if (tells_) record_.OnMetric(point);
  }
  void OnEpoch(const EpochSummary& summary) override {
    if (tells_) record_.OnEpoch(summary);
  }
  absl::Status Write(Checkpoint checkpoint) override {
    EXPECT_TRUE(tells_);
    return record_.Write(std::move(checkpoint));
  }

 private:
  RunRecord& record_;
  bool tells_ = false;
};

// One process.
struct Rank {
  std::unique_ptr<SilentRank> output;
  std::unique_ptr<Model> model;
  std::unique_ptr<TensorBatchSource> batches;
  std::unique_ptr<Trainer> trainer;
};

class Job {
 public:
  Job(int world, TrainerOptions options) : world_(world), options_(std::move(options)) {
    for (int rank = 0; rank < world; ++rank) ranks_.push_back(Start(rank, /*joins=*/false));
  }

  // Trains in one group after the other; in the i-th, `events[i]` happens. Returns how many groups it took.
  int Run(const std::vector<Event>& events) {
    for (size_t group = 0;; ++group) {
      const Event event = group < events.size() ? events[group] : Event();
      if (!RunGroup(event)) return static_cast<int>(group) + 1;
      if (!event.is_death) continue;
      ranks_[static_cast<size_t>(event.rank)] = Start(event.rank, /*joins=*/true);
    }
  }
  // After a group in which the event has happened nobody forms another: that rank keeps the state.
  void RunAndPart(const Event& event, size_t keeper) {
    ASSERT_TRUE(RunGroup(event));
    const auto result = ranks_[keeper].trainer->Part(/*keeps_state=*/true);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->outcome, TrainResult::Outcome::kStopped);
  }
  // On all ranks, before they run.
  void Restore(const Checkpoint& checkpoint) {
    for (Rank& rank : ranks_) ASSERT_TRUE(rank.trainer->Restore(checkpoint).ok());
  }
  std::string StateOf(int rank) const { return StateBytes(*ranks_[static_cast<size_t>(rank)].model); }

  RunRecord record;        // what has come out of rank 0
  int num_operations = 0;  // of rank 0 in the last group

 private:
  Rank Start(int number, bool joins) {
    Rank rank;
    rank.output = std::make_unique<SilentRank>(&record);
    rank.model = MakeSmallNet(4, /*with_norms=*/true, 0);
    TensorBatchSource::Data data = MakeImages(42, 21, 4, 12);
    if (world_ == 3) data.batch_size = 6;  // a multiple, so that no rank has less than two
    rank.batches = std::make_unique<TensorBatchSource>(std::move(data), number, world_);
    Trainer::Parts parts;
    parts.model = rank.model.get();
    parts.batches = rank.batches.get();
    parts.joins = joins;
    parts.observer = number == 0 ? static_cast<TrainObserver*>(&record) : rank.output.get();
    parts.checkpoints = number == 0 ? static_cast<CheckpointSink*>(&record) : rank.output.get();
    auto trainer = Trainer::Create(parts, options_);
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    rank.trainer = *std::move(trainer);
    return rank;
  }

  // Returns whether the event has happened, which ends the group for all.
  bool RunGroup(const Event& event) {
    auto group = MakeThreadCollectives(world_);
    std::vector<std::thread> threads;
    std::atomic<bool> has_happened{false};
    std::atomic<int> num_failed{0};
    for (int r = 0; r < world_; ++r) {
      threads.emplace_back([&, r] {
        auto collective = std::make_unique<MortalCollective>(std::move(group[static_cast<size_t>(r)]), event);
        Trainer& trainer = *ranks_[static_cast<size_t>(r)].trainer;
        trainer.JoinGroup(collective.get());
        const auto result = trainer.Run();
        trainer.LeaveGroup();
        if (collective->is_broken()) has_happened = true;
        if (!result.ok()) ++num_failed;
        if (r == 0) num_operations = collective->num_operations();
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(has_happened || num_failed == 0);
    if (has_happened && event.is_death && event.rank == 0) {
      record.points.resize(record.points.size() - std::min(record.points.size(), kPointsNotHandedOn));
    }
    return has_happened;
  }

  const int world_;
  const TrainerOptions options_;
  std::vector<Rank> ranks_;
};

class RegroupTest : public ::testing::Test {
 protected:
  RegroupTest() {
    at::set_num_threads(1);
    FineTuneOptions fine_tune;
    fine_tune.epochs = 2;
    fine_tune.base_lr = 2e-2;
    options_.phases = FineTunePhases(fine_tune);
    options_.metrics = {"error_rate"};
    options_.loss.label_smoothing = 0.1;
    options_.seed = 42;
    options_.checkpoint_every_steps = 5;
  }

  void ExpectSame(int world, const Job& calm, const Job& storm) {
    EXPECT_EQ(storm.record.PointsText(), calm.record.PointsText());
    ASSERT_FALSE(storm.record.checkpoints.empty());
    EXPECT_TRUE(storm.record.checkpoints.back().model == calm.record.checkpoints.back().model);
    EXPECT_TRUE(storm.record.checkpoints.back().state == calm.record.checkpoints.back().state);
    EXPECT_EQ(storm.record.checkpoints.back().metadata.reason, CheckpointReason::kEnd);
    for (int r = 0; r < world; ++r) EXPECT_TRUE(storm.StateOf(r) == calm.StateOf(0)) << "rank " << r;
    // Each epoch has its row.
    std::vector<int64_t> rows;
    for (const EpochSummary& row : storm.record.epochs) rows.push_back(row.epoch);
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    EXPECT_EQ(rows, (std::vector<int64_t>{0, 1, 2}));
  }

  TrainerOptions options_;
};

TEST_F(RegroupTest, ADeathOrABrokenConnectionAtAnyOperationCostsNothing) {
  constexpr int kWorld = 2;
  Job calm(kWorld, options_);
  ASSERT_EQ(calm.Run({}), 1);
  ASSERT_GT(calm.num_operations, 18 * 3);
  for (int operation = 0; operation < calm.num_operations; ++operation) {
    for (const bool is_death : {true, false}) {
      const int rank = operation % kWorld;
      SCOPED_TRACE(testing::Message() << "rank " << rank << (is_death ? " dies at " : " is cut off at ") << operation);
      Job storm(kWorld, options_);
      ASSERT_EQ(storm.Run({{rank, operation, is_death}}), 2);
      ExpectSame(kWorld, calm, storm);
      if (HasFailure()) return;
    }
  }
}

TEST_F(RegroupTest, SoDoSeveralOneAfterTheOther) {
  constexpr int kWorld = 3;
  Job calm(kWorld, options_);
  ASSERT_EQ(calm.Run({}), 1);
  SeededRng rng(7);
  for (int round = 0; round < 25; ++round) {
    const int survivor = static_cast<int>(rng.Next() % kWorld);
    std::vector<Event> events;
    std::string text;
    for (int i = 0; i < 4; ++i) {
      Event event;
      event.rank = (survivor + 1 + static_cast<int>(rng.Next() % (kWorld - 1))) % kWorld;
      // Early ones too: while the state is being shared.
      event.operation = static_cast<int>(rng.Next() % (rng.Next() % 2 != 0 ? 4 : 16));
      event.is_death = rng.Next() % 3 != 0;
      events.push_back(event);
      text += absl::StrCat(" rank ", event.rank, event.is_death ? " dies at " : " is cut off at ", event.operation);
    }
    SCOPED_TRACE(testing::Message() << "round " << round << ":" << text);
    Job storm(kWorld, options_);
    ASSERT_EQ(storm.Run(events), 5);
    ExpectSame(kWorld, calm, storm);
    if (HasFailure()) return;
  }
}

// No group is formed any more: a rank checkpoints where it stands, and what goes on from there is bit for bit the same.
TEST_F(RegroupTest, WhoPartsLosesNoStep) {
  constexpr int kWorld = 2;
  Job calm(kWorld, options_);
  ASSERT_EQ(calm.Run({}), 1);
  for (int operation = 6; operation < calm.num_operations; ++operation) {
    const int dies = operation % kWorld;
    SCOPED_TRACE(testing::Message() << "rank " << dies << " dies at " << operation);
    Job parted(kWorld, options_);
    parted.RunAndPart({dies, operation, /*is_death=*/true}, static_cast<size_t>(1 - dies));
    ASSERT_FALSE(HasFailure());
    int64_t num_steps = 0;
    for (const MetricPoint& point : parted.record.points) num_steps = std::max(num_steps, point.step);
    ASSERT_EQ(parted.record.checkpoints.empty(), num_steps == 0);
    if (num_steps == 0) continue;
    const auto& last = parted.record.checkpoints.back();
    EXPECT_EQ(last.metadata.step, num_steps);
    Job successor(kWorld, options_);
    successor.Restore(last);
    ASSERT_EQ(successor.Run({}), 1);
    EXPECT_TRUE(successor.record.checkpoints.back().model == calm.record.checkpoints.back().model);
    EXPECT_TRUE(successor.record.checkpoints.back().state == calm.record.checkpoints.back().state);
    RunRecord both = parted.record;
    both.points.insert(both.points.end(), successor.record.points.begin(), successor.record.points.end());
    EXPECT_EQ(both.PointsText(), calm.record.PointsText());
    if (HasFailure()) return;
  }
}

TEST_F(RegroupTest, WithoutAnybodyWhoHasTheStateItFails) {
  auto group = MakeThreadCollectives(2);
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      const auto model = MakeSmallNet(4, true, 0);
      TensorBatchSource batches(MakeImages(42, 21, 4, 12), r, 2);
      Trainer::Parts parts;
      parts.model = model.get();
      parts.batches = &batches;
      parts.collective = group[static_cast<size_t>(r)].get();
      parts.joins = true;
      const auto result = (*Trainer::Create(parts, options_))->Run();
      EXPECT_NE(result.status().message().find("no rank of the group has the state"), std::string::npos);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ChooseLeaderTest, MostStepsThenFewestEpochsThenLowestRank) {
  EXPECT_EQ(ChooseLeader({{false, 0, 0}, {false, 0, 0}}), -1);
  EXPECT_EQ(ChooseLeader({{false, 0, 0}, {true, 0, 0}}), 1);
  EXPECT_EQ(ChooseLeader({{true, 5, 1}, {true, 6, 1}, {true, 6, 1}}), 1);
  EXPECT_EQ(ChooseLeader({{true, 6, 2}, {true, 6, 1}, {false, 0, 0}}), 1);
}

TEST(AdamStateTest, IsMadeFromTheNamesOfAnotherRank) {
  const auto model = MakeSmallNet(3, /*with_norms=*/true, /*dropout=*/0), other = MakeSmallNet(3, true, 0);
  for (const Parameter& parameter : model->parameters()) {
    if (!parameter.is_norm) parameter.tensor.mutable_grad() = at::ones_like(parameter.tensor);  // the others are frozen
  }
  Adam adam(model->parameters(), {}), joined(other->parameters(), {});
  adam.Step(std::vector<double>(static_cast<size_t>(model->num_groups()), 1e-3), 0.9);
  std::vector<std::string> names;
  for (const NamedTensor& entry : adam.State()) names.push_back(entry.name);
  const absl::StatusOr<NamedTensors> made = joined.MakeState(names, /*has_values=*/true);
  ASSERT_TRUE(made.ok()) << made.status();
  for (size_t i = 0; i < names.size(); ++i) (*made)[i].tensor.copy_(adam.State()[i].tensor);
  ASSERT_TRUE(joined.LoadState(*made).ok());
  ASSERT_EQ(joined.State().size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_TRUE(joined.State()[i].name == names[i] && joined.State()[i].tensor.equal(adam.State()[i].tensor));
  }
  const absl::StatusOr<NamedTensors> shapes = joined.MakeState(names, /*has_values=*/false);
  ASSERT_TRUE(shapes.ok()) << shapes.status();
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_TRUE((*shapes)[i].tensor.is_meta() && (*shapes)[i].tensor.sizes() == adam.State()[i].tensor.sizes());
  }
  EXPECT_EQ(joined.MakeState({"nobody/moment"}, true).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(joined.MakeState({names[0] + "s"}, true).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(MetricHistoryTest, KeepsEveryBitOfTheNewestPoints) {
  MetricHistory history;
  for (int i = 0; i < 5000; ++i) history.Add({"train_loss", i, i / 100, 1.0 / (i + 3)});
  const auto points = MetricHistory::Parse(history.ToText());
  ASSERT_TRUE(points.ok()) << points.status();
  ASSERT_EQ(points->size(), 4096u);
  EXPECT_EQ(points->back().step, 4999);
  EXPECT_EQ(points->back().epoch, 49);
  EXPECT_EQ(points->back().value, 1.0 / 5002);
  EXPECT_EQ(MetricHistory::Parse("train_loss 1 0 zero\n").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(MetricHistory::Parse("train_loss 1\n").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(MetricHistory::Parse("")->empty());
}

}  // namespace
}  // namespace ursa
