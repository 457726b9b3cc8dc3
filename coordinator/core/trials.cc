#include "coordinator/core/trials.h"

#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/planted_bug.h"
#include "coordinator/core/gangs.h"
#include "coordinator/state/task_name.h"
#include "experiments/resource_names.h"
#include "experiments/spec.h"

namespace ursa {
namespace {

using State_ = v1::Experiment;
using Fact = records::SearchFactRecord;

std::string StateName(v1::Experiment::State state) { return State_::State_Name(state).substr(6); }

Hyperparameters ValuesOf(const records::TrialRecord& trial) {
  Hyperparameters values;
  for (const records::HyperparameterValue& value : trial.hyperparameters()) values[value.name()] = value.value();
  return values;
}

SearchFact FromRecord(const Fact& record) {
  SearchFact fact;
  fact.kind = record.kind() == Fact::KIND_VALIDATED ? SearchFact::Kind::kValidated
              : record.kind() == Fact::KIND_ENDED   ? SearchFact::Kind::kEnded
                                                    : SearchFact::Kind::kFailed;
  fact.trial = static_cast<int32_t>(record.trial());
  fact.epochs = record.epochs();
  fact.value = record.value();
  return fact;
}

Fact ToRecord(int64_t experiment_id, int64_t number, const SearchFact& fact) {
  Fact record;
  record.set_experiment_id(experiment_id);
  record.set_number(number);
  record.set_trial(fact.trial);
  record.set_kind(fact.kind == SearchFact::Kind::kValidated ? Fact::KIND_VALIDATED
                  : fact.kind == SearchFact::Kind::kEnded   ? Fact::KIND_ENDED
                                                            : Fact::KIND_FAILED);
  record.set_epochs(fact.epochs);
  record.set_value(fact.value);
  return record;
}

// What nobody will go on from: of a trial that the search has closed, all checkpoints but the best.
void DropCheckpointsToGoOnFrom(records::TrialRecord* trial) {
  google::protobuf::RepeatedPtrField<records::CheckpointRecord> best;
  for (records::CheckpointRecord& checkpoint : *trial->mutable_checkpoints()) {
    if (checkpoint.best()) *best.Add() = std::move(checkpoint);
  }
  if (!best.empty()) trial->mutable_checkpoints()->Swap(&best);
}

void EndClosed(const Environment& env, const SearchOperation& close, records::TrialRecord* trial) {
  const bool has_failed = close.outcome == TrialOutcome::kFailed;
  EndTrial(env, has_failed ? State_::STATE_ERROR : State_::STATE_COMPLETED, close.reason, trial);
}

int64_t NumTrain(const Tx& tx, const records::ExperimentRecord& experiment) {
  const auto name = ParseDatasetVersionName(experiment.dataset_version());
  if (!name.ok() || !name->version) return 0;
  const auto* version = tx.state().Find<records::DatasetVersionRecord>(NamedNumberKey(name->name, *name->version));
  return version == nullptr ? 0 : version->version().num_train();
}

}  // namespace

v1::ExperimentSpec SpecOfTrial(const records::ExperimentRecord& experiment, const records::TrialRecord& trial) {
  if (!experiment.spec().has_searcher()) return experiment.spec();
  auto spec = TrialSpec(experiment.spec(), ValuesOf(trial));
  URSA_CHECK_OK(spec.status());  // a trial whose values make no recipe ended when it was made
  return *std::move(spec);
}

records::Demand DemandOf(const v1::ExperimentSpec& spec) {
  const v1::ResourcesSpec& resources = spec.resources();
  records::Demand demand;
  demand.set_slots(resources.slots_per_trial());
  demand.set_kind(spec.execution().device());
  demand.set_simd(spec.execution().simd());
  demand.set_priority(resources.priority());
  demand.set_pool(resources.pool());
  *demand.mutable_labels() = resources.labels();
  demand.set_experiment_slots_max(resources.max_slots());
  if (resources.min_slots_per_trial() < resources.slots_per_trial()) {
    demand.set_min_slots(resources.min_slots_per_trial());
    demand.set_slots_divide(spec.data().batch_size());
  }
  return demand;
}

void SetTrialState(v1::Experiment::State state, std::string reason, records::TrialRecord* trial) {
  URSA_LOG(INFO) << "task=" << TaskName({trial->experiment_id(), trial->number()}) << " " << StateName(trial->state())
                 << "->" << StateName(state) << " epoch=" << trial->epoch() << " reason=\"" << reason << "\"";
  trial->set_state(state);
  trial->set_reason(std::move(reason));
}

void EndTrial(const Environment& env, v1::Experiment::State state, std::string reason, records::TrialRecord* trial) {
  *trial->mutable_end_time() = ToTimestamp(env.clock->Now());
  trial->set_waits_for_search(false);
  SetTrialState(state, std::move(reason), trial);
}

void EndClosedTrial(const Environment& env, records::TrialRecord* trial) {
  DropCheckpointsToGoOnFrom(trial);
  EndTrial(env, State_::STATE_COMPLETED, trial->closed_why(), trial);
}

bool Trials::Pauses(const Tx& tx, const records::TrialRecord& trial) {
  return tx.state().Find<records::ExperimentRecord>(trial.experiment_id())->wanted() ==
             records::ExperimentRecord::WANTED_PAUSE &&
         !URSA_PLANTED_BUG(ignore_pause);
}

records::TrialRecord Trials::MakeTrial(const records::ExperimentRecord& experiment, int64_t num_train,
                                       const SearchOperation& create, int64_t queue_position) const {
  records::TrialRecord trial;
  trial.set_experiment_id(experiment.id());
  trial.set_number(create.trial);
  for (const auto& [name, value] : create.hyperparameters) {
    records::HyperparameterValue* added = trial.add_hyperparameters();
    added->set_name(name);
    added->set_value(value);
  }
  const v1::ExperimentSpec& spec = experiment.spec();
  records::Demand* demand = trial.mutable_demand();
  *demand = DemandOf(spec);
  demand->set_queue_position(queue_position);
  demand->set_user(experiment.creator());
  *demand->mutable_queue_time() = ToTimestamp(env_.clock->Now());
  const bool pauses = experiment.wanted() == records::ExperimentRecord::WANTED_PAUSE;
  trial.set_state(pauses ? State_::STATE_PAUSED : State_::STATE_QUEUED);
  trial.set_num_steps(experiment.num_steps());
  trial.set_num_epochs(experiment.num_epochs());
  if (!spec.has_searcher()) return trial;
  if (demand->slots_divide() != 0) demand->set_slots_divide(create.batch_size);
  trial.set_num_epochs(create.total_epochs);
  trial.set_num_steps(num_train / create.batch_size * create.total_epochs);
  return trial;
}

void Trials::Begin(Tx& tx, Search search, const std::vector<SearchOperation>& operations,
                   records::ExperimentRecord* experiment, Mutation* mutation) {
  std::map<int32_t, records::TrialRecord> trials;
  const int64_t num_train = NumTrain(tx, *experiment);
  int64_t queue_position = TakeNumber(tx, kQueuePosition, static_cast<int64_t>(search.trials().size()));
  for (const SearchOperation& operation : operations) {
    if (operation.kind == SearchOperation::Kind::kCreateTrial) {
      trials[operation.trial] = MakeTrial(*experiment, num_train, operation, queue_position++);
    } else if (operation.kind == SearchOperation::Kind::kTrainTrial) {
      records::TrialRecord& trial = trials.at(operation.trial);
      trial.set_until_epoch(operation.until_epochs < trial.num_epochs() ? operation.until_epochs : 0);
    } else if (operation.kind == SearchOperation::Kind::kCloseTrial) {
      EndClosed(env_, operation, &trials.at(operation.trial));
    }
  }
  experiment->set_num_trials(static_cast<int64_t>(trials.size()));
  for (auto& [number, trial] : trials) mutation->Put(std::move(trial));
  // As it stands after its start: what settles this very transaction asks for it.
  if (experiment->spec().has_searcher()) searches_.emplace(experiment->id(), OpenSearch(std::move(search)));
}

void Trials::Advance(Tx& tx, const std::set<TrialId>& changed) {
  for (const TrialId& id : changed) {
    const auto* experiment = tx.state().Find<records::ExperimentRecord>(id.first);
    if (experiment == nullptr || HasEnded(experiment->state()) || !experiment->spec().has_searcher()) continue;
    OpenSearch& open = Open(tx, *experiment);
    Tell(tx, &open, id);
    const auto* trial = tx.state().Find<records::TrialRecord>(id);
    const bool has_model = trial != nullptr && HasModel(*trial);
    if (has_model ? open.with_model.insert(id.second).second : open.with_model.erase(id.second) > 0) {
      open.best_is_known = false;
    }
    if (!open.best_is_known) UpdateBest(tx, &open, id.first);
  }
}

Trials::OpenSearch& Trials::Open(const Tx& tx, const records::ExperimentRecord& experiment) {
  const auto known = searches_.find(experiment.id());
  if (known != searches_.end()) return known->second;
  OpenSearch& open = searches_.emplace(experiment.id(), OpenSearch(Search(experiment.spec()))).first->second;
  open.search.Start();
  const auto& facts = tx.state().All<Fact>();
  for (auto fact = facts.lower_bound({experiment.id(), 0}); fact != facts.end() && fact->first.first == experiment.id();
       ++fact) {
    open.search.Apply(FromRecord(fact->second));  // what followed was done in the transaction that stored it
    open.num_facts = fact->second.number();
  }
  for (const records::TrialRecord* trial : tx.state().TrialsOf(experiment.id())) {
    if (HasModel(*trial)) open.with_model.insert(trial->number());
  }
  return open;
}

bool Trials::HasModel(const records::TrialRecord& trial) {
  return trial.checkpoints_size() > 0 && trial.state() != State_::STATE_ERROR;
}

std::vector<SearchFact> Trials::NewFacts(const Tx& tx, const Search& search, const TrialId& id) const {
  std::vector<SearchFact> facts;
  const auto* trial = tx.state().Find<records::TrialRecord>(id);
  if (trial == nullptr || id.second > static_cast<int64_t>(search.trials().size())) return facts;
  const SearchTrial& known = search.trials()[static_cast<size_t>(id.second) - 1];
  if (known.state == SearchTrial::State::kClosed) return facts;
  SearchFact fact;
  fact.trial = static_cast<int32_t>(id.second);
  const auto& epochs = tx.state().All<records::EpochRecord>();
  for (auto it = epochs.lower_bound({id, known.epochs}); it != epochs.end() && it->first.trial == id; ++it) {
    const auto value = it->second.row().metrics().find(search.metric());
    fact.epochs = it->second.row().epoch() + 1;
    fact.value = value == it->second.row().metrics().end() ? std::numeric_limits<double>::quiet_NaN() : value->second;
    facts.push_back(fact);
  }
  if (!HasEnded(trial->state())) return facts;
  fact.kind = trial->state() == State_::STATE_COMPLETED ? SearchFact::Kind::kEnded : SearchFact::Kind::kFailed;
  facts.push_back(fact);
  return facts;
}

void Trials::Tell(Tx& tx, OpenSearch* open, const TrialId& id) {
  const std::vector<SearchFact> facts = NewFacts(tx, open->search, id);
  if (facts.empty()) return;
  open->best_is_known = false;
  for (const SearchFact& fact : facts) {
    tx.Put(ToRecord(id.first, ++open->num_facts, fact));
    for (const SearchOperation& operation : open->search.Apply(fact)) CarryOut(tx, id.first, operation);
  }
}

void Trials::UpdateBest(Tx& tx, OpenSearch* open, int64_t experiment_id) const {
  const auto& found = *tx.state().Find<records::ExperimentRecord>(experiment_id);
  const int32_t best = open->search
                           .best_trial([open](int32_t trial) {
                             return open->with_model.count(trial) > 0 || URSA_PLANTED_BUG(best_without_model);
                           })
                           .value_or(0);
  open->best_is_known = true;
  if (best == found.best_trial()) return;
  records::ExperimentRecord experiment = found;
  experiment.set_best_trial(best);
  tx.Put(std::move(experiment));
}

void Trials::CarryOut(Tx& tx, int64_t experiment_id, const SearchOperation& operation) {
  using Kind = SearchOperation::Kind;
  URSA_LOG(INFO) << "experiment=" << ExperimentId(experiment_id).ToString() << " search: " << operation.ToString();
  if (operation.kind == Kind::kFinishSearch) return;  // Derive sees that no trial is open and none is to come
  if (operation.kind == Kind::kCreateTrial) {
    records::ExperimentRecord experiment = *tx.state().Find<records::ExperimentRecord>(experiment_id);
    experiment.set_num_trials(operation.trial);
    tx.Put(MakeTrial(experiment, NumTrain(tx, experiment), operation, TakeNumber(tx, kQueuePosition)));
    tx.Put(std::move(experiment));
    return;
  }
  records::TrialRecord trial = *tx.state().Find<records::TrialRecord>(TrialId(experiment_id, operation.trial));
  if (operation.kind == Kind::kCloseTrial) return CloseTrial(tx, operation, std::move(trial));
  if (HasEnded(trial.state())) return;
  trial.set_until_epoch(operation.until_epochs < trial.num_epochs() ? operation.until_epochs : 0);
  if (trial.waits_for_search()) {
    trial.set_waits_for_search(false);
    *trial.mutable_demand()->mutable_queue_time() = ToTimestamp(env_.clock->Now());
    SetTrialState(Pauses(tx, trial) ? State_::STATE_PAUSED : State_::STATE_QUEUED, "promoted by the search", &trial);
  }
  tx.Put(std::move(trial));
}

void Trials::CloseTrial(Tx& tx, const SearchOperation& close, records::TrialRecord trial) {
  const bool is_stopped = close.outcome == TrialOutcome::kStopped;
  const bool has_ended = HasEnded(trial.state());
  if (is_stopped) trial.set_closed_why(close.reason);
  if (is_stopped && !has_ended && trial.has_gang() && !trial.gang().done()) {
    Gangs::RequestMove(env_, close.reason, &trial);
    return tx.Put(std::move(trial));
  }
  if (is_stopped) DropCheckpointsToGoOnFrom(&trial);
  // One that has gone all the way ends by itself, with its last checkpoint.
  const bool is_at_its_end = close.outcome == TrialOutcome::kCompleted && trial.until_epoch() == 0;
  if (!has_ended && !is_at_its_end) {
    EndClosed(env_, close, &trial);
    Gangs::RequestEnd(env_, &trial);
  }
  tx.Put(std::move(trial));
}

void Trials::Derive(Tx& tx, const std::set<int64_t>& experiment_ids) {
  for (const int64_t id : experiment_ids) {
    const auto* found = tx.state().Find<records::ExperimentRecord>(id);
    if (found == nullptr || HasEnded(found->state())) {
      searches_.erase(id);
    } else {
      DeriveOne(tx, *found);
    }
  }
}

std::string Trials::WithoutBest(const Tx& tx, const records::ExperimentRecord& experiment) {
  if (const std::optional<int32_t> best = Open(tx, experiment).search.best_trial()) {
    const TrialId id(experiment.id(), *best);
    return absl::StrCat("no trial that did not fail has a checkpoint; the best was ", TaskName(id), ": ",
                        tx.state().Find<records::TrialRecord>(id)->reason());
  }
  const auto& first = *tx.state().Find<records::TrialRecord>(TrialId(experiment.id(), kFirstTrial));
  return absl::StrCat("none of ", tx.state().CountsOf(experiment.id()).total,
                      " trials gave a result; the first: ", first.reason());
}

void Trials::DeriveOne(Tx& tx, const records::ExperimentRecord& found) {
  const int64_t experiment_id = found.id();
  const TrialCounts counts = tx.state().CountsOf(experiment_id);
  const auto& first = *tx.state().Find<records::TrialRecord>(TrialId(experiment_id, kFirstTrial));
  const bool is_search = found.spec().has_searcher();
  std::string reason = is_search ? "" : first.reason();
  State_::State state = State_::STATE_QUEUED;
  if (counts.open == 0 && (!is_search || Open(tx, found).search.finished())) {
    state = is_search ? State_::STATE_COMPLETED : first.state();
    if (is_search && found.best_trial() == 0) {
      state = State_::STATE_ERROR;
      reason = WithoutBest(tx, found);
    }
  } else if (counts.gangs > 0) {
    state = State_::STATE_RUNNING;
  } else if (found.wanted() == records::ExperimentRecord::WANTED_PAUSE) {
    state = State_::STATE_PAUSED;
  }
  if (state == found.state() && reason == found.reason()) return;
  records::ExperimentRecord experiment = found;
  if (state != found.state()) {
    URSA_LOG(INFO) << "experiment=" << ExperimentId(experiment_id).ToString() << " " << StateName(found.state()) << "->"
                   << StateName(state);
  }
  experiment.set_state(state);
  experiment.set_reason(std::move(reason));
  if (state == State_::STATE_RUNNING && !experiment.has_start_time()) {
    *experiment.mutable_start_time() = ToTimestamp(env_.clock->Now());
  }
  if (HasEnded(state)) *experiment.mutable_end_time() = ToTimestamp(env_.clock->Now());
  tx.Put(std::move(experiment));
}

}  // namespace ursa
