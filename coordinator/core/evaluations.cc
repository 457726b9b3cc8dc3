#include "coordinator/core/evaluations.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/core/failpoints.h"
#include "coordinator/core/imports.h"
#include "coordinator/core/registry.h"
#include "experiments/resource_names.h"
#include "experiments/splitters.h"
#include "storage/blob_store.h"

namespace ursa {
namespace {

constexpr int kReportEntriesMax = 100'000;
constexpr absl::Duration kPutOffTime = absl::Seconds(5);

}  // namespace

worker::v1::ModelRef ToModelRef(const records::ModelVersionRecord& record) {
  worker::v1::ModelRef ref;
  ref.set_weights_hash(record.version().weights_hash());
  ref.set_architecture(record.version().architecture());
  *ref.mutable_classes() = record.version().classes();
  *ref.mutable_data() = record.data();
  return ref;
}

absl::StatusOr<Evaluations::Plan> Evaluations::MakePlan(const Tx& tx, const std::vector<std::string>& models,
                                                        const std::string& dataset, const std::string& split) {
  Plan plan;
  plan.split = split.empty() ? kValidSplit : split;
  if (!IsSplitName(plan.split)) {
    return absl::InvalidArgumentError(absl::StrCat("split \"", split, "\": is not known (train, valid, test)"));
  }
  for (const std::string& model : models) {
    URSA_ASSIGN_OR_RETURN(const records::ModelVersionRecord* record, Registry::FindVersion(tx, model));
    plan.models.push_back(*record);
  }
  URSA_ASSIGN_OR_RETURN(const records::DatasetVersionRecord* version, Imports::FindVersion(tx, dataset));
  plan.dataset = *version;
  return plan;
}

absl::StatusOr<SplitExamples> Evaluations::ReadExamples(const Plan& plan) const {
  URSA_ASSIGN_OR_RETURN(const v1::Manifest manifest, ReadManifest(env_, plan.dataset.manifest_blob()));
  return SelectSplit(manifest, plan.dataset.version().name(), plan.split, plan.models);
}

void Evaluations::CreateEvaluation(const RequestKey& key, const v1::CreateEvaluationRequest& request,
                                   Done<v1::Evaluation> done) {
  ReadStateThen<Plan>(
      env_, [&](const Tx& tx) { return MakePlan(tx, {request.model()}, request.dataset(), request.split()); },
      [this, key, done = std::move(done)](const absl::StatusOr<Plan>& plan) {
        const absl::StatusOr<SplitExamples> examples = plan.ok() ? ReadExamples(*plan) : plan.status();
        Mutate<v1::Evaluation>(env_, key, done, [&](Tx& tx) -> absl::StatusOr<v1::Evaluation> {
          URSA_RETURN_IF_ERROR(examples.status());
          records::EvaluationRecord record;
          record.set_id(TakeNumber(tx, "evaluation"));
          v1::Evaluation* evaluation = record.mutable_evaluation();
          evaluation->set_name(IdName("evaluations", 'v', record.id()));
          evaluation->set_state(v1::Evaluation::STATE_RUNNING);
          evaluation->set_model(plan->models[0].version().name());
          evaluation->set_dataset(plan->dataset.version().name());
          evaluation->set_split(plan->split);
          evaluation->set_num_examples(static_cast<int64_t>(examples->ids.size()));
          evaluation->set_example_set_hash(examples->set_hash);
          *evaluation->mutable_create_time() = ToTimestamp(env_.clock->Now());
          const v1::Evaluation answer = *evaluation;
          ScheduleAdvance(tx, false, record.id());
          tx.Apply(std::move(Mutation()
                                 .Audit(AuditEvent(env_, key.caller, "evaluation.create", answer.name(),
                                                   absl::StrCat(answer.model(), " on ", answer.dataset())))
                                 .Put(std::move(record))));
          return answer;
        });
      });
}

absl::StatusOr<v1::Evaluation> Evaluations::GetEvaluation(const Tx& tx, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(const int64_t id, ParseIdName("evaluations", 'v', name));
  const auto* record = tx.state().Find<records::EvaluationRecord>(id);
  if (record == nullptr) return absl::NotFoundError(absl::StrCat("evaluation v", id, ": not found"));
  v1::Evaluation evaluation = record->evaluation();
  if (record->planned() && evaluation.state() == v1::Evaluation::STATE_RUNNING) {
    const auto* task = tx.state().Find<records::AuxTaskRecord>(record->aux_task_id());
    const int64_t num_new = task == nullptr ? 0 : std::min(task->num_done(), evaluation.new_predictions());
    evaluation.set_num_predicted(evaluation.num_examples() - evaluation.new_predictions() + num_new);
  }
  return evaluation;
}

void Evaluations::ScheduleAdvance(Tx& tx, bool is_comparison, int64_t id) {
  tx.AfterDurable([this, is_comparison, id] {
    env_.executor->Run([this, is_comparison, id] { is_comparison ? AdvanceComparison(id) : AdvanceEvaluation(id); });
  });
}

bool Evaluations::IsPutOff(Tx& tx, bool is_comparison, int64_t id, const absl::Status& status) {
  // A limit of the work's own is RESOURCE_EXHAUSTED, too, and would be so again.
  const bool is_full = absl::IsResourceExhausted(status) && !CheckDiskSpace(env_.options).ok();
  if (!is_full && !absl::IsUnknown(status) && !absl::IsUnavailable(status)) return false;
  URSA_LOG(WARNING) << (is_comparison ? "comparison=c" : "evaluation=v") << id << " is tried again in "
                    << absl::FormatDuration(kPutOffTime) << ": " << status;
  if (put_off_.empty()) resume_at_ = env_.clock->Now() + kPutOffTime;
  put_off_.emplace_back(is_comparison, id);
  return true;
}

void Evaluations::Tick(Tx& tx) {
  if (put_off_.empty() || env_.clock->Now() < resume_at_) return;
  for (const auto& [is_comparison, id] : std::exchange(put_off_, {})) ScheduleAdvance(tx, is_comparison, id);
}

absl::Status Evaluations::StoreIds(const std::vector<std::string>& ids, std::function<void()> again,
                                   IdList* list) const {
  worker::v1::ExampleIds message;
  for (const std::string& id : ids) message.add_ids(id);
  const std::string bytes = message.SerializeAsString();
  list->hold = janitor_.TryHold({Sha256Hex(bytes)}, std::move(again));
  list->is_delayed = list->hold == nullptr;
  if (list->is_delayed) return absl::OkStatus();
  URSA_ASSIGN_OR_RETURN(list->hash, env_.blobs->Put(bytes));
  return absl::OkStatus();
}

int64_t Evaluations::AddTask(Tx& tx, const records::ModelVersionRecord& model, const std::string& examples_hash,
                             records::AuxTaskRecord task) {
  const auto& workers = tx.state().All<records::WorkerRecord>();
  const bool has_gpus = std::any_of(workers.begin(), workers.end(), [](const auto& worker) {
    return !worker.second.lost() && worker.second.kind() == "cuda";
  });
  task.mutable_assignment()->set_device(has_gpus && model.device() == "cuda" ? "cuda" : "cpu");
  worker::v1::EvaluateAssignment* evaluate = task.mutable_assignment()->mutable_evaluate();
  *evaluate->mutable_model() = ToModelRef(model);
  evaluate->set_examples_hash(examples_hash);
  evaluate->set_artifact_hash(model.version().artifact_hash());
  evaluate->set_transform_hash(model.version().transform_hash());
  return aux_tasks_.Add(tx, std::move(task));
}

void Evaluations::FailEvaluation(Tx& tx, int64_t id, const absl::Status& status) {
  URSA_LOG(INFO) << "evaluation=v" << id << " RUNNING->ERROR reason=\"" << status << "\"";
  records::EvaluationRecord record = *tx.state().Find<records::EvaluationRecord>(id);
  record.set_aux_task_id(0);
  record.mutable_evaluation()->set_state(v1::Evaluation::STATE_ERROR);
  record.mutable_evaluation()->set_reason(std::string(status.message()));
  tx.Put(std::move(record));
}

void Evaluations::AdvanceEvaluation(int64_t id) {
  records::EvaluationRecord record;
  absl::StatusOr<Plan> plan;
  {
    Tx tx(env_.commit);
    const auto* found = tx.state().Find<records::EvaluationRecord>(id);
    if (found == nullptr || found->evaluation().state() != v1::Evaluation::STATE_RUNNING || found->aux_task_id() != 0) {
      return;
    }
    record = *found;
    plan = MakePlan(tx, {record.evaluation().model()}, record.evaluation().dataset(), record.evaluation().split());
  }
  IdList missing_ids;
  int64_t num_missing = 0;
  absl::StatusOr<v1::Evaluation> computed = [&]() -> absl::StatusOr<v1::Evaluation> {
    URSA_RETURN_IF_ERROR(plan.status());
    URSA_ASSIGN_OR_RETURN(const SplitExamples examples, ReadExamples(*plan));
    const records::ModelVersionRecord& model = plan->models[0];
    URSA_ASSIGN_OR_RETURN(const std::vector<std::string> missing,
                          env_.ledger->FindMissing(SourceOf(model), examples.ids));
    if (!missing.empty()) {
      if (record.planned()) {
        return absl::InternalError(absl::StrCat(missing.size(), " of ", examples.ids.size(),
                                                " predictions are missing after the task that should have made them"));
      }
      num_missing = static_cast<int64_t>(missing.size());
      URSA_RETURN_IF_ERROR(StoreIds(
          missing, [this, id] { AdvanceEvaluation(id); }, &missing_ids));
      failpoints::evaluation_list_stored.Pass();
      return v1::Evaluation();
    }
    const auto view = env_.ledger->Snapshot();
    URSA_ASSIGN_OR_RETURN(const LabelledLogits logits, JoinLedger(*env_.ledger, *view, model, examples));
    return ComputeEvaluation(logits, {model.version().classes().begin(), model.version().classes().end()});
  }();
  if (computed.ok() && num_missing == 0) failpoints::evaluation_computed.Pass();

  if (missing_ids.is_delayed) return;
  Tx tx(env_.commit);
  if (IsPutOff(tx, false, id, computed.status())) return;
  if (!computed.ok()) return FailEvaluation(tx, id, computed.status());
  v1::Evaluation* evaluation = record.mutable_evaluation();
  if (num_missing > 0) {
    record.set_planned(true);
    evaluation->set_new_predictions(num_missing);
    records::AuxTaskRecord task;
    task.set_evaluation_id(id);
    record.set_aux_task_id(AddTask(tx, plan->models[0], missing_ids.hash, std::move(task)));
  } else {
    evaluation->set_state(v1::Evaluation::STATE_COMPLETED);
    evaluation->set_num_examples(computed->num_examples());
    evaluation->set_example_set_hash(computed->example_set_hash());
    evaluation->mutable_metrics()->swap(*computed->mutable_metrics());
    evaluation->mutable_confusion()->Swap(computed->mutable_confusion());
    evaluation->mutable_classes()->Swap(computed->mutable_classes());
    evaluation->set_num_predicted(evaluation->num_examples());
    URSA_LOG(INFO) << "evaluation=v" << id << " RUNNING->COMPLETED examples=" << evaluation->num_examples();
  }
  tx.Put(std::move(record));
}

void Evaluations::OnReport(Tx& tx, const records::AuxTaskRecord& task, const worker::v1::LedgerEntries& entries) {
  const worker::v1::EvaluateAssignment& asked = task.assignment().evaluate();
  if (entries.artifact_hash() != asked.artifact_hash() || entries.transform_hash() != asked.transform_hash() ||
      entries.entries_size() > kReportEntriesMax) {
    URSA_LOG(WARNING) << "task=" << AuxTaskName(task.id()) << " reports predictions that it was not asked for";
    return;
  }
  std::vector<Prediction> predictions;
  for (const auto& entry : entries.entries()) {
    if (!IsDigestHex(entry.example_id()) || entry.logits_size() != asked.model().classes_size()) {
      URSA_LOG(WARNING) << "task=" << AuxTaskName(task.id()) << " reports a prediction of a wrong form";
      return;
    }
    predictions.push_back({entry.example_id(), {entry.logits().begin(), entry.logits().end()}});
  }
  if (predictions.empty()) return;
  const PredictionSource source{asked.artifact_hash(), asked.transform_hash()};
  tx.AddBulkWrite([ledger = env_.ledger, source, predictions = std::move(predictions)] {
    return ledger->Put(source, predictions);
  });
}

void Evaluations::OnTaskEnd(Tx& tx, const records::AuxTaskRecord& task, const absl::Status& status) {
  if (task.evaluation_id() != 0) {
    const auto* found = tx.state().Find<records::EvaluationRecord>(task.evaluation_id());
    if (found == nullptr || found->evaluation().state() != v1::Evaluation::STATE_RUNNING) return;
    if (!status.ok()) return FailEvaluation(tx, task.evaluation_id(), status);
    records::EvaluationRecord record = *found;
    record.set_aux_task_id(0);
    tx.Put(std::move(record));
    return ScheduleAdvance(tx, false, task.evaluation_id());
  }
  const auto* found = tx.state().Find<records::ComparisonRecord>(task.comparison_id());
  if (found == nullptr || found->comparison().state() != v1::Comparison::STATE_RUNNING) return;
  if (!status.ok()) return FailComparison(tx, task.comparison_id(), status);
  records::ComparisonRecord record = *found;
  record.set_aux_task_id(0);
  tx.Put(std::move(record));
  ScheduleAdvance(tx, true, task.comparison_id());
}

void Evaluations::Restore(Tx& tx) {
  for (const auto& [id, record] : tx.state().All<records::EvaluationRecord>()) {
    if (record.evaluation().state() == v1::Evaluation::STATE_RUNNING && record.aux_task_id() == 0) {
      ScheduleAdvance(tx, false, id);
    }
  }
  for (const auto& [id, record] : tx.state().All<records::ComparisonRecord>()) {
    if (record.comparison().state() == v1::Comparison::STATE_RUNNING && record.aux_task_id() == 0) {
      ScheduleAdvance(tx, true, id);
    }
  }
}

}  // namespace ursa
