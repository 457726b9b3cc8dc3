// Experiments as their users see them: submit, look, cancel, pause, resume, change; metric points.
#ifndef URSA_COORDINATOR_CORE_EXPERIMENTS_H_
#define URSA_COORDINATOR_CORE_EXPERIMENTS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/hang_doctor.h"
#include "coordinator/core/requests.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/core/submission.h"
#include "coordinator/core/trials.h"
#include "ursa/v1/experiments.pb.h"

namespace ursa {

// Decisions about experiments that come from their users; what their tasks do is Gangs' part. Methods with a
// transaction are guarded by the coordinator's lock; the others read the store and belong on the executor.
class Experiments {
 public:
  Experiments(const Environment* env, Scheduler* scheduler, const HangDoctor* doctor, Trials* trials)
      : env_(*env), scheduler_(*scheduler), doctor_(*doctor), trials_(*trials) {}

  // Takes the lock itself, and not while it judges the recipe. Get alone gives trials, epochs and checkpoints.
  void Create(const RequestKey& key, const v1::CreateExperimentRequest& request, Done<v1::Experiment> done) const;
  absl::StatusOr<v1::Experiment> Get(const Tx& tx, const std::string& name) const;
  absl::StatusOr<v1::ListExperimentsResponse> List(const Tx& tx, const v1::ListExperimentsRequest& request) const;
  absl::StatusOr<v1::Experiment> Cancel(Tx& tx, const Caller& caller, const std::string& name) const;
  absl::StatusOr<v1::Experiment> Pause(Tx& tx, const Caller& caller, const std::string& name) const;
  absl::StatusOr<v1::Experiment> Resume(Tx& tx, const Caller& caller, const std::string& name) const;
  absl::StatusOr<v1::Experiment> Update(Tx& tx, const Caller& caller, const v1::UpdateExperimentRequest& request) const;
  absl::StatusOr<v1::ExplainExperimentResponse> Explain(const Tx& tx, const std::string& name) const;

  // The number of an experiment that exists. Errors: NOT_FOUND, INVALID_ARGUMENT.
  static absl::StatusOr<int64_t> Find(const Tx& tx, const std::string& name);
  // The trial of that experiment, named as "t17.2"; the first, if no name is given. Errors: NOT_FOUND,
  // INVALID_ARGUMENT.
  static absl::StatusOr<TrialId> FindTrial(const Tx& tx, const std::string& parent, const std::string& trial_id);
  // Whether nothing more can come of it: it has ended and its processes are gone.
  static bool IsOver(const Tx& tx, int64_t experiment_id);

  absl::StatusOr<v1::ListMetricPointsResponse> ReadMetrics(const TrialId& trial,
                                                           const v1::ListMetricPointsRequest& request) const;

 private:
  // What the recipe is resolved with. Errors: NOT_FOUND.
  absl::StatusOr<ResolveContext> ContextOf(const Tx& tx, const v1::ExperimentSpec& spec) const;
  absl::StatusOr<v1::Experiment> Add(Tx& tx, const Caller& caller, const v1::CreateExperimentRequest& request,
                                     Submission* submission) const;
  // Without trials, epochs and checkpoints.
  static v1::Experiment Summary(const Tx& tx, const records::ExperimentRecord& record);
  absl::StatusOr<v1::ListMetricPointsResponse> ReadCharts(const TrialId& trial,
                                                          const v1::ListMetricPointsRequest& request) const;
  // Why the trial waits, where it runs, or what its record says.
  std::string ReasonOf(const Tx& tx, const records::TrialRecord& trial) const;
  absl::StatusOr<records::ExperimentRecord> FindRecord(const Tx& tx, const std::string& name) const;
  // Puts the record and what `change` makes of each of its trials that has not ended, and brings both in step.
  v1::Experiment Change(Tx& tx, const Caller& caller, const std::string& action, const std::string& details,
                        records::ExperimentRecord record,
                        const std::function<void(records::TrialRecord*)>& change) const;

  const Environment& env_;
  Scheduler& scheduler_;
  const HangDoctor& doctor_;
  Trials& trials_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_EXPERIMENTS_H_
