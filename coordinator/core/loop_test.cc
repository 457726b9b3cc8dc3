// From pictures to a promoted model: imports, evaluations, comparisons, the registry, predictions, the audit log.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "coordinator/core/coordinator_testing.h"

namespace ursa {
namespace {

using Outcome = worker::v1::TaskFinished;

class LoopTest : public ::testing::Test {
 protected:
  LoopTest() { harness_.Connect(&worker_); }

  // Trains on "bears" and registers the result as the next version of "bears".
  v1::ModelVersion MakeVersion(const std::string& weights) {
    const std::string id = harness_.Submit("bears")->experiment_id();
    harness_.Train(&worker_, id, weights);
    v1::RegisterModelVersionRequest request;
    request.set_model("bears");
    request.set_experiment("experiments/" + id);
    request.set_checkpoint("last");
    auto version = harness_.Change<v1::ModelVersion>(
        [&](Tx& tx, const Caller& c) { return harness_.coordinator().registry().Register(tx, c, request); });
    EXPECT_TRUE(version.ok()) << version.status();
    return *std::move(version);
  }

  // The order of the one evaluating task that should run.
  const worker::v1::TaskAssignment& EvaluateOrder() {
    EXPECT_EQ(worker_.desired().orders_size(), 1);
    return worker_.desired().orders(0).assignment();
  }

  // Does what an evaluating task does: the examples with an index below `num_right` are predicted right.
  void Predict(const worker::v1::TaskAssignment& order, int num_right) {
    worker::v1::ExampleIds ids;
    ASSERT_TRUE(ids.ParseFromString(harness_.blobs().Read(order.evaluate().examples_hash(), 1 << 20).value()));
    v1::ListExamplesRequest request;
    request.set_parent("datasets/bears/versions/1");
    const auto examples = harness_.Call<v1::ListExamplesResponse>(
        [&](Done<v1::ListExamplesResponse> done) { harness_.coordinator().imports().ListExamples(request, done); });
    worker::v1::TaskEvent event;
    worker::v1::LedgerEntries* entries = event.mutable_predictions();
    entries->set_artifact_hash(order.evaluate().artifact_hash());
    entries->set_transform_hash(order.evaluate().transform_hash());
    for (int i = 0; i < ids.ids_size(); ++i) {
      int label = -1;
      for (const v1::Example& example : examples->examples()) {
        if (example.id() == ids.ids(i)) label = example.label() == "black" ? 0 : 1;
      }
      ASSERT_GE(label, 0);
      const int predicted = i < num_right ? label : 1 - label;
      auto* entry = entries->add_entries();
      entry->set_example_id(ids.ids(i));
      entry->add_logits(predicted == 0 ? 2.f : -2.f);
      entry->add_logits(predicted == 1 ? 2.f : -2.f);
    }
    const worker::v1::TaskAssignment copy = order;
    harness_.Report(&worker_, copy.task_id(), copy.epoch(), 0, std::move(event));
    harness_.Finish(&worker_, copy.task_id(), copy.epoch(), 0, Outcome::OUTCOME_COMPLETED);
    harness_.Exit(&worker_, copy.task_id(), copy.epoch(), 0);
  }

  absl::StatusOr<v1::Evaluation> Evaluate(const std::string& model, const std::string& split = "") {
    v1::CreateEvaluationRequest request;
    request.set_model(model);
    request.set_dataset("datasets/bears/versions/latest");
    request.set_split(split);
    return harness_.Call<v1::Evaluation>([&](Done<v1::Evaluation> done) {
      harness_.coordinator().evaluations().CreateEvaluation(MakeRequestKey(harness_.admin(), "E", request), request,
                                                            done);
    });
  }
  v1::Evaluation GetEvaluation(const std::string& name) {
    return *harness_.Read<v1::Evaluation>(
        [&](const Tx& tx) { return harness_.coordinator().evaluations().GetEvaluation(tx, name); });
  }
  absl::StatusOr<v1::Comparison> Compare(const std::string& candidate, const std::string& baseline,
                                         const v1::Gates* gates = nullptr) {
    v1::CreateComparisonRequest request;
    request.set_candidate(candidate);
    request.set_baseline(baseline);
    request.set_dataset("datasets/bears/versions/latest");
    if (gates != nullptr) *request.mutable_gates() = *gates;
    return harness_.Call<v1::Comparison>([&](Done<v1::Comparison> done) {
      harness_.coordinator().evaluations().CreateComparison(MakeRequestKey(harness_.admin(), "C", request), request,
                                                            done);
    });
  }
  v1::Comparison GetComparison(const std::string& name) {
    return *harness_.Read<v1::Comparison>(
        [&](const Tx& tx) { return harness_.coordinator().evaluations().GetComparison(tx, name); });
  }
  absl::StatusOr<v1::PromoteModelVersionResponse> Promote(const v1::PromoteModelVersionRequest& request) {
    return harness_.Change<v1::PromoteModelVersionResponse>(
        [&](Tx& tx, const Caller& c) { return harness_.coordinator().registry().Promote(tx, c, request); });
  }
  absl::StatusOr<v1::PromoteModelVersionResponse> Promote(int64_t version, const std::string& comparison = "") {
    v1::PromoteModelVersionRequest request;
    request.set_name(absl::StrCat("models/bears/versions/", version));
    request.set_comparison(comparison);
    return Promote(request);
  }
  absl::StatusOr<v1::PromoteModelVersionResponse> Rollback() {
    v1::RollbackModelRequest request;
    request.set_name("models/bears");
    return harness_.Change<v1::PromoteModelVersionResponse>(
        [&](Tx& tx, const Caller& c) { return harness_.coordinator().registry().Rollback(tx, c, request); });
  }
  v1::VerifyAuditResponse VerifyAudit() {
    return *harness_.Call<v1::VerifyAuditResponse>(
        [&](Done<v1::VerifyAuditResponse> done) { harness_.coordinator().VerifyAudit(done); });
  }

  Harness harness_;
  FakeWorker worker_;
};

TEST_F(LoopTest, AnEndedTaskThatItsWorkerDoesNotHaveFreesItsPlace) {
  ASSERT_TRUE(harness_.StartImport("bears", {"black", "grizzly"}).ok());
  harness_.ReportIngest(&worker_, "a1", 1, 2);
  ASSERT_TRUE(harness_.StartImport("more", {"black", "grizzly"}).ok());
  worker::v1::TaskEvent event;
  for (int i = 0; i < 2; ++i) event.mutable_ingest()->add_verdicts();
  harness_.Report(&worker_, "a2", 1, 0, std::move(event));
  harness_.Finish(&worker_, "a2", 1, 0, Outcome::OUTCOME_COMPLETED);
  ASSERT_TRUE(harness_.StartImport("most", {"black", "grizzly"}).ok());
  harness_.Beat(&worker_, "a2", 1);
  harness_.Advance(absl::Seconds(4), {&worker_});
  EXPECT_EQ(worker_.FindOrder("a3"), nullptr);  // one at a time
  harness_.Advance(absl::Seconds(2), {&worker_});
  EXPECT_NE(worker_.FindOrder("a3"), nullptr);
}

TEST_F(LoopTest, EqualContentIsTheSameVersion) {
  const v1::DatasetVersion first = harness_.MakeDataset(&worker_, "bears");
  EXPECT_EQ(first.name(), "datasets/bears/versions/1");
  EXPECT_EQ(first.num_train() + first.num_valid(), 40);
  EXPECT_EQ(first.creator(), "admin");
  const v1::DatasetVersion again = harness_.MakeDataset(&worker_, "bears");
  EXPECT_EQ(again.name(), first.name());
  EXPECT_EQ(harness_.MakeDataset(&worker_, "bears", 21).name(), "datasets/bears/versions/2");
}

TEST_F(LoopTest, RefusedFilesAreToldWithTheirReasons) {
  std::vector<std::string> labels(10, "black");
  labels.insert(labels.end(), 10, "grizzly");
  const auto import = harness_.StartImport("bears", labels);
  ASSERT_TRUE(import.ok()) << import.status();
  const auto order = worker_.desired().orders(0).assignment();
  worker::v1::TaskEvent event;
  for (int i = 0; i < 20; ++i) event.mutable_ingest()->add_verdicts();
  event.mutable_ingest()->mutable_verdicts(3)->set_refused("truncated after 12 bytes");
  harness_.Report(&worker_, order.task_id(), 1, 0, std::move(event));
  EXPECT_EQ(harness_.GetImport(import->name()).num_checked(), 20);
  harness_.Finish(&worker_, order.task_id(), 1, 0, Outcome::OUTCOME_COMPLETED);
  const v1::Import done = harness_.GetImport(import->name());
  ASSERT_EQ(done.state(), v1::Import::STATE_COMPLETED) << done.reason();
  ASSERT_EQ(done.version().refused_size(), 1);
  EXPECT_EQ(done.version().refused(0).reason(), "truncated after 12 bytes");
  EXPECT_EQ(done.version().num_examples(), 19);
}

TEST_F(LoopTest, AnIngestThatDiesIsTriedThreeTimes) {
  const auto import = harness_.StartImport("bears", {"black", "grizzly"});
  ASSERT_TRUE(import.ok());
  for (int64_t epoch = 1; epoch <= 3; ++epoch) {
    ASSERT_EQ(worker_.desired().orders_size(), 1);
    EXPECT_EQ(worker_.desired().orders(0).assignment().epoch(), epoch);
    harness_.Exit(&worker_, "a1", epoch, 0, 11, "decoder crashed");
  }
  EXPECT_EQ(worker_.desired().orders_size(), 0);
  const v1::Import done = harness_.GetImport(import->name());
  EXPECT_EQ(done.state(), v1::Import::STATE_ERROR);
  EXPECT_NE(done.reason().find("decoder crashed"), std::string::npos) << done.reason();
}

TEST_F(LoopTest, AnImportOutlivesTheCoordinator) {
  std::vector<std::string> labels(10, "black");
  labels.insert(labels.end(), 10, "grizzly");
  const auto import = harness_.StartImport("bears", labels);
  worker::v1::TaskEvent event;
  for (int i = 0; i < 12; ++i) event.mutable_ingest()->add_verdicts();
  harness_.Report(&worker_, "a1", 1, 0, std::move(event));
  harness_.Restart();
  harness_.Connect(&worker_);
  ASSERT_EQ(worker_.desired().orders_size(), 1);
  EXPECT_EQ(worker_.desired().orders(0).assignment().epoch(), 1);
  worker::v1::TaskEvent rest;
  rest.mutable_ingest()->set_first(12);
  for (int i = 0; i < 8; ++i) rest.mutable_ingest()->add_verdicts();
  harness_.Report(&worker_, "a1", 1, 0, std::move(rest));
  harness_.Finish(&worker_, "a1", 1, 0, Outcome::OUTCOME_COMPLETED);
  EXPECT_EQ(harness_.GetImport(import->name()).state(), v1::Import::STATE_COMPLETED);
}

TEST_F(LoopTest, AnImportWithoutWorkerOrBytesIsRefused) {
  v1::ImportDatasetRequest request;
  request.set_dataset("bears");
  request.set_split("random:0.2:seed=42");
  request.set_candidates_hash(Sha256Hex("not uploaded"));
  const auto start = [&] {
    return harness_
        .Call<v1::Import>([&](Done<v1::Import> done) {
          harness_.coordinator().imports().Start(MakeRequestKey(harness_.admin(), "I", request), request, done);
        })
        .status();
  };
  EXPECT_EQ(start().code(), absl::StatusCode::kNotFound);
  request.set_split("by-colour");
  EXPECT_EQ(start().code(), absl::StatusCode::kInvalidArgument);
  harness_.Disconnect(&worker_);
  EXPECT_EQ(harness_.StartImport("bears", {"black", "grizzly"}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LoopTest, AnEvaluationPredictsWhatTheLedgerLacksOnce) {
  const int64_t num_valid = harness_.MakeDataset(&worker_, "bears").num_valid();
  MakeVersion("w1");
  const auto evaluation = Evaluate("models/bears/versions/1");
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  EXPECT_EQ(evaluation->num_examples(), num_valid);
  Predict(EvaluateOrder(), 15);
  v1::Evaluation done = GetEvaluation(evaluation->name());
  ASSERT_EQ(done.state(), v1::Evaluation::STATE_COMPLETED) << done.reason();
  EXPECT_EQ(done.new_predictions(), num_valid);
  EXPECT_DOUBLE_EQ(done.metrics().at("accuracy").value(), 15.0 / static_cast<double>(num_valid));
  EXPECT_EQ(done.example_set_hash(), evaluation->example_set_hash());

  done = GetEvaluation(Evaluate("models/bears/versions/1")->name());
  EXPECT_EQ(done.state(), v1::Evaluation::STATE_COMPLETED);
  EXPECT_EQ(done.new_predictions(), 0);
  EXPECT_EQ(Evaluate("models/bears/versions/1", "test").status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Evaluate("models/bears/versions/1", "holdout").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Evaluate("models/bears/aliases/champion").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(LoopTest, AnEvaluationThatLostItsTaskStartsAnotherForTheRest) {
  harness_.MakeDataset(&worker_, "bears");
  MakeVersion("w1");
  const std::string name = Evaluate("models/bears/versions/1")->name();
  const auto order = EvaluateOrder();
  harness_.Exit(&worker_, order.task_id(), 1, 0, 9);
  ASSERT_EQ(EvaluateOrder().epoch(), 2);
  harness_.Restart();
  harness_.Connect(&worker_);
  Predict(EvaluateOrder(), 20);
  EXPECT_EQ(GetEvaluation(name).state(), v1::Evaluation::STATE_COMPLETED);
}

TEST_F(LoopTest, AnEvaluationThatTheDiskStoppedIsTakenUpAgain) {
  harness_.MakeDataset(&worker_, "bears");
  MakeVersion("w1");
  harness_.store().FailNthWrite(2, absl::UnknownError("disk: input/output error"));  // of the list for its task
  const std::string name = Evaluate("models/bears/versions/1")->name();
  EXPECT_EQ(GetEvaluation(name).state(), v1::Evaluation::STATE_RUNNING);
  harness_.Advance(absl::Seconds(6), {&worker_});
  Predict(EvaluateOrder(), 20);
  EXPECT_EQ(GetEvaluation(name).state(), v1::Evaluation::STATE_COMPLETED);
}

TEST_F(LoopTest, AnEvaluationThatMeetsALimitEndsWithItsReason) {
  harness_.MakeDataset(&worker_, "bears");
  MakeVersion("w1");
  harness_.store().FailNthWrite(2, absl::ResourceExhaustedError("blob: limit is 1 MiB"));
  const v1::Evaluation evaluation = GetEvaluation(Evaluate("models/bears/versions/1")->name());
  EXPECT_EQ(evaluation.state(), v1::Evaluation::STATE_ERROR);
  EXPECT_NE(evaluation.reason().find("limit is 1 MiB"), std::string::npos) << evaluation.reason();
}

TEST_F(LoopTest, PromotionNeedsEvidence) {
  harness_.MakeDataset(&worker_, "bears", 200);
  MakeVersion("w1");
  // The first champion needs a complete evaluation.
  EXPECT_EQ(Promote(1).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Evaluate("models/bears/versions/1").ok());
  EXPECT_EQ(Promote(1).status().code(), absl::StatusCode::kFailedPrecondition);  // it is not complete
  Predict(EvaluateOrder(), 150);
  ASSERT_TRUE(Promote(1).ok());
  EXPECT_EQ(Promote(1).status().code(), absl::StatusCode::kFailedPrecondition);  // it is already

  // A better challenger needs a comparison that passes under the model's gates.
  MakeVersion("w2");
  const auto without = Promote(2);
  EXPECT_EQ(without.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(without.status().message().find("comparison"), std::string::npos) << without.status();
  v1::Gates lax;
  lax.add_gates()->set_metric("accuracy");
  lax.mutable_gates(0)->set_non_inferiority_margin(0.5);
  const std::string informal = Compare("models/bears/versions/2", "models/bears/aliases/champion", &lax)->name();
  Predict(EvaluateOrder(), 190);
  EXPECT_EQ(GetComparison(informal).verdict(), v1::VERDICT_PASS);
  const auto other_gates = Promote(2, informal);
  EXPECT_NE(other_gates.status().message().find("other gates"), std::string::npos) << other_gates.status();
  const std::string formal = Compare("models/bears/versions/2", "models/bears/aliases/champion")->name();
  const v1::Comparison judged = GetComparison(formal);
  ASSERT_EQ(judged.state(), v1::Comparison::STATE_COMPLETED) << judged.reason();
  EXPECT_EQ(judged.verdict(), v1::VERDICT_PASS);
  EXPECT_EQ(judged.candidate_only_right(), 40);
  const auto promoted = Promote(2);
  ASSERT_TRUE(promoted.ok()) << promoted.status();
  EXPECT_EQ(promoted->champion(), 2);
  EXPECT_EQ(promoted->previous(), 1);
  EXPECT_EQ(promoted->comparison_id(), judged.comparison_id());

  // A worse one fails, and the old comparison proves nothing about the new champion.
  MakeVersion("w3");
  ASSERT_TRUE(Compare("models/bears/versions/3", "models/bears/versions/2").ok());
  Predict(EvaluateOrder(), 20);
  const auto worse = Promote(3);
  EXPECT_EQ(worse.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(worse.status().message().find("fail"), std::string::npos) << worse.status();
  EXPECT_NE(Promote(3, formal).status().message().find("of the candidate"), std::string::npos);

  // By force, with a reason; not over a champion that has changed.
  v1::PromoteModelVersionRequest force;
  force.set_name("models/bears/versions/3");
  force.set_force(true);
  EXPECT_EQ(Promote(force).status().code(), absl::StatusCode::kInvalidArgument);
  force.set_why("a test");
  force.set_expect_champion(1);
  EXPECT_EQ(Promote(force).status().code(), absl::StatusCode::kAborted);
  force.set_expect_champion(2);
  ASSERT_TRUE(Promote(force).ok());

  EXPECT_EQ(Rollback()->champion(), 2);
  EXPECT_EQ(Rollback()->champion(), 1);
  EXPECT_EQ(Rollback().status().code(), absl::StatusCode::kFailedPrecondition);
  v1::ListModelEventsRequest request;
  request.set_parent("models/bears");
  const auto events = harness_.Read<v1::ListModelEventsResponse>(
      [&](const Tx& tx) { return harness_.coordinator().registry().ListEvents(tx, request); });
  std::vector<int64_t> moves;
  for (const v1::ModelEvent& event : events->events()) {
    EXPECT_EQ(event.actor(), "admin");
    if (event.to_version() != 0) moves.push_back(event.to_version());
  }
  EXPECT_EQ(moves, (std::vector<int64_t>{1, 2, 3, 2, 1}));
}

TEST_F(LoopTest, NewGatesMakeOldComparisonsWorthless) {
  harness_.MakeDataset(&worker_, "bears", 200);
  MakeVersion("w1");
  ASSERT_TRUE(Evaluate("models/bears/versions/1").ok());
  Predict(EvaluateOrder(), 150);
  ASSERT_TRUE(Promote(1).ok());
  MakeVersion("w2");
  ASSERT_TRUE(Compare("models/bears/versions/2", "models/bears/versions/1").ok());
  Predict(EvaluateOrder(), 190);
  v1::SetModelGatesRequest request;
  request.set_name("models/bears");
  request.mutable_gates()->add_gates()->set_metric("accuracy");
  request.mutable_gates()->mutable_gates(0)->set_non_inferiority_margin(0.0);
  ASSERT_TRUE(harness_
                  .Change<v1::ModelGates>([&](Tx& tx, const Caller& c) {
                    return harness_.coordinator().registry().SetGates(tx, c, request);
                  })
                  .ok());
  EXPECT_EQ(Promote(2).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Compare("models/bears/versions/2", "models/bears/versions/1").ok());
  EXPECT_TRUE(Promote(2).ok());
}

TEST_F(LoopTest, AComparisonWithItselfIsRefused) {
  harness_.MakeDataset(&worker_, "bears");
  MakeVersion("w1");
  EXPECT_EQ(Compare("models/bears/versions/1", "models/bears/versions/1").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(LoopTest, PredictionsGoToAWarmProcess) {
  harness_.MakeDataset(&worker_, "bears");
  MakeVersion("w1");
  v1::PredictRequest request;
  request.set_model("models/bears/versions/1");
  request.add_pictures()->set_file("a.jpg");
  std::vector<absl::StatusOr<v1::PredictResponse>> answers;
  const auto predict = [&] {
    harness_.coordinator().predictions().Predict(
        request, [&](absl::StatusOr<v1::PredictResponse> answer) { answers.push_back(std::move(answer)); });
    harness_.Pump();
  };
  predict();
  EXPECT_TRUE(worker_.predicts().empty());  // until the process lives
  ASSERT_EQ(worker_.desired().orders_size(), 1);
  harness_.Beat(&worker_, worker_.desired().orders(0).assignment().task_id(), 1);
  ASSERT_EQ(worker_.predicts().size(), 1u);
  const worker::v1::PredictCall call = worker_.predicts()[0];
  ASSERT_NE(worker_.FindOrder(call.task_id()), nullptr);
  EXPECT_TRUE(worker_.FindOrder(call.task_id())->assignment().has_predict());
  const auto answer = [&](int64_t call_id) {
    worker::v1::TaskEvent event;
    event.mutable_predict()->set_call_id(call_id);
    event.mutable_predict()->add_answers()->add_probabilities(0.25f);
    event.mutable_predict()->mutable_answers(0)->add_probabilities(0.75f);
    harness_.Report(&worker_, call.task_id(), call.epoch(), 0, std::move(event));
  };
  answer(call.input().call_id());
  ASSERT_EQ(answers.size(), 1u);
  ASSERT_TRUE(answers[0].ok()) << answers[0].status();
  EXPECT_EQ(answers[0]->predictions(0).label(), "grizzly");
  EXPECT_EQ(answers[0]->predictions(0).model_version(), 1);
  EXPECT_EQ(answers[0]->predictions(0).request_id()[0], 'r');

  predict();  // the same process
  EXPECT_EQ(worker_.predicts()[1].task_id(), call.task_id());
  answer(worker_.predicts()[1].input().call_id());
  EXPECT_EQ(answers.size(), 2u);
  // A call without answer ends after its time; a process without calls after a while.
  predict();
  harness_.Advance(absl::Seconds(61), {&worker_});
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[2].status().code(), absl::StatusCode::kDeadlineExceeded);
  harness_.Advance(absl::Seconds(61), {&worker_});
  EXPECT_EQ(worker_.FindOrder(call.task_id()), nullptr);
}

TEST_F(LoopTest, APredictionWhoseProcessDiesIsToldSo) {
  harness_.MakeDataset(&worker_, "bears");
  MakeVersion("w1");
  v1::PredictRequest request;
  request.set_model("models/bears/versions/1");
  request.add_pictures()->set_file("a.jpg");
  absl::Status told;
  harness_.coordinator().predictions().Predict(
      request, [&](const absl::StatusOr<v1::PredictResponse>& answer) { told = answer.status(); });
  harness_.Pump();
  harness_.Exit(&worker_, worker_.desired().orders(0).assignment().task_id(), 1, 0, 11, "boom");
  EXPECT_EQ(told.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(told.message().find("boom"), std::string::npos) << told;
}

TEST_F(LoopTest, TheAuditLogVerifiesAndTamperingShows) {
  harness_.MakeDataset(&worker_, "bears");
  MakeVersion("w1");
  harness_.Restart();
  const v1::VerifyAuditResponse whole = VerifyAudit();
  EXPECT_TRUE(whole.ok()) << whole.reason();
  EXPECT_GE(whole.events(), 4);
  // Someone rewrites an event in the store, or cuts off the end.
  RecordStore records(&harness_.store());
  const auto row = records.ReadEvents(2, 1);
  records::AuditEventRecord event;
  ASSERT_TRUE(event.ParseFromString((*row)[0].bytes));
  records::AuditPayload payload;
  ASSERT_TRUE(payload.ParseFromString(event.payload()));
  payload.set_actor("somebody else");
  event.set_payload(payload.SerializeAsString());
  RecordBatch batch;
  batch.AddEvent(2, event);
  ASSERT_TRUE(records.Commit(batch).ok());
  const v1::VerifyAuditResponse forged = VerifyAudit();
  EXPECT_FALSE(forged.ok());
  EXPECT_NE(forged.reason().find("event 2"), std::string::npos) << forged.reason();
}

TEST_F(LoopTest, AFullDiskIsToldBeforeAnythingIsAccepted) {
  harness_.MakeDataset(&worker_, "bears");
  harness_.options().free_disk_bytes = [] { return int64_t{1} << 20; };
  harness_.Restart();
  harness_.Connect(&worker_);
  EXPECT_EQ(harness_.Submit("bears").status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(LoopTest, TokensAreHashedAndTheirPermissionsHold) {
  harness_.coordinator().access().SetToken("admin", "secret", {v1::PERMISSION_READ});
  harness_.Pump();
  const auto identity = harness_.coordinator().access().Authenticate("secret");
  ASSERT_TRUE(identity.ok());
  EXPECT_EQ(identity->actor, "admin");
  EXPECT_EQ(harness_.coordinator().access().Authenticate("Secret").status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(Authorize(*identity, "/ursa.v1.ClusterService/GetStatus").ok());
  EXPECT_EQ(Authorize(*identity, "/ursa.v1.ExperimentService/CreateExperiment").code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Authorize(*identity, "/ursa.v1.ExperimentService/NoSuchCall").code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Authorize(*identity, "nonsense").code(), absl::StatusCode::kUnimplemented);
  const Identity worker{"worker", {v1::PERMISSION_WORKER}};
  EXPECT_TRUE(Authorize(worker, "/ursa.v1.BlobService/UploadBlobs").ok());
  EXPECT_FALSE(Authorize(worker, "/ursa.v1.ExperimentService/CreateExperiment").ok());
  harness_.coordinator().access().SetToken("admin", "new", {v1::PERMISSION_READ});
  EXPECT_FALSE(harness_.coordinator().access().Authenticate("secret").ok());
}

}  // namespace
}  // namespace ursa
