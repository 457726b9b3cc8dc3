#include "tests/simulation/sim_task.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "experiments/spec.h"
#include "tests/simulation/fabric.h"
#include "tests/simulation/sim_agent.h"
#include "ursa/v1/datasets.pb.h"

namespace ursa::sim {
namespace {

using worker::v1::StoreRequest;
using worker::v1::StoreResponse;
using worker::v1::TaskAssignment;
using worker::v1::TaskEvent;
using worker::v1::TaskFinished;

constexpr absl::Duration kStartLeast = absl::Milliseconds(100);  // until a process has loaded its libraries
constexpr absl::Duration kStartMost = absl::Seconds(2);
constexpr absl::Duration kFlushInterval = absl::Milliseconds(150);  // as of worker/task/training_reporter.h
constexpr int64_t kMeetingMillis = 300'000;
constexpr int kVerdictsPerReport = 10;

// The number behind `word` in a job's name, which says how the job behaves: "j7-fails-12"; -1: it does not.
int64_t NumberAfter(const std::string& name, const std::string& word) {
  const std::vector<std::string> parts = absl::StrSplit(name, '-');
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    int64_t number = -1;
    if (parts[i] == word && absl::SimpleAtoi(parts[i + 1], &number)) return number;
  }
  return -1;
}

// What is common to all processes.
class Process : public SimTask {
 public:
  Process(SimAgent* agent, int64_t process_id, const ProcessKey& key, const TaskAssignment& assignment)
      : agent_(*agent), world_(*agent->cluster().world), process_id_(process_id), key_(key), assignment_(assignment) {}

  void Start() override {
    agent_.In(process_id_, world_.Between(kStartLeast, kStartMost), [this] { Run(); });
  }

 protected:
  virtual void Run() = 0;

  void Fetch(const std::vector<std::string>& hashes, std::function<void(std::vector<std::string>)> then) {
    agent_.Fetch(process_id_, hashes,
                 [this, hashes, then = std::move(then)](absl::StatusOr<std::vector<std::string>> contents) {
                   if (contents.ok()) return then(*std::move(contents));
                   OnFetchFailed(contents.status());
                   Finish(TaskFinished::OUTCOME_FAILED, std::string(contents.status().message()));
                 });
  }
  virtual void OnFetchFailed(const absl::Status&) {}

  void Report(std::vector<TaskEvent> events, std::function<void()> then) {
    agent_.Report(process_id_, std::move(events), [this, then = std::move(then)](const absl::Status& status) {
      if (status.ok()) return then();
      // Its last word would meet the same.
      agent_.Exit(process_id_, 1, 0);
    });
  }

  void Finish(TaskFinished::Outcome outcome, const std::string& reason,
              TaskFinished::Cause cause = TaskFinished::CAUSE_UNSPECIFIED) {
    if (std::exchange(is_finishing_, true)) return;
    TaskEvent event;
    event.mutable_finished()->set_cause(cause);
    event.mutable_finished()->set_outcome(outcome);
    event.mutable_finished()->set_reason(reason);
    Report({std::move(event)},
           [this, outcome] { agent_.Exit(process_id_, outcome == TaskFinished::OUTCOME_FAILED ? 1 : 0, 0); });
  }

  SimAgent& agent_;
  World& world_;
  const int64_t process_id_;
  const ProcessKey key_;
  const TaskAssignment assignment_;
  bool is_finishing_ = false;
};

// A rank of a training: worker/task/training.cc without the arithmetic.
//
//   start --> fetch manifest and checkpoint --> meet the others --> step, checkpoint, report --> finish
class TrainRank : public Process, public GangMember {
 public:
  using Process::Process;

  void OnStop() override { is_stopping_ = true; }
  void OnDeath() override {
    if (gang_ != nullptr) std::exchange(gang_, nullptr)->Leave(key_.rank);
  }

  bool WantsStop() const override { return is_stopping_ && !ignores_stop_; }
  absl::Time PausedUntil() const override { return agent_.PausedUntil(); }
  void OnStep(int64_t step, bool stop) override;
  void OnGangEnd(TaskFinished::Outcome outcome) override;
  void OnPeerLost() override {
    Finish(TaskFinished::OUTCOME_FAILED, "collective: a peer has closed the connection", TaskFinished::CAUSE_PEER_LOST);
  }
  void OnFault(RankFault fault) override;

 private:
  void Run() override;
  void OnFetchFailed(const absl::Status& status) override;
  void Meet();
  void Call(StoreRequest request, std::function<void(const StoreResponse&)> then);
  void Join();
  bool IsEpochEnd(int64_t step) const { return step % steps_per_epoch_ == 0; }
  std::vector<TaskEvent> Progress(int64_t step);
  TaskEvent Validation(int64_t step) const;
  TaskEvent SaveCheckpoint(int64_t step, bool last);

  const v1::ExperimentSpec& spec() const { return assignment_.train().spec(); }
  JobKey job() const { return *ParseJob(key_.task_id); }

  int64_t steps_per_epoch_ = 1;
  int64_t num_steps_ = 0;
  int64_t reported_step_ = 0;
  absl::Time flushed_at_ = absl::InfinitePast();
  bool is_stopping_ = false;
  bool ignores_stop_ = false;
  std::shared_ptr<Gang> gang_;
};

void TrainRank::Run() {
  const auto& train = assignment_.train();
  std::vector<std::string> hashes = {train.manifest_hash()};
  if (!train.model_blob().empty()) {
    hashes.insert(hashes.end(), {train.model_blob(), train.optimizer_blob()});
    agent_.cluster().invariants->CheckResume(job(), train.resumed_from_step(), train.model_blob());
  }
  reported_step_ = train.resumed_from_step();
  Fetch(hashes, [this](std::vector<std::string> contents) {
    v1::Manifest manifest;
    if (!manifest.ParseFromString(contents[0])) agent_.cluster().invariants->Fail("a manifest cannot be parsed");
    const auto num_train = std::count_if(manifest.examples().begin(), manifest.examples().end(),
                                         [](const v1::Example& example) { return example.split() == "train"; });
    steps_per_epoch_ = StepsPerEpoch(spec(), num_train);
    num_steps_ = NumSteps(spec(), num_train);
    agent_.Print(process_id_, absl::StrCat("rank ", key_.rank, " of ", assignment_.world_size(), " from step ",
                                           assignment_.train().resumed_from_step(), "\n"));
    assignment_.world_size() > 1 ? Meet() : Join();
  });
}

void TrainRank::OnFetchFailed(const absl::Status& status) {
  const Job* now = agent_.cluster().invariants->FindJob(job());
  if (absl::IsNotFound(status) && now != nullptr && now->epoch == key_.epoch && now->has_gang() && !now->is_ending) {
    agent_.cluster().invariants->Fail(absl::StrCat(key_.ToString(), ": was ordered, but ", status.ToString()));
  }
}

void TrainRank::Call(StoreRequest request, std::function<void(const StoreResponse&)> then) {
  request.set_timeout_millis(kMeetingMillis);
  agent_.Rendezvous(process_id_, std::move(request),
                    [this, then = std::move(then)](const absl::StatusOr<StoreResponse>& response) {
                      if (response.ok() && !response->timed_out()) return then(*response);
                      Finish(TaskFinished::OUTCOME_FAILED, std::string(response.status().message()));
                    });
}

// As Gloo does: each rank says where it is, and reads where the others are.
void TrainRank::Meet() {
  StoreRequest set;
  set.set_operation(StoreRequest::OPERATION_SET);
  set.add_keys(absl::StrCat("rank/", key_.rank));
  set.set_value(absl::StrCat("epoch ", key_.epoch));
  Call(std::move(set), [this](const StoreResponse&) {
    StoreRequest add;
    add.set_operation(StoreRequest::OPERATION_ADD);
    add.add_keys("joined");
    add.set_amount(1);
    Call(std::move(add), [this](const StoreResponse& sum) {
      if (sum.number() > assignment_.world_size()) {
        agent_.cluster().invariants->Fail(absl::StrCat(key_.ToString(), ": one too many has joined: ", sum.number()));
      }
      StoreRequest wait;
      wait.set_operation(StoreRequest::OPERATION_WAIT);
      for (int32_t rank = 0; rank < assignment_.world_size(); ++rank) wait.add_keys(absl::StrCat("rank/", rank));
      Call(std::move(wait), [this](const StoreResponse&) {
        StoreRequest get;
        get.set_operation(StoreRequest::OPERATION_GET);
        get.add_keys(absl::StrCat("rank/", (key_.rank + 1) % assignment_.world_size()));
        Call(std::move(get), [this](const StoreResponse& peer) {
          if (peer.value() != absl::StrCat("epoch ", key_.epoch)) {
            agent_.cluster().invariants->Fail(absl::StrCat(key_.ToString(), ": meets a rank of ", peer.value()));
          }
          Join();
        });
      });
    });
  });
}

void TrainRank::Join() {
  ignores_stop_ = world_.Chance(agent_.cluster().fabric->options().ignored_stop_share);
  Gang::Options options;
  options.world_size = assignment_.world_size();
  options.first_step = assignment_.train().resumed_from_step();
  options.fails_at = std::max(NumberAfter(spec().name(), "fails"), NumberAfter(spec().name(), "wrong"));
  gang_ = agent_.cluster().fabric->FindOrMake(key_.task_id, key_.epoch, options);
  gang_->Join(key_.rank, this);
}

std::vector<TaskEvent> TrainRank::Progress(int64_t step) {
  flushed_at_ = world_.now();
  std::vector<TaskEvent> events(2);
  for (; reported_step_ < step; ++reported_step_) {
    auto* point = events[0].mutable_metrics()->add_points();
    point->set_name("train_loss");
    point->set_step(reported_step_ + 1);
    point->set_value(1.0 / static_cast<double>(reported_step_ + 1));
  }
  worker::v1::TaskProgress* progress = events[1].mutable_progress();
  progress->set_step(step);
  progress->set_num_steps(num_steps_);
  progress->set_epoch(static_cast<int32_t>(step / steps_per_epoch_));
  progress->set_resumed_from_step(assignment_.train().resumed_from_step());
  return events;
}

TaskEvent TrainRank::Validation(int64_t step) const {
  TaskEvent event;
  event.mutable_metrics()->set_validation(true);
  event.mutable_metrics()->set_epoch(static_cast<int32_t>(step / steps_per_epoch_ - 1));
  auto* point = event.mutable_metrics()->add_points();
  point->set_name("valid_loss");
  point->set_step(step);
  point->set_epoch(static_cast<int32_t>(step / steps_per_epoch_ - 1));
  point->set_value(1.0 / static_cast<double>(1 + step * 7919 % 97));
  return event;
}

TaskEvent TrainRank::SaveCheckpoint(int64_t step, bool last) {
  TaskEvent event;
  worker::v1::CheckpointSaved* saved = event.mutable_checkpoint();
  const bool bit_equal = agent_.cluster().fabric->options().bit_equal;
  saved->set_step(step);
  saved->set_epoch(static_cast<int32_t>(step / steps_per_epoch_));
  saved->set_model_blob(agent_.PutBlob(absl::StrCat("model of ", key_.task_id, " at step ", step,
                                                    bit_equal ? "" : absl::StrCat(" epoch ", key_.epoch))));
  // Jobs share these: equal recipes give equal bits.
  saved->set_optimizer_blob(agent_.PutBlob(absl::StrCat("optimizer at step ", step)));
  saved->set_size_bytes(100);
  if (IsEpochEnd(step)) {
    (*saved->mutable_metrics())["valid_loss"] = Validation(step).metrics().points(0).value();
  }
  saved->set_last(last);
  agent_.cluster().invariants->OnCheckpointMade(job(), key_.epoch, step, saved->model_blob());
  return event;
}

void TrainRank::OnStep(int64_t step, bool stop) {
  const bool is_last = step >= num_steps_;
  const bool is_reached =
      assignment_.train().until_epoch() > 0 && step >= steps_per_epoch_ * assignment_.train().until_epoch();
  const bool is_due = spec().checkpoint().has_every_steps() && step % spec().checkpoint().every_steps() == 0;
  const bool saves = stop || is_last || is_due || IsEpochEnd(step);
  if (!saves && world_.now() - flushed_at_ < kFlushInterval) return gang_->Continue();
  std::vector<TaskEvent> events = Progress(step);
  if (IsEpochEnd(step)) {
    events.push_back(Validation(step));
    agent_.Print(process_id_, absl::StrCat("epoch ", step / steps_per_epoch_ - 1, " step ", step, "\n"));
  }
  if (saves) events.push_back(SaveCheckpoint(step, is_last));
  Report(std::move(events), [this, stop, is_last, is_reached] {
    if (gang_ == nullptr || is_finishing_) return;
    if (is_last) return gang_->End(TaskFinished::OUTCOME_COMPLETED);
    if (is_reached) return gang_->End(TaskFinished::OUTCOME_REACHED);
    stop ? gang_->End(TaskFinished::OUTCOME_STOPPED) : gang_->Continue();
  });
}

void TrainRank::OnGangEnd(TaskFinished::Outcome outcome) {
  if (outcome == TaskFinished::OUTCOME_COMPLETED && key_.rank == 0) {
    agent_.cluster().invariants->OnCompleted(job(), key_.epoch);
  }
  Finish(outcome, outcome == TaskFinished::OUTCOME_STOPPED ? "told to stop" : "");
}

void TrainRank::OnFault(RankFault fault) {
  switch (fault) {
    case RankFault::kCrash:
      return agent_.Exit(process_id_, 0, 11);
    case RankFault::kKilled:
      return agent_.Exit(process_id_, 0, 9);
    case RankFault::kFailure:
      if (NumberAfter(spec().name(), "wrong") >= 0) {
        return Finish(TaskFinished::OUTCOME_USER_ERROR, "the recipe cannot work");
      }
      return Finish(TaskFinished::OUTCOME_FAILED, "something broke");
    case RankFault::kOutOfMemory:
      return Finish(TaskFinished::OUTCOME_FAILED, "no memory", TaskFinished::CAUSE_OUT_OF_MEMORY);
    case RankFault::kNotFinite:
      return Finish(TaskFinished::OUTCOME_FAILED, "loss is NaN", TaskFinished::CAUSE_NOT_FINITE);
    case RankFault::kHardware:
      return Finish(TaskFinished::OUTCOME_FAILED, "device error", TaskFinished::CAUSE_HARDWARE);
    case RankFault::kHang:
      return;
  }
}

// Checks files: every tenth is refused.
class Ingest : public Process {
 public:
  using Process::Process;

 private:
  void Run() override {
    Fetch({assignment_.ingest().candidates_hash()}, [this](std::vector<std::string> contents) {
      v1::CandidateList list;
      if (!list.ParseFromString(contents[0])) agent_.cluster().invariants->Fail("a list cannot be parsed");
      num_files_ = list.candidates_size();
      Next(0);
    });
  }

  void Next(int first) {
    if (first >= num_files_) return Finish(TaskFinished::OUTCOME_COMPLETED, "");
    std::vector<TaskEvent> events(2);
    events[0].mutable_ingest()->set_first(first);
    for (int i = first; i < std::min(num_files_, first + kVerdictsPerReport); ++i) {
      worker::v1::FileVerdict* verdict = events[0].mutable_ingest()->add_verdicts();
      if (i % 10 == 9) verdict->set_refused("no picture");
    }
    events[1].mutable_progress()->set_num_done(std::min(num_files_, first + kVerdictsPerReport));
    Report(std::move(events), [this, first] {
      agent_.In(process_id_, world_.Between(absl::Milliseconds(10), absl::Milliseconds(200)),
                [this, first] { Next(first + kVerdictsPerReport); });
    });
  }

  int num_files_ = 0;
};

// Predicts what the ledger lacks.
class Evaluation : public Process {
 public:
  using Process::Process;

 private:
  void Run() override {
    const auto& evaluate = assignment_.evaluate();
    Fetch({evaluate.model().weights_hash(), evaluate.examples_hash()}, [this](std::vector<std::string> contents) {
      worker::v1::ExampleIds ids;
      if (!ids.ParseFromString(contents[1])) agent_.cluster().invariants->Fail("a list of ids cannot be parsed");
      std::vector<TaskEvent> events(1);
      worker::v1::LedgerEntries* entries = events[0].mutable_predictions();
      entries->set_artifact_hash(assignment_.evaluate().artifact_hash());
      entries->set_transform_hash(assignment_.evaluate().transform_hash());
      for (const std::string& id : ids.ids()) {
        auto* entry = entries->add_entries();
        entry->set_example_id(id);
        for (int c = 0; c < assignment_.evaluate().model().classes_size(); ++c) {
          entry->add_logits(static_cast<float>((id[0] + c) % 3));
        }
      }
      Report(std::move(events), [this] { Finish(TaskFinished::OUTCOME_COMPLETED, ""); });
    });
  }
};

}  // namespace

std::unique_ptr<SimTask> MakeTask(SimAgent* agent, int64_t process_id, const ProcessKey& key,
                                  const TaskAssignment& assignment) {
  switch (assignment.kind_case()) {
    case TaskAssignment::kTrain:
      return std::make_unique<TrainRank>(agent, process_id, key, assignment);
    case TaskAssignment::kIngest:
      return std::make_unique<Ingest>(agent, process_id, key, assignment);
    case TaskAssignment::kEvaluate:
      return std::make_unique<Evaluation>(agent, process_id, key, assignment);
    default:
      URSA_CHECK(false) << key.ToString() << ": no task of that kind is simulated";
      return nullptr;
  }
}

}  // namespace ursa::sim
