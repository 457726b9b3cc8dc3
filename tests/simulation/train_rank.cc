#include "tests/simulation/train_rank.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "experiments/spec.h"
#include "ursa/v1/datasets.pb.h"

namespace ursa::sim {
namespace {

using worker::v1::StoreRequest;
using worker::v1::StoreResponse;
using worker::v1::TaskEvent;
using worker::v1::TaskFinished;

constexpr absl::Duration kFlushInterval = absl::Milliseconds(150);  // as of worker/task/training_reporter.h
constexpr int64_t kMeetingMillis = 300'000;

// The number behind `word` in a job's name, which says how the job behaves: "j7-fails-12"; -1: it does not.
int64_t NumberAfter(const std::string& name, const std::string& word) {
  const std::vector<std::string> parts = absl::StrSplit(name, '-');
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    int64_t number = -1;
    if (parts[i] == word && absl::SimpleAtoi(parts[i + 1], &number)) return number;
  }
  return -1;
}

}  // namespace

// ---- start

void TrainRank::Run() {
  group_epoch_ = assignment_.epoch();
  standing_ = {true, train().resumed_from_step(), 0, train().resumed_from_step()};
  std::vector<std::string> hashes = {train().manifest_hash()};
  if (train().joins()) {
    standing_ = Standing();
  } else if (!train().model_blob().empty()) {
    hashes.insert(hashes.end(), {train().model_blob(), train().optimizer_blob()});
    invariants().CheckResume(job(), train().resumed_from_step(), train().model_blob());
  }
  Fetch(hashes, [this](const std::vector<std::string>& contents) { Prepare(contents[0]); });
}

void TrainRank::Prepare(const std::string& manifest_bytes) {
  v1::Manifest manifest;
  if (!manifest.ParseFromString(manifest_bytes)) invariants().Fail("a manifest cannot be parsed");
  const auto num_train = std::count_if(manifest.examples().begin(), manifest.examples().end(),
                                       [](const v1::Example& example) { return example.split() == "train"; });
  steps_per_epoch_ = StepsPerEpoch(spec(), num_train);
  num_steps_ = NumSteps(spec(), num_train);
  standing_.epoch = standing_.step / steps_per_epoch_;
  reported_step_ = standing_.step;
  ignores_stop_ = world_.Chance(agent_.cluster().fabric->options().ignored_stop_share);
  agent_.Print(process_id_,
               absl::StrCat("rank ", key_.rank, " of ", assignment_.world_size(), " from step ", standing_.step, "\n"));
  Meet();
}

void TrainRank::OnFetchFailed(const absl::Status& status) {
  const Job* now = invariants().FindJob(job());
  if (absl::IsNotFound(status) && now != nullptr && now->epoch == key_.epoch && now->has_gang() && !now->is_ending) {
    invariants().Fail(absl::StrCat(key_.ToString(), ": was ordered, but ", status.ToString()));
  }
}

// ---- the group

void TrainRank::Call(StoreRequest request, std::function<void(const StoreResponse&)> then) {
  request.set_timeout_millis(kMeetingMillis);
  request.set_epoch(group_epoch_);
  agent_.Rendezvous(process_id_, std::move(request),
                    [this, then = std::move(then)](const absl::StatusOr<StoreResponse>& response) {
                      if (response.ok() && !response->timed_out()) return then(*response);
                      LoseGroup(response.ok() ? "rendezvous: timed out" : std::string(response.status().message()));
                    });
}

void TrainRank::Meet() {
  Group::Options options;
  options.task_id = key_.task_id;
  options.epoch = group_epoch_;
  options.world_size = assignment_.world_size();
  options.fails_at = std::max(NumberAfter(spec().name(), "fails"), NumberAfter(spec().name(), "wrong"));
  group_ = agent_.cluster().fabric->FindOrMake(options);
  if (assignment_.world_size() == 1) return Join();
  StoreRequest set;
  set.set_operation(StoreRequest::OPERATION_SET);
  set.add_keys(absl::StrCat("rank/", key_.rank));
  set.set_value(absl::StrCat("epoch ", group_epoch_));
  Call(std::move(set), [this](const StoreResponse&) { CountIn(); });
}

void TrainRank::CountIn() {
  StoreRequest add;
  add.set_operation(StoreRequest::OPERATION_ADD);
  add.add_keys("joined");
  add.set_amount(1);
  Call(std::move(add), [this](const StoreResponse& sum) {
    if (sum.number() > assignment_.world_size()) {
      invariants().Fail(absl::StrCat(key_.ToString(), ": one too many has joined: ", sum.number()));
    }
    WaitForAll();
  });
}

void TrainRank::WaitForAll() {
  StoreRequest wait;
  wait.set_operation(StoreRequest::OPERATION_WAIT);
  for (int32_t rank = 0; rank < assignment_.world_size(); ++rank) wait.add_keys(absl::StrCat("rank/", rank));
  Call(std::move(wait), [this](const StoreResponse&) {
    StoreRequest get;
    get.set_operation(StoreRequest::OPERATION_GET);
    get.add_keys(absl::StrCat("rank/", (key_.rank + 1) % assignment_.world_size()));
    Call(std::move(get), [this](const StoreResponse& peer) {
      if (peer.value() != absl::StrCat("epoch ", group_epoch_)) {
        invariants().Fail(
            absl::StrCat(key_.ToString(), ": meets a rank of ", peer.value(), " in the group of ", group_epoch_));
      }
      Join();
    });
  });
}

void TrainRank::Join() { group_->Join(key_.rank, this); }

void TrainRank::LeaveGroup() {
  if (group_ != nullptr) std::exchange(group_, nullptr)->Leave(key_.rank);
}

void TrainRank::LoseGroup(const std::string& why) {
  if (is_finishing() || is_hung_) return;
  LeaveGroup();
  std::vector<TaskEvent> events(1);
  events[0].mutable_lost_group()->set_epoch(group_epoch_);
  events[0].mutable_lost_group()->set_reason(why);
  Report(std::move(events), [this, why] {
    is_waiting_ = true;
    lost_why_ = why;
    GoOn();
  });
}

void TrainRank::GoOn() {
  if (!is_waiting_) return;
  if (newest_group_ > group_epoch_) {
    is_waiting_ = false;
    group_epoch_ = newest_group_;
    Meet();
  } else if (is_stopping_) {
    is_waiting_ = false;
    Part();
  }
}

void TrainRank::Part() {
  if (!standing_.has_state) return Fail(lost_why_, TaskFinished::CAUSE_PEER_LOST);
  // Of an epoch whose end it has not seen this has no checkpoint, though production does: its metrics are unknown here.
  const bool is_whole = !IsEpochEnd() || standing_.epoch * steps_per_epoch_ >= standing_.step;
  std::vector<TaskEvent> events = Progress();
  if (keeps_state_ && standing_.step > 0 && is_whole) {
    // As Trainer::Part has it: rank 0 may have taken the row with it.
    if (IsEpochEnd()) events.push_back(Validation());
    events.push_back(SaveCheckpoint());
  }
  Report(std::move(events), [this] { Finish(TaskFinished::OUTCOME_STOPPED, "told to stop"); });
}

void TrainRank::OnReform(int64_t epoch) {
  newest_group_ = std::max(newest_group_, epoch);
  GoOn();
}

void TrainRank::OnStop(bool keeps_state) {
  if (ignores_stop_) world_.Count(Fault::kStopIgnored);
  is_stopping_ = true;
  keeps_state_ = keeps_state;
  GoOn();
}

void TrainRank::TakeState(const Standing& theirs) {
  standing_ = theirs;
  reported_step_ = theirs.points_after;
  tells_again_ = true;
  std::vector<TaskEvent> events(1);
  events[0].mutable_joined_group();
  Report(std::move(events), [] {});
}

void TrainRank::OnFormed() {
  const bool has_ended_epoch = standing_.epoch * steps_per_epoch_ >= standing_.step;
  if (IsEpochEnd() && !has_ended_epoch) return OnStep(/*stop=*/false);  // its end is done again, by all
  if (!std::exchange(tells_again_, false)) return Proceed(/*stop=*/false);
  std::vector<TaskEvent> events = Progress();
  if (IsEpochEnd()) {
    events.push_back(Validation());
    events.push_back(SaveCheckpoint());
  }
  ReportInGroup(std::move(events), [this] { Proceed(/*stop=*/false); });
}

// ---- the work

void TrainRank::OnStep(bool stop) {
  const int64_t step = standing_.step;
  const bool is_due = spec().checkpoint().has_every_steps() && step % spec().checkpoint().every_steps() == 0;
  const bool saves = stop || IsLast() || is_due || IsEpochEnd();
  if (!saves && world_.now() - flushed_at_ < kFlushInterval) return group_->Continue();
  std::vector<TaskEvent> events = Progress();
  if (IsEpochEnd()) {
    group_->BeginEpochEnd();
    events.push_back(Validation());
    agent_.Print(process_id_, absl::StrCat("epoch ", step / steps_per_epoch_ - 1, " step ", step, "\n"));
  }
  if (saves) events.push_back(SaveCheckpoint());
  ReportInGroup(std::move(events), [this, stop] {
    if (IsEpochEnd()) group_->EndEpoch();
    Proceed(stop);
  });
}

void TrainRank::ReportInGroup(std::vector<TaskEvent> events, std::function<void()> then) {
  Report(std::move(events), [this, group = group_, then = std::move(then)] {
    if (group_ == group && !is_finishing()) then();
  });
}

void TrainRank::Proceed(bool stop) {
  const bool is_reached = train().until_epoch() > 0 && standing_.step >= steps_per_epoch_ * train().until_epoch();
  if (IsLast()) return group_->End(TaskFinished::OUTCOME_COMPLETED);
  if (is_reached) return group_->End(TaskFinished::OUTCOME_REACHED);
  stop ? group_->End(TaskFinished::OUTCOME_STOPPED) : group_->Continue();
}

std::vector<TaskEvent> TrainRank::Progress() {
  flushed_at_ = world_.now();
  std::vector<TaskEvent> events(2);
  for (; reported_step_ < standing_.step; ++reported_step_) {
    auto* point = events[0].mutable_metrics()->add_points();
    point->set_name("train_loss");
    point->set_step(reported_step_ + 1);
    point->set_value(1.0 / static_cast<double>(reported_step_ + 1));
  }
  worker::v1::TaskProgress* progress = events[1].mutable_progress();
  progress->set_step(standing_.step);
  progress->set_num_steps(num_steps_);
  progress->set_epoch(static_cast<int32_t>(standing_.step / steps_per_epoch_));
  progress->set_resumed_from_step(train().resumed_from_step());
  return events;
}

TaskEvent TrainRank::Validation() const {
  const auto epoch = static_cast<int32_t>(standing_.step / steps_per_epoch_ - 1);
  TaskEvent event;
  event.mutable_metrics()->set_validation(true);
  event.mutable_metrics()->set_epoch(epoch);
  auto* point = event.mutable_metrics()->add_points();
  point->set_name("valid_loss");
  point->set_step(standing_.step);
  point->set_epoch(epoch);
  point->set_value(1.0 / static_cast<double>(1 + standing_.step * 7919 % 97));
  return event;
}

TaskEvent TrainRank::SaveCheckpoint() {
  const int64_t step = standing_.step;
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
  if (IsEpochEnd()) (*saved->mutable_metrics())["valid_loss"] = Validation().metrics().points(0).value();
  saved->set_last(IsLast());
  invariants().OnCheckpointMade(job(), key_.epoch, step, saved->model_blob());
  return event;
}

// ---- the end

void TrainRank::OnGroupEnd(TaskFinished::Outcome outcome) {
  if (outcome == TaskFinished::OUTCOME_COMPLETED && key_.rank == 0) invariants().OnCompleted(job(), key_.epoch);
  Finish(outcome, outcome == TaskFinished::OUTCOME_STOPPED ? "told to stop" : "");
}

void TrainRank::Fail(const std::string& reason, TaskFinished::Cause cause) {
  LeaveGroup();
  Finish(TaskFinished::OUTCOME_FAILED, reason, cause);
}

void TrainRank::OnFault(RankFault fault) {
  switch (fault) {
    case RankFault::kCrash:
      return agent_.Exit(process_id_, 0, 11);
    case RankFault::kKilled:
      return agent_.Exit(process_id_, 0, 9);
    case RankFault::kFailure:
      if (NumberAfter(spec().name(), "wrong") < 0) return Fail("something broke");
      LeaveGroup();
      return Finish(TaskFinished::OUTCOME_USER_ERROR, "the recipe cannot work");
    case RankFault::kOutOfMemory:
      return Fail("no memory", TaskFinished::CAUSE_OUT_OF_MEMORY);
    case RankFault::kNotFinite:
      return Fail("loss is NaN", TaskFinished::CAUSE_NOT_FINITE);
    case RankFault::kHardware:
      return Fail("device error", TaskFinished::CAUSE_HARDWARE);
    case RankFault::kHang:
      is_hung_ = true;
      return;
  }
}

}  // namespace ursa::sim
