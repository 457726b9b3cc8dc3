#include "coordinator/core/coordinator_testing.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "storage/keys.h"

namespace ursa {

std::string TaskOf(const std::string& experiment_id) { return "t" + experiment_id.substr(1) + ".1"; }

const worker::v1::TaskOrder* FakeWorker::FindOrder(const std::string& task_id) const {
  for (const worker::v1::TaskOrder& order : desired().orders()) {
    if (order.assignment().task_id() == task_id) return &order;
  }
  return nullptr;
}

void FakeWorker::Session::Send(worker::v1::ConnectResponse message) {
  switch (message.message_case()) {
    case worker::v1::ConnectResponse::kWelcome:
      worker_id = message.welcome().worker_id();
      break;
    case worker::v1::ConnectResponse::kDesired:
      desired = message.desired();
      ++num_desired;
      break;
    case worker::v1::ConnectResponse::kAck:
      acked = message.ack().sequence();
      break;
    case worker::v1::ConnectResponse::kRendezvous:
      rendezvous.push_back(message.rendezvous());
      break;
    case worker::v1::ConnectResponse::kPredict:
      predicts.push_back(message.predict());
      break;
    default:
      ADD_FAILURE() << "a message of an unknown kind";
  }
}

void Harness::Start() {
  ASSERT_TRUE(CheckStoreFormat(store_).ok());
  auto blobs = BlobStore::Open(store_, &clock_, BlobStore::Options());
  ASSERT_TRUE(blobs.ok()) << blobs.status();
  blobs_ = *std::move(blobs);
  auto commit = Commit::Open(&records_, Commit::Options());
  ASSERT_TRUE(commit.ok()) << commit.status();
  commit_ = *std::move(commit);
  Environment env;
  env.commit = commit_.get();
  env.clock = &clock_;
  env.executor = &executor_;
  env.records = &records_;
  env.blobs = blobs_.get();
  env.metrics = &metrics_;
  env.logs = &logs_;
  env.ledger = &ledger_;
  env.options = options_;
  coordinator_ = std::make_unique<Coordinator>(std::move(env));
  coordinator_->Restore();
  Pump();
}

void Harness::Restart(absl::Duration downtime) {
  executor_ = ManualExecutor();
  coordinator_ = nullptr;
  commit_ = nullptr;
  blobs_ = nullptr;
  memory_.Crash();
  clock_.Advance(downtime);
  Start();
}

void Harness::Pump() {
  while (commit_->RunQueued() || executor_.RunQueued()) {
  }
}

void Harness::Advance(absl::Duration time, const std::vector<FakeWorker*>& alive) {
  const absl::Time end = clock_.Now() + time;
  while (clock_.Now() < end) {
    clock_.Advance(std::min(options_.heartbeat, end - clock_.Now()));
    for (FakeWorker* worker : alive) {
      worker::v1::ConnectRequest beat;
      beat.mutable_heartbeat();
      EXPECT_TRUE(Send(worker, std::move(beat)).ok());
    }
    coordinator_->Tick();
    Pump();
  }
}

void Harness::Connect(FakeWorker* worker) {
  worker->session_ = std::make_shared<FakeWorker::Session>(worker->caller_);
  worker::v1::ConnectRequest message;
  *message.mutable_hello() = worker->hello_;
  const absl::Status status = Send(worker, std::move(message));
  if (!status.ok()) {
    worker->session_->closed = status;
    return;
  }
  worker->hello_.set_worker_id(worker->session_->worker_id);
}

void Harness::Disconnect(FakeWorker* worker) {
  coordinator_->OnDisconnected(worker->session_.get());
  Pump();
}

absl::Status Harness::Send(FakeWorker* worker, worker::v1::ConnectRequest message) {
  std::optional<absl::Status> processed;
  coordinator_->OnMessage(worker->session_, std::move(message),
                          [&processed](absl::Status status) { processed = std::move(status); });
  Pump();
  return processed.value_or(absl::InternalError("the message was not processed"));
}

void Harness::Beat(FakeWorker* worker, const std::string& task, int64_t epoch, int32_t rank) {
  worker::v1::ConnectRequest message;
  worker::v1::TaskStatus* status = message.mutable_heartbeat()->add_tasks();
  status->set_task_id(task);
  status->set_epoch(epoch);
  status->set_rank(rank);
  EXPECT_TRUE(Send(worker, std::move(message)).ok());
}

void Harness::Report(FakeWorker* worker, const std::string& task, int64_t epoch, int32_t rank,
                     worker::v1::TaskEvent event) {
  worker::v1::ConnectRequest message;
  message.mutable_events()->set_sequence(++worker->sequence_);
  worker::v1::StampedEvent* stamped = message.mutable_events()->add_events();
  stamped->set_task_id(task);
  stamped->set_epoch(epoch);
  stamped->set_rank(rank);
  *stamped->mutable_event() = std::move(event);
  EXPECT_TRUE(Send(worker, std::move(message)).ok());
  EXPECT_EQ(worker->acked(), worker->sequence_);
}

void Harness::Checkpoint(FakeWorker* worker, const std::string& task, int64_t epoch, int64_t step, double valid_loss,
                         bool last, int32_t rank) {
  worker::v1::TaskEvent event;
  worker::v1::CheckpointSaved* saved = event.mutable_checkpoint();
  saved->set_step(step);
  saved->set_epoch(static_cast<int32_t>(step / 10));
  saved->set_model_blob(blobs_->Put(absl::StrCat("model of ", task, " at ", step)).value());
  saved->set_optimizer_blob(blobs_->Put(absl::StrCat("optimizer of ", task, " at ", step)).value());
  saved->set_size_bytes(100);
  (*saved->mutable_metrics())["valid_loss"] = valid_loss;
  saved->set_last(last);
  Report(worker, task, epoch, rank, std::move(event));
}

void Harness::Finish(FakeWorker* worker, const std::string& task, int64_t epoch, int32_t rank,
                     worker::v1::TaskFinished::Outcome outcome, const std::string& reason,
                     worker::v1::TaskFinished::Cause cause) {
  worker::v1::TaskEvent event;
  event.mutable_finished()->set_cause(cause);
  event.mutable_finished()->set_outcome(outcome);
  event.mutable_finished()->set_reason(reason);
  Report(worker, task, epoch, rank, std::move(event));
}

void Harness::Exit(FakeWorker* worker, const std::string& task, int64_t epoch, int32_t rank, int signal,
                   const std::string& last_words) {
  worker::v1::TaskEvent event;
  event.mutable_exited()->set_signal(signal);
  event.mutable_exited()->set_last_words(last_words);
  Report(worker, task, epoch, rank, std::move(event));
}

absl::StatusOr<v1::Import> Harness::StartImport(const std::string& name, const std::vector<std::string>& labels) {
  v1::CandidateList list;
  for (size_t i = 0; i < labels.size(); ++i) {
    v1::Candidate* candidate = list.add_candidates();
    const std::string bytes = absl::StrCat(name, " picture ", i);
    candidate->set_source(absl::StrCat(labels[i], "/", 1000 + i, ".jpg"));
    candidate->set_hash(blobs_->Put(bytes).value());
    candidate->set_size(static_cast<int64_t>(bytes.size()));
    candidate->set_label(labels[i]);
  }
  std::sort(list.mutable_candidates()->begin(), list.mutable_candidates()->end(),
            [](const v1::Candidate& a, const v1::Candidate& b) { return a.source() < b.source(); });
  v1::ImportDatasetRequest request;
  request.set_dataset(name);
  request.set_split("random:0.5:seed=42");
  request.set_candidates_hash(blobs_->Put(list.SerializeAsString()).value());
  return Call<v1::Import>([&](Done<v1::Import> done) {
    coordinator_->imports().Start(MakeRequestKey(admin_, "ImportDataset", request), request, std::move(done));
  });
}

void Harness::ReportIngest(FakeWorker* worker, const std::string& task, int64_t epoch, int64_t num_candidates) {
  worker::v1::TaskEvent event;
  for (int64_t i = 0; i < num_candidates; ++i) event.mutable_ingest()->add_verdicts();
  Report(worker, task, epoch, 0, std::move(event));
  Finish(worker, task, epoch, 0, worker::v1::TaskFinished::OUTCOME_COMPLETED);
  Exit(worker, task, epoch, 0);
}

v1::Import Harness::GetImport(const std::string& name) {
  auto import = Read<v1::Import>([&](const Tx& tx) { return coordinator_->imports().Get(tx, name); });
  EXPECT_TRUE(import.ok()) << import.status();
  return *std::move(import);
}

v1::DatasetVersion Harness::MakeDataset(FakeWorker* worker, const std::string& name, int per_class) {
  std::vector<std::string> labels(static_cast<size_t>(per_class), "black");
  labels.insert(labels.end(), static_cast<size_t>(per_class), "grizzly");
  const auto import = StartImport(name, labels);
  EXPECT_TRUE(import.ok()) << import.status();
  EXPECT_EQ(worker->desired().orders_size(), 1);
  const worker::v1::TaskAssignment order = worker->desired().orders(0).assignment();
  ReportIngest(worker, order.task_id(), order.epoch(), 2 * per_class);
  const v1::Import done = GetImport(import->name());
  EXPECT_EQ(done.state(), v1::Import::STATE_COMPLETED) << done.reason();
  return done.version();
}

absl::StatusOr<v1::Experiment> Harness::Create(const v1::CreateExperimentRequest& request,
                                               const std::string& request_id, const std::string& user) {
  return Call<v1::Experiment>([&](Done<v1::Experiment> done) {
    coordinator_->experiments().Create(RequestKey{Caller{user}, "test", request_id, ""}, request, std::move(done));
  });
}

absl::StatusOr<v1::Experiment> Harness::Submit(const std::string& dataset, int32_t slots, const std::string& extra,
                                               const std::string& request_id) {
  return Create(Recipe(dataset, absl::StrCat("slots_per_trial: ", slots), extra), request_id);
}

v1::CreateExperimentRequest Harness::Recipe(const std::string& dataset, const std::string& resources,
                                            const std::string& extra) {
  v1::CreateExperimentRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      absl::StrCat("name: 'bears' dataset: '", dataset, "' model { architecture: 'resnet18' } ",
                   "data { item_transforms { resize { size: 32 } } batch_size: 4 } train { fine_tune { epochs: 2 } } ",
                   "resources { ", resources, " } ", extra),
      request.mutable_spec()));
  return request;
}

v1::Experiment Harness::Get(const std::string& id) {
  auto experiment = Read<v1::Experiment>([&](const Tx& tx) { return coordinator_->experiments().Get(tx, id); });
  EXPECT_TRUE(experiment.ok()) << experiment.status();
  return *std::move(experiment);
}

void Harness::Train(FakeWorker* worker, const std::string& id, const std::string& weights) {
  const worker::v1::TaskOrder* order = worker->FindOrder(TaskOf(id));
  ASSERT_NE(order, nullptr);
  const worker::v1::TaskAssignment assignment = order->assignment();
  worker::v1::TaskEvent event;
  event.mutable_checkpoint()->set_step(30);
  event.mutable_checkpoint()->set_model_blob(blobs_->Put(weights).value());
  event.mutable_checkpoint()->set_optimizer_blob(blobs_->Put("optimizer").value());
  event.mutable_checkpoint()->set_last(true);
  Report(worker, assignment.task_id(), assignment.epoch(), 0, std::move(event));
  for (const int32_t rank : assignment.ranks()) {
    Finish(worker, assignment.task_id(), assignment.epoch(), rank, worker::v1::TaskFinished::OUTCOME_COMPLETED);
  }
  for (const int32_t rank : assignment.ranks()) Exit(worker, assignment.task_id(), assignment.epoch(), rank);
  EXPECT_EQ(Get(id).state(), v1::Experiment::STATE_COMPLETED);
}

}  // namespace ursa
