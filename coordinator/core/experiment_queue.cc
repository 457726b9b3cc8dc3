// Experiments in the queue: why they wait, and live edits of where they stand.
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "coordinator/core/experiments.h"
#include "coordinator/core/gangs.h"
#include "coordinator/state/task_name.h"
#include "experiments/resource_names.h"

namespace ursa {
namespace {

std::vector<std::string> WorkersOf(const records::TrialRecord& trial) {
  std::set<int64_t> ids;
  for (const records::Rank& rank : trial.gang().ranks()) {
    if (!rank.gone()) ids.insert(rank.worker_id());
  }
  std::vector<std::string> names;
  for (const int64_t id : ids) names.push_back(WorkerId(id).ToString());
  return names;
}

std::string RunsText(const records::TrialRecord& trial) {
  std::string text = absl::StrCat("runs on ", absl::StrJoin(WorkersOf(trial), ", "));
  const records::Gang& gang = trial.gang();
  if (!gang.stop_why().empty()) {
    absl::StrAppend(&text, " and is being stopped: ", gang.stop_why());
  } else if (gang.phase() == records::Gang::PHASE_REFORMING) {
    absl::StrAppend(&text, ", ", trial.reason());
  } else if (gang.phase() != records::Gang::PHASE_RUNNING) {
    absl::StrAppend(&text, " and is ending", trial.reason().empty() ? "" : ": ", trial.reason());
  }
  return text;
}

}  // namespace

std::string Experiments::ReasonOf(const Tx& tx, const records::TrialRecord& trial) const {
  if (trial.has_gang()) {
    const std::string hang = doctor_.Explain(tx, {trial.experiment_id(), trial.number()});
    return absl::StrCat(RunsText(trial), hang.empty() ? "" : "; ", hang);
  }
  const std::string why = scheduler_.WhyWaits(tx, {trial.experiment_id(), trial.number()});
  if (why.empty() || trial.reason().empty()) return why.empty() ? trial.reason() : why;
  return absl::StrCat(trial.reason(), "; ", why);
}

absl::StatusOr<v1::ExplainExperimentResponse> Experiments::Explain(const Tx& tx, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(const int64_t id, Find(tx, name));
  const auto& experiment = *tx.state().Find<records::ExperimentRecord>(id);
  v1::ExplainExperimentResponse response;
  response.set_experiment_id(ExperimentId(id).ToString());
  response.set_state(experiment.state());
  std::string running;
  for (const records::TrialRecord* trial : tx.state().TrialsOf(id)) {
    if (HasEnded(trial->state()) && !trial->has_gang()) continue;
    v1::ExplainedTrial* explained = response.add_trials();
    explained->set_id(TaskName({id, trial->number()}));
    explained->set_state(trial->state());
    explained->set_reason(ReasonOf(tx, *trial));
    for (const std::string& worker : WorkersOf(*trial)) explained->add_workers(worker);
    if (running.empty() && trial->has_gang()) running = explained->reason();
  }
  response.set_reason(!running.empty()               ? running
                      : response.trials_size() > 0   ? response.trials(0).reason()
                      : !experiment.reason().empty() ? experiment.reason()
                                                     : "has ended");
  if (response.reason().empty() && experiment.state() == v1::Experiment::STATE_PAUSED) {
    response.set_reason("is paused by its user");
  }
  return response;
}

absl::StatusOr<v1::Experiment> Experiments::Update(Tx& tx, const Caller& caller,
                                                   const v1::UpdateExperimentRequest& request) const {
  URSA_ASSIGN_OR_RETURN(records::ExperimentRecord record, FindRecord(tx, request.name()));
  const std::string subject = absl::StrCat("experiment ", ExperimentId(record.id()).ToString());
  if (!request.has_priority() && !request.has_pool()) {
    return absl::InvalidArgumentError(absl::StrCat(subject, ": nothing to change (hint: a priority, a pool)"));
  }
  if (request.has_priority() && (request.priority() < 1 || request.priority() > kPriorityMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat(subject, ": priority ", request.priority(), "; allowed: 1 to ", kPriorityMax));
  }
  if (HasEnded(record.state())) {
    return absl::FailedPreconditionError(
        absl::StrCat(subject, ": cannot change, state is ", v1::Experiment::State_Name(record.state()).substr(6)));
  }
  v1::ResourcesSpec* resources = record.mutable_spec()->mutable_resources();
  std::string details;
  if (request.has_priority()) {
    resources->set_priority(request.priority());
    details = absl::StrCat("priority=", request.priority());
  }
  const bool moves = request.has_pool() && request.pool() != resources->pool();
  if (moves) {
    URSA_RETURN_IF_ERROR(CheckName("pool", request.pool()));
    URSA_ASSIGN_OR_RETURN(const ResolveContext offer, scheduler_.OfferOf(tx, request.pool()));
    const v1::ExecutionSpec& execution = record.spec().execution();
    if (offer.device != execution.device() || offer.cluster_slots < resources->min_slots_per_trial()) {
      return absl::FailedPreconditionError(absl::StrCat(subject, ": pool \"", request.pool(), "\" has ",
                                                        offer.cluster_slots, " ", offer.device, " slots, it needs ",
                                                        resources->min_slots_per_trial(), " ", execution.device()));
    }
    resources->set_pool(request.pool());
    absl::StrAppend(&details, details.empty() ? "" : " ", "pool=", request.pool());
  }
  return Change(tx, caller, "experiment.update", details, std::move(record), [&](records::TrialRecord* trial) {
    if (request.has_priority()) trial->mutable_demand()->set_priority(request.priority());
    if (!moves) return;
    trial->mutable_demand()->set_pool(request.pool());
    if (trial->has_gang()) Gangs::RequestMove(env_, absl::StrCat("moves to pool ", request.pool()), trial);
  });
}

}  // namespace ursa
