// Comparisons: the part of Evaluations that has two models.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/core/evaluations.h"
#include "coordinator/core/registry.h"
#include "experiments/comparison.h"
#include "experiments/gates_text.h"
#include "experiments/resource_names.h"

namespace ursa {
namespace {

absl::Status CheckComparable(const v1::ModelVersion& candidate, const v1::ModelVersion& baseline) {
  if (candidate.name() == baseline.name()) {
    return absl::InvalidArgumentError(absl::StrCat("comparison: candidate and baseline are both ", candidate.name()));
  }
  if (!std::equal(candidate.classes().begin(), candidate.classes().end(), baseline.classes().begin(),
                  baseline.classes().end())) {
    return absl::FailedPreconditionError(
        absl::StrCat("comparison: ", candidate.name(), " and ", baseline.name(), " have different classes"));
  }
  return absl::OkStatus();
}

}  // namespace

void Evaluations::CreateComparison(const RequestKey& key, const v1::CreateComparisonRequest& request,
                                   Done<v1::Comparison> done) {
  ReadStateThen<Plan>(
      env_,
      [&](const Tx& tx) {
        return MakePlan(tx, {request.candidate(), request.baseline()}, request.dataset(), request.split());
      },
      [this, key, request, done = std::move(done)](const absl::StatusOr<Plan>& plan) {
        const absl::StatusOr<SplitExamples> examples = [&]() -> absl::StatusOr<SplitExamples> {
          URSA_RETURN_IF_ERROR(plan.status());
          URSA_RETURN_IF_ERROR(CheckComparable(plan->models[0].version(), plan->models[1].version()));
          return ReadExamples(*plan);
        }();
        Mutate<v1::Comparison>(env_, key, done, [&](Tx& tx) -> absl::StatusOr<v1::Comparison> {
          URSA_RETURN_IF_ERROR(examples.status());
          const v1::ModelVersion& candidate = plan->models[0].version();
          const v1::ModelVersion& baseline = plan->models[1].version();
          records::ComparisonRecord record;
          if (request.has_gates()) {
            URSA_ASSIGN_OR_RETURN(*record.mutable_gates(), ResolveGates(request.gates()));
          } else {
            *record.mutable_gates() = tx.state().Find<records::ModelRecord>(candidate.model())->gates();
          }
          record.set_id(TakeNumber(tx, "comparison"));
          v1::Comparison* comparison = record.mutable_comparison();
          comparison->set_name(IdName("comparisons", 'c', record.id()));
          comparison->set_comparison_id(ComparisonId(record.id()).ToString());
          comparison->set_state(v1::Comparison::STATE_RUNNING);
          comparison->set_candidate(candidate.name());
          comparison->set_baseline(baseline.name());
          comparison->set_dataset(plan->dataset.version().name());
          comparison->set_split(plan->split);
          comparison->set_gates_hash(GatesHash(record.gates()));
          comparison->set_num_examples(static_cast<int64_t>(examples->ids.size()));
          comparison->set_example_set_hash(examples->set_hash);
          *comparison->mutable_create_time() = ToTimestamp(env_.clock->Now());
          const v1::Comparison answer = *comparison;
          ScheduleAdvance(tx, true, record.id());
          tx.Apply(std::move(Mutation()
                                 .Audit(AuditEvent(env_, key.caller, "comparison.create", answer.name(),
                                                   absl::StrCat(answer.candidate(), " with ", answer.baseline(), " on ",
                                                                answer.dataset())))
                                 .Put(std::move(record))));
          return answer;
        });
      });
}

absl::StatusOr<v1::Comparison> Evaluations::GetComparison(const Tx& tx, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(const int64_t id, ParseIdName("comparisons", 'c', name));
  const auto* record = tx.state().Find<records::ComparisonRecord>(id);
  if (record == nullptr) {
    return absl::NotFoundError(absl::StrCat("comparison ", ComparisonId(id).ToString(), ": not found"));
  }
  v1::Comparison comparison = record->comparison();
  if (comparison.state() == v1::Comparison::STATE_RUNNING) {
    const auto* task = tx.state().Find<records::AuxTaskRecord>(record->aux_task_id());
    comparison.set_num_predicted(record->num_known() + (task == nullptr ? 0 : task->num_done()));
  }
  return comparison;
}

void Evaluations::FailComparison(Tx& tx, int64_t id, const absl::Status& status) {
  URSA_LOG(INFO) << "comparison=c" << id << " RUNNING->ERROR reason=\"" << status << "\"";
  records::ComparisonRecord record = *tx.state().Find<records::ComparisonRecord>(id);
  record.set_aux_task_id(0);
  record.mutable_comparison()->set_state(v1::Comparison::STATE_ERROR);
  record.mutable_comparison()->set_reason(std::string(status.message()));
  tx.Put(std::move(record));
}

void Evaluations::AdvanceComparison(int64_t id) {
  records::ComparisonRecord record;
  absl::StatusOr<Plan> plan;
  {
    Tx tx(env_.commit);
    const auto* found = tx.state().Find<records::ComparisonRecord>(id);
    if (found == nullptr || found->comparison().state() != v1::Comparison::STATE_RUNNING || found->aux_task_id() != 0) {
      return;
    }
    record = *found;
    plan = MakePlan(tx, {record.comparison().candidate(), record.comparison().baseline()},
                    record.comparison().dataset(), record.comparison().split());
  }
  IdList missing_ids;                                       // of what the first model that lacks something lacks
  const records::ModelVersionRecord* incomplete = nullptr;  // that model
  int64_t num_known = 0;
  absl::StatusOr<v1::Comparison> computed = [&]() -> absl::StatusOr<v1::Comparison> {
    URSA_RETURN_IF_ERROR(plan.status());
    URSA_ASSIGN_OR_RETURN(const SplitExamples examples, ReadExamples(*plan));
    for (const records::ModelVersionRecord& model : plan->models) {
      URSA_ASSIGN_OR_RETURN(const std::vector<std::string> missing,
                            env_.ledger->FindMissing(SourceOf(model), examples.ids));
      num_known += static_cast<int64_t>(examples.ids.size() - missing.size());
      if (missing.empty() || incomplete != nullptr) continue;
      const auto& planned = record.planned_artifacts();
      if (std::find(planned.begin(), planned.end(), model.version().artifact_hash()) != planned.end()) {
        return absl::InternalError(absl::StrCat(missing.size(), " predictions of ", model.version().name(),
                                                " are missing after the task that should have made them"));
      }
      URSA_RETURN_IF_ERROR(StoreIds(
          missing, [this, id] { AdvanceComparison(id); }, &missing_ids));
      incomplete = &model;
    }
    if (incomplete != nullptr) return v1::Comparison();
    const auto view = env_.ledger->Snapshot();
    URSA_ASSIGN_OR_RETURN(const LabelledLogits candidate, JoinLedger(*env_.ledger, *view, plan->models[0], examples));
    URSA_ASSIGN_OR_RETURN(const LabelledLogits baseline, JoinLedger(*env_.ledger, *view, plan->models[1], examples));
    return ComputeComparison(candidate, baseline, record.gates());
  }();

  if (missing_ids.is_delayed) return;
  Tx tx(env_.commit);
  if (IsPutOff(tx, true, id, computed.status())) return;
  if (!computed.ok()) return FailComparison(tx, id, computed.status());
  record.set_num_known(num_known);
  if (incomplete != nullptr) {
    record.add_planned_artifacts(incomplete->version().artifact_hash());
    records::AuxTaskRecord task;
    task.set_comparison_id(id);
    record.set_aux_task_id(AddTask(tx, *incomplete, missing_ids.hash, std::move(task)));
  } else {
    // What the join says, under the names that were given at the start.
    v1::Comparison done = *std::move(computed);
    const v1::Comparison& asked = record.comparison();
    done.set_name(asked.name());
    done.set_comparison_id(asked.comparison_id());
    done.set_candidate(asked.candidate());
    done.set_baseline(asked.baseline());
    done.set_dataset(asked.dataset());
    done.set_split(asked.split());
    *done.mutable_create_time() = asked.create_time();
    done.set_state(v1::Comparison::STATE_COMPLETED);
    done.set_num_predicted(num_known);
    URSA_LOG(INFO) << "comparison=" << done.comparison_id()
                   << " RUNNING->COMPLETED verdict=" << v1::Verdict_Name(done.verdict());
    *record.mutable_comparison() = std::move(done);
  }
  tx.Put(std::move(record));
}

}  // namespace ursa
