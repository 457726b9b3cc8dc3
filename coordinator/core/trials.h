// What the trials of an experiment mean for it.
#ifndef URSA_COORDINATOR_CORE_TRIALS_H_
#define URSA_COORDINATOR_CORE_TRIALS_H_

#include <cstdint>
#include <set>
#include <string>

#include "coordinator/core/environment.h"
#include "ursa/v1/experiments.pb.h"

namespace ursa {

// COMPLETED, CANCELED or ERROR: nothing more will change.
bool HasEnded(v1::Experiment::State state);

// The experiment's recipe with the trial's values of the hyperparameters.
v1::ExperimentSpec SpecOfTrial(const records::ExperimentRecord& experiment, const records::TrialRecord& trial);

// A transition of a trial, logged. EndTrial also says when.
void SetTrialState(v1::Experiment::State state, std::string reason, records::TrialRecord* trial);
void EndTrial(const Environment& env, v1::Experiment::State state, std::string reason, records::TrialRecord* trial);

// Makes trials, and keeps their experiment in step with them:
//
//   ended trials alone   -> COMPLETED, or ERROR if the trial failed
//   one of them runs     -> RUNNING
//   its user wants pause -> PAUSED, when nothing of it runs any more
//   else                 -> QUEUED
//
// Guarded by the coordinator's lock: every method takes a transaction.
class Trials {
 public:
  explicit Trials(const Environment* env) : env_(*env) {}

  // The trials with which a new experiment begins, queued; added to the mutation that puts the experiment.
  void Begin(Tx& tx, records::ExperimentRecord* experiment, Mutation* mutation) const;

  // Brings the experiments up to date with their trials.
  void Settle(Tx& tx, const std::set<int64_t>& experiment_ids) const;

 private:
  void SettleOne(Tx& tx, const records::ExperimentRecord& experiment) const;

  const Environment& env_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_TRIALS_H_
