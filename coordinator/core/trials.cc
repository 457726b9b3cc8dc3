#include "coordinator/core/trials.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"
#include "coordinator/state/task_name.h"
#include "experiments/spec.h"

namespace ursa {
namespace {

using State_ = v1::Experiment;

std::string StateName(v1::Experiment::State state) { return State_::State_Name(state).substr(6); }

}  // namespace

bool HasEnded(v1::Experiment::State state) {
  return state == State_::STATE_COMPLETED || state == State_::STATE_CANCELED || state == State_::STATE_ERROR;
}

v1::ExperimentSpec SpecOfTrial(const records::ExperimentRecord& experiment, const records::TrialRecord& trial) {
  v1::ExperimentSpec spec = experiment.spec();
  std::vector<std::string> assignments;
  for (const records::HyperparameterValue& value : trial.hyperparameters()) {
    assignments.push_back(absl::StrCat(value.name(), "=", value.value()));
  }
  // Tried when the trial was made.
  URSA_CHECK_OK(ApplyOverrides(assignments, &spec));
  return spec;
}

void SetTrialState(v1::Experiment::State state, std::string reason, records::TrialRecord* trial) {
  URSA_LOG(INFO) << "task=" << TaskName({trial->experiment_id(), trial->number()}) << " " << StateName(trial->state())
                 << "->" << StateName(state) << " epoch=" << trial->epoch() << " reason=\"" << reason << "\"";
  trial->set_state(state);
  trial->set_reason(std::move(reason));
}

void EndTrial(const Environment& env, v1::Experiment::State state, std::string reason, records::TrialRecord* trial) {
  *trial->mutable_end_time() = ToTimestamp(env.clock->Now());
  SetTrialState(state, std::move(reason), trial);
}

void Trials::Begin(Tx& tx, records::ExperimentRecord* experiment, Mutation* mutation) const {
  records::TrialRecord trial;
  trial.set_experiment_id(experiment->id());
  trial.set_number(kFirstTrial);
  trial.set_num_steps(experiment->num_steps());
  trial.set_num_epochs(experiment->num_epochs());
  const v1::ExperimentSpec& spec = experiment->spec();
  records::Demand* demand = trial.mutable_demand();
  demand->set_slots(spec.resources().slots_per_trial());
  demand->set_kind(spec.execution().device());
  demand->set_simd(spec.execution().simd());
  demand->set_priority(spec.resources().priority());
  demand->set_queue_position(TakeNumber(tx, "queue_position"));
  demand->set_pool(kDefaultPool);
  demand->set_user(experiment->creator());
  *demand->mutable_queue_time() = experiment->create_time();
  SetTrialState(State_::STATE_QUEUED, "", &trial);
  experiment->set_num_trials(1);
  mutation->Put(std::move(trial));
}

void Trials::Settle(Tx& tx, const std::set<int64_t>& experiment_ids) const {
  for (const int64_t id : experiment_ids) {
    const auto* experiment = tx.state().Find<records::ExperimentRecord>(id);
    if (experiment != nullptr && !HasEnded(experiment->state())) SettleOne(tx, *experiment);
  }
}

void Trials::SettleOne(Tx& tx, const records::ExperimentRecord& found) const {
  const std::vector<const records::TrialRecord*> trials = tx.state().TrialsOf(found.id());
  const auto any = [&trials](auto condition) { return std::any_of(trials.begin(), trials.end(), condition); };
  const records::TrialRecord& first = *trials.front();
  State_::State state = State_::STATE_QUEUED;
  if (!any([](const records::TrialRecord* trial) { return !HasEnded(trial->state()); })) {
    state = first.state();
  } else if (any([](const records::TrialRecord* trial) { return trial->has_gang(); })) {
    state = State_::STATE_RUNNING;
  } else if (found.wanted() == records::ExperimentRecord::WANTED_PAUSE) {
    state = State_::STATE_PAUSED;
  }
  if (state == found.state() && first.reason() == found.reason()) return;
  records::ExperimentRecord experiment = found;
  if (state != found.state()) {
    URSA_LOG(INFO) << "experiment=" << ExperimentId(found.id()).ToString() << " " << StateName(found.state()) << "->"
                   << StateName(state);
  }
  experiment.set_state(state);
  experiment.set_reason(first.reason());
  if (state == State_::STATE_RUNNING && !experiment.has_start_time()) {
    *experiment.mutable_start_time() = ToTimestamp(env_.clock->Now());
  }
  if (HasEnded(state)) *experiment.mutable_end_time() = ToTimestamp(env_.clock->Now());
  tx.Put(std::move(experiment));
}

}  // namespace ursa
