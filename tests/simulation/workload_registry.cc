// What becomes of a complete job's model: the part of Workload that makes and judges versions.
#include "tests/simulation/workload.h"
#include "ursa/v1/comparisons.pb.h"
#include "ursa/v1/evaluations.pb.h"
#include "ursa/v1/registry.pb.h"

namespace ursa::sim {
namespace {

constexpr char kModel[] = "classifier";
constexpr char kDatasetVersion[] = "datasets/pictures/versions/1";
constexpr char kChampion[] = "models/classifier/aliases/champion";
constexpr absl::Duration kPoll = absl::Seconds(1);

}  // namespace

void Workload::Register(const std::string& experiment) {
  v1::RegisterModelVersionRequest request;
  request.set_model(kModel);
  request.set_experiment(experiment);
  Change<v1::RegisterModelVersionRequest, v1::ModelVersion>(
      "RegistryService/RegisterModelVersion", std::move(request),
      [](Coordinator& coordinator, Tx& tx, const Caller& caller, const v1::RegisterModelVersionRequest& asked) {
        return coordinator.registry().Register(tx, caller, asked);
      },
      [this, experiment](const absl::StatusOr<v1::ModelVersion>& version) {
        if (version.ok()) return Evaluate(version->name());
        cluster_.invariants->Fail(absl::StrCat(experiment, ": ", version.status().ToString()));
      });
}

void Workload::Evaluate(const std::string& version) {
  v1::CreateEvaluationRequest request;
  request.set_model(version);
  request.set_dataset(kDatasetVersion);
  Ask<v1::CreateEvaluationRequest, v1::Evaluation>(
      "EvaluationService/CreateEvaluation", std::move(request),
      [](Coordinator& coordinator, const RequestKey& key, const v1::CreateEvaluationRequest& asked,
         Done<v1::Evaluation> done) { coordinator.evaluations().CreateEvaluation(key, asked, std::move(done)); },
      [this, version](const absl::StatusOr<v1::Evaluation>& evaluation) {
        if (evaluation.ok()) return WaitForEvaluation(evaluation->name(), version);
        cluster_.invariants->Fail(absl::StrCat(version, ": cannot be evaluated, ", evaluation.status().ToString()));
      });
}

void Workload::WaitForEvaluation(const std::string& name, const std::string& version) {
  Read<v1::Evaluation>(
      [name](Coordinator& coordinator, const Tx& tx) { return coordinator.evaluations().GetEvaluation(tx, name); },
      [this, name, version](const absl::StatusOr<v1::Evaluation>& evaluation) {
        if (!evaluation.ok()) {
          return cluster_.invariants->Fail(absl::StrCat(name, ": ", evaluation.status().ToString()));
        }
        if (evaluation->state() == v1::Evaluation::STATE_ERROR) return CheckFailedWork(name, evaluation->reason());
        if (evaluation->state() == v1::Evaluation::STATE_COMPLETED) return Promote(version, true);
        world_.In(kPoll, [this, name, version] { WaitForEvaluation(name, version); });
      });
}

void Workload::CheckFailedWork(const std::string& name, const std::string& reason) {
  if (reason.find(" died") == std::string::npos) cluster_.invariants->Fail(absl::StrCat(name, ": ", reason));
  Close();
}

void Workload::Promote(const std::string& version, bool may_compare) {
  v1::PromoteModelVersionRequest request;
  request.set_name(version);
  Change<v1::PromoteModelVersionRequest, v1::PromoteModelVersionResponse>(
      "RegistryService/PromoteModelVersion", std::move(request),
      [](Coordinator& coordinator, Tx& tx, const Caller& caller, const v1::PromoteModelVersionRequest& asked) {
        return coordinator.registry().Promote(tx, caller, asked);
      },
      [this, version, may_compare](const absl::StatusOr<v1::PromoteModelVersionResponse>& promoted) {
        // There is a champion: it wants a comparison.
        if (absl::IsFailedPrecondition(promoted.status()) && may_compare) return Compare(version);
        Close();
      });
}

void Workload::Compare(const std::string& version) {
  v1::CreateComparisonRequest request;
  request.set_candidate(version);
  request.set_baseline(kChampion);
  request.set_dataset(kDatasetVersion);
  Ask<v1::CreateComparisonRequest, v1::Comparison>(
      "ComparisonService/CreateComparison", std::move(request),
      [](Coordinator& coordinator, const RequestKey& key, const v1::CreateComparisonRequest& asked,
         Done<v1::Comparison> done) { coordinator.evaluations().CreateComparison(key, asked, std::move(done)); },
      [this, version](const absl::StatusOr<v1::Comparison>& comparison) {
        if (comparison.ok()) return WaitForComparison(comparison->name(), version);
        Close();  // it has become the champion itself
      });
}

void Workload::WaitForComparison(const std::string& name, const std::string& version) {
  Read<v1::Comparison>(
      [name](Coordinator& coordinator, const Tx& tx) { return coordinator.evaluations().GetComparison(tx, name); },
      [this, name, version](const absl::StatusOr<v1::Comparison>& comparison) {
        if (!comparison.ok()) {
          return cluster_.invariants->Fail(absl::StrCat(name, ": ", comparison.status().ToString()));
        }
        if (comparison->state() == v1::Comparison::STATE_ERROR) return CheckFailedWork(name, comparison->reason());
        if (comparison->state() == v1::Comparison::STATE_COMPLETED) return Promote(version, false);
        world_.In(kPoll, [this, name, version] { WaitForComparison(name, version); });
      });
}

}  // namespace ursa::sim
