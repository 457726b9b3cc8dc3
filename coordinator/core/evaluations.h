// Evaluations and comparisons: joins over the prediction ledger, after a task has predicted what is missing.
#ifndef URSA_COORDINATOR_CORE_EVALUATIONS_H_
#define URSA_COORDINATOR_CORE_EVALUATIONS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/core/aux_tasks.h"
#include "coordinator/core/blob_janitor.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/ledger_join.h"
#include "coordinator/core/requests.h"
#include "ursa/v1/comparisons.pb.h"
#include "ursa/v1/evaluations.pb.h"

namespace ursa {

// Both go the same way, an evaluation with one model, a comparison with two:
//
//   RUNNING --1--> RUNNING (task) --2--> RUNNING --3--> COMPLETED
//              ^---------------------------'   `---4--> ERROR
//   1 the ledger lacks predictions of a model: an auxiliary task makes them   2 it has made them
//   3 nothing is missing: the join is computed over one snapshot, off the lock   4 the task or the join failed
// Where the disk fails them they are tried again after a while.
//
// Advance() does the next step whatever has happened before, so a restart just calls it again. Ledger, manifest and
// arithmetic belong to the executor; methods with a transaction are guarded by the coordinator's lock.
class Evaluations {
 public:
  Evaluations(const Environment* env, AuxTasks* aux_tasks, BlobJanitor* janitor)
      : env_(*env), aux_tasks_(*aux_tasks), janitor_(*janitor) {}

  void CreateEvaluation(const RequestKey& key, const v1::CreateEvaluationRequest& request, Done<v1::Evaluation> done);
  absl::StatusOr<v1::Evaluation> GetEvaluation(const Tx& tx, const std::string& name) const;
  void CreateComparison(const RequestKey& key, const v1::CreateComparisonRequest& request, Done<v1::Comparison> done);
  absl::StatusOr<v1::Comparison> GetComparison(const Tx& tx, const std::string& name) const;

  // What the evaluating task says.
  void OnReport(Tx& tx, const records::AuxTaskRecord& task, const worker::v1::LedgerEntries& entries);
  void OnTaskEnd(Tx& tx, const records::AuxTaskRecord& task, const absl::Status& status);

  // Takes up those that had no task when the last coordinator ended.
  void Restore(Tx& tx);
  // Takes up those that the disk stopped.
  void Tick(Tx& tx);

 private:
  struct Plan {
    std::vector<records::ModelVersionRecord> models;
    records::DatasetVersionRecord dataset;
    std::string split;
  };

  static absl::StatusOr<Plan> MakePlan(const Tx& tx, const std::vector<std::string>& models, const std::string& dataset,
                                       const std::string& split);
  absl::StatusOr<SplitExamples> ReadExamples(const Plan& plan) const;

  void ScheduleAdvance(Tx& tx, bool is_comparison, int64_t id);
  void AdvanceEvaluation(int64_t id);
  void AdvanceComparison(int64_t id);
  // If the disk is the cause, which says nothing of the work, it is taken up again later; otherwise false.
  bool IsPutOff(Tx& tx, bool is_comparison, int64_t id, const absl::Status& status);
  // A list of examples that a task is to predict, as a blob; kept until a task refers to it.
  struct IdList {
    std::string hash;
    std::unique_ptr<BlobJanitor::Hold> hold;
    bool is_delayed = false;  // an equal list is being deleted just now: all is to be done again afterwards
  };
  // `again` is called when what delays it is over.
  absl::Status StoreIds(const std::vector<std::string>& ids, std::function<void()> again, IdList* list) const;
  // Adds the task that predicts them; returns its number.
  int64_t AddTask(Tx& tx, const records::ModelVersionRecord& model, const std::string& examples_hash,
                  records::AuxTaskRecord task);
  void FailEvaluation(Tx& tx, int64_t id, const absl::Status& status);
  void FailComparison(Tx& tx, int64_t id, const absl::Status& status);

  const Environment& env_;
  AuxTasks& aux_tasks_;
  BlobJanitor& janitor_;
  std::vector<std::pair<bool, int64_t>> put_off_;  // (is a comparison, id)
  absl::Time resume_at_;                           // those that are put off, if any
};

// A model version as tasks need it.
worker::v1::ModelRef ToModelRef(const records::ModelVersionRecord& record);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_EVALUATIONS_H_
