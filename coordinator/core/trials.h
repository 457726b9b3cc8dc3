// What the trials of an experiment mean for it, and what its search wants of them.
#ifndef URSA_COORDINATOR_CORE_TRIALS_H_
#define URSA_COORDINATOR_CORE_TRIALS_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core/environment.h"
#include "experiments/search/search.h"
#include "ursa/v1/experiments.pb.h"

namespace ursa {

// Counts the places of trials in the queue.
inline constexpr char kQueuePosition[] = "queue_position";

// The recipe that the trial trains: its experiment's, with its own values of the hyperparameters.
v1::ExperimentSpec SpecOfTrial(const records::ExperimentRecord& experiment, const records::TrialRecord& trial);

// What a trial with that resolved recipe asks of the cluster; without a user and a place in the queue.
records::Demand DemandOf(const v1::ExperimentSpec& spec);

// A transition of a trial, logged. EndTrial also says when; EndClosedTrial: of one with `closed_why`.
void SetTrialState(v1::Experiment::State state, std::string reason, records::TrialRecord* trial);
void EndTrial(const Environment& env, v1::Experiment::State state, std::string reason, records::TrialRecord* trial);
void EndClosedTrial(const Environment& env, records::TrialRecord* trial);

// Makes trials as the search asks (an experiment without a searcher is a search of one trial), tells it what they do,
// and keeps the experiment in step with them:
//
//   all trials have ended, no more to come -> COMPLETED, or ERROR if there is no best trial
//   one of them runs                       -> RUNNING
//   its user wants pause                   -> PAUSED, when nothing of it runs any more
//   else                                   -> QUEUED
//
// A trial that its search closes still checkpoints what it has, and only then it has ended. The best trial is the one
// with the best value of those that did not fail and have a checkpoint, as there is a model to take of these alone.
//
// What a search has learned is stored as facts (SearchFactRecord), in the transaction that learned it; its decisions
// follow from these, so that a restart replays them. Searches are kept in memory while their experiment is open.
// Guarded by the coordinator's lock: every method takes a transaction.
class Trials {
 public:
  explicit Trials(const Environment* env) : env_(*env) {}

  // The trials with which a new experiment begins, queued or, if it is wanted so, paused; added to the mutation that
  // puts the experiment. `operations`: those of the start of `search`, which is the experiment's.
  void Begin(Tx& tx, Search search, const std::vector<SearchOperation>& operations,
             records::ExperimentRecord* experiment, Mutation* mutation);

  // Tells searches what is new about their trials, and carries out what they want.
  void Advance(Tx& tx, const std::set<TrialId>& changed);
  // Brings experiments up to date with their trials.
  void Derive(Tx& tx, const std::set<int64_t>& experiment_ids);

  // Whether its user wants the experiment of a trial to pause.
  static bool Pauses(const Tx& tx, const records::TrialRecord& trial);

 private:
  struct OpenSearch {
    explicit OpenSearch(Search begun) : search(std::move(begun)) {}
    Search search;
    int64_t num_facts = 0;
    std::set<int64_t> with_model;  // trials that may be the best
    bool best_is_known = false;    // the record's is that of the present facts and models
  };

  OpenSearch& Open(const Tx& tx, const records::ExperimentRecord& experiment);
  // `num_train`: examples of the experiment's dataset.
  records::TrialRecord MakeTrial(const records::ExperimentRecord& experiment, int64_t num_train,
                                 const SearchOperation& create, int64_t queue_position) const;
  static bool HasModel(const records::TrialRecord& trial);
  // Tells the search what is new about a trial, and carries out what follows.
  void Tell(Tx& tx, OpenSearch* open, const TrialId& id);
  std::vector<SearchFact> NewFacts(const Tx& tx, const Search& search, const TrialId& id) const;
  void UpdateBest(Tx& tx, OpenSearch* open, int64_t experiment_id) const;
  void CarryOut(Tx& tx, int64_t experiment_id, const SearchOperation& operation);
  void CloseTrial(Tx& tx, const SearchOperation& close, records::TrialRecord trial);
  // Why a search ends without a best trial.
  std::string WithoutBest(const Tx& tx, const records::ExperimentRecord& experiment);
  void DeriveOne(Tx& tx, const records::ExperimentRecord& found);

  const Environment& env_;
  std::map<int64_t, OpenSearch> searches_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_TRIALS_H_
