#include "coordinator/core/experiments.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/core/gangs.h"
#include "coordinator/core/paging.h"
#include "coordinator/state/task_name.h"
#include "experiments/resource_names.h"
#include "experiments/spec.h"

namespace ursa {
namespace {

constexpr int kListPageSizeDefault = 100;
constexpr int kListPageSizeMax = 1000;

std::string Name(int64_t number) { return ExperimentId(number).ToString(); }

absl::Status CannotSince(const records::ExperimentRecord& experiment, const std::string& what) {
  return absl::FailedPreconditionError(absl::StrCat("experiment ", Name(experiment.id()), ": cannot ", what,
                                                    ", state is ",
                                                    v1::Experiment::State_Name(experiment.state()).substr(6)));
}

// The version that a recipe names.
absl::StatusOr<const records::DatasetVersionRecord*> FindDataset(const Tx& tx, const std::string& reference) {
  URSA_ASSIGN_OR_RETURN(const VersionRef ref, ParseDatasetReference(reference));
  const auto* record = ref.version
                           ? tx.state().Find<records::DatasetVersionRecord>(NamedNumberKey(ref.name, *ref.version))
                           : tx.state().FindLatestVersion<records::DatasetVersionRecord>(ref.name);
  if (record == nullptr) return absl::NotFoundError(absl::StrCat("dataset \"", reference, "\": not found"));
  return record;
}

// What a warm start may take from the trials of the experiment that it names: their values and, of each metric, what
// its best checkpoint says, else its last validation.
absl::StatusOr<std::vector<EarlierTrial>> EarlierTrials(const Tx& tx, const v1::WarmStart& warm_start) {
  std::vector<EarlierTrial> earlier;
  if (!warm_start.has_experiment()) return earlier;
  const auto id = ExperimentId::Parse(warm_start.experiment());
  if (!id || tx.state().Find<records::ExperimentRecord>(id->number()) == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("searcher.warm_start.experiment: \"", warm_start.experiment(), "\" not found"));
  }
  for (const records::TrialRecord* trial : tx.state().TrialsOf(id->number())) {
    EarlierTrial& added = earlier.emplace_back();
    for (const records::HyperparameterValue& value : trial->hyperparameters()) {
      added.hyperparameters[value.name()] = value.value();
    }
    added.metrics.insert(trial->metrics().begin(), trial->metrics().end());
    for (const records::CheckpointRecord& checkpoint : trial->checkpoints()) {
      if (checkpoint.best()) added.metrics = {checkpoint.metrics().begin(), checkpoint.metrics().end()};
    }
  }
  return earlier;
}

}  // namespace

void Experiments::Create(const RequestKey& key, const v1::CreateExperimentRequest& request,
                         Done<v1::Experiment> done) const {
  Submission submission(request.spec());
  if (submission.is_long()) {
    absl::StatusOr<ResolveContext> context = [&] {
      const Tx tx(env_.commit);
      return ContextOf(tx, request.spec());
    }();
    if (context.ok()) submission.Prepare(*std::move(context));
  }
  Mutate<v1::Experiment>(env_, key, std::move(done), [&](Tx& tx) { return Add(tx, key.caller, request, &submission); });
}

absl::StatusOr<ResolveContext> Experiments::ContextOf(const Tx& tx, const v1::ExperimentSpec& spec) const {
  URSA_ASSIGN_OR_RETURN(const records::DatasetVersionRecord* dataset, FindDataset(tx, spec.dataset()));
  const v1::DatasetVersion& version = dataset->version();
  const std::string& pool = spec.resources().pool();
  URSA_ASSIGN_OR_RETURN(ResolveContext context, scheduler_.OfferOf(tx, pool.empty() ? kDefaultPool : pool));
  context.version = env_.options.version;
  context.dataset = absl::StrCat(version.dataset(), "@", version.version());
  context.num_train = version.num_train();
  context.num_valid = version.num_valid();
  context.num_classes = version.classes_size();
  URSA_ASSIGN_OR_RETURN(context.earlier_trials, EarlierTrials(tx, spec.searcher().warm_start()));
  return context;
}

absl::StatusOr<v1::Experiment> Experiments::Add(Tx& tx, const Caller& caller,
                                                const v1::CreateExperimentRequest& request,
                                                Submission* submission) const {
  URSA_RETURN_IF_ERROR(submission->status());  // what is wrong with it comes before what is not there
  URSA_ASSIGN_OR_RETURN(const ResolveContext context, ContextOf(tx, request.spec()));
  URSA_ASSIGN_OR_RETURN(Submission::Plan plan, submission->Take(context));
  URSA_ASSIGN_OR_RETURN(const records::DatasetVersionRecord* dataset, FindDataset(tx, context.dataset));
  const v1::DatasetVersion& version = dataset->version();
  records::ExperimentRecord record;
  *record.mutable_spec() = std::move(plan.resolved);
  record.set_num_steps(NumSteps(record.spec(), version.num_train()));
  record.set_num_epochs(NumEpochs(record.spec()));
  record.set_state(request.paused() ? v1::Experiment::STATE_PAUSED : v1::Experiment::STATE_QUEUED);
  record.set_wanted(request.paused() ? records::ExperimentRecord::WANTED_PAUSE : records::ExperimentRecord::WANTED_RUN);
  *record.mutable_create_time() = ToTimestamp(env_.clock->Now());
  record.set_creator(caller.actor);
  record.set_dataset_version(version.name());
  record.set_manifest_hash(dataset->manifest_blob());
  *record.mutable_classes() = version.classes();
  record.set_id(TakeNumber(tx, "experiment"));
  const int64_t id = record.id();
  Mutation mutation;
  mutation.Audit(AuditEvent(env_, caller, "experiment.create", IdName("experiments", 'e', id), context.dataset));
  trials_.Begin(tx, std::move(plan.search), plan.operations, &record, &mutation);
  URSA_LOG(INFO) << "experiment=" << Name(id) << (request.paused() ? " ->PAUSED" : " ->QUEUED")
                 << " dataset=" << context.dataset << " trials=" << record.num_trials() << " actor=" << caller.actor;
  mutation.Put(std::move(record));
  tx.Apply(std::move(mutation));
  return Summary(tx, *tx.state().Find<records::ExperimentRecord>(id));
}

namespace {

void AddCheckpoints(const records::TrialRecord& trial, v1::Experiment* experiment) {
  for (const records::CheckpointRecord& kept : trial.checkpoints()) {
    v1::Checkpoint* checkpoint = experiment->add_checkpoints();
    checkpoint->set_id(CheckpointId(kept.id()).ToString());
    checkpoint->set_step(kept.step());
    checkpoint->set_epoch(kept.epoch());
    *checkpoint->mutable_metrics() = kept.metrics();
    checkpoint->set_best(kept.best());
    checkpoint->set_size_bytes(kept.size_bytes());
    checkpoint->set_trial_id(TaskName({trial.experiment_id(), trial.number()}));
  }
}

void AddEpochs(const Tx& tx, const TrialId& id, v1::Experiment* experiment) {
  const auto& epochs = tx.state().All<records::EpochRecord>();
  for (auto it = epochs.lower_bound({id, 0}); it != epochs.end() && it->first.trial == id; ++it) {
    *experiment->add_epochs() = it->second.row();
    experiment->mutable_epochs(experiment->epochs_size() - 1)->set_trial_id(TaskName(id));
  }
}

// How far a trial is.
struct TrialPosition {
  int64_t step = 0;
  int32_t num_epochs = 0;  // done
};

TrialPosition PositionOf(const records::TrialRecord& record, const records::ProgressRecord* progress) {
  TrialPosition position;
  if (progress != nullptr) position = {progress->step(), progress->epoch()};
  // A short trial's last checkpoint may come before its next progress.
  for (const records::CheckpointRecord& kept : record.checkpoints()) {
    position.step = std::max(position.step, kept.step());
    position.num_epochs = std::max(position.num_epochs, kept.epoch());
  }
  return position;
}

const records::ProgressRecord* ProgressOf(const Tx& tx, const records::TrialRecord& record) {
  return tx.state().Find<records::ProgressRecord>(PerTrialKey{{record.experiment_id(), record.number()}});
}

// Adds what a trial adds to its experiment's sums.
void AddSums(const Tx& tx, const records::TrialRecord& record, v1::Experiment* experiment) {
  const records::ProgressRecord* const progress = ProgressOf(tx, record);
  const TrialPosition position = PositionOf(record, progress);
  if (progress != nullptr) {
    experiment->set_data_wait_percent(std::max(experiment->data_wait_percent(), progress->data_wait_percent()));
  }
  experiment->set_step(experiment->step() + position.step);
  experiment->set_num_steps(experiment->num_steps() + record.num_steps());
  experiment->set_epoch(std::max(experiment->epoch(), position.num_epochs));
  experiment->set_restarts(experiment->restarts() + record.restarts());
  experiment->set_moves(experiment->moves() + record.moves());
  experiment->set_resumed_from_step(std::max(experiment->resumed_from_step(), record.resumed_from_step()));
}

void AddTrial(const Tx& tx, const records::TrialRecord& record, bool is_best, v1::Experiment* experiment) {
  const TrialPosition position = PositionOf(record, ProgressOf(tx, record));
  v1::Trial* trial = experiment->add_trials();
  trial->set_id(TaskName({record.experiment_id(), record.number()}));
  trial->set_state(record.state());
  trial->set_reason(record.reason());
  trial->set_step(position.step);
  trial->set_epochs(position.num_epochs);
  trial->set_num_steps(record.num_steps());
  trial->set_restarts(record.restarts());
  trial->set_moves(record.moves());
  trial->set_best(is_best);
  *trial->mutable_metrics() = record.metrics();
  for (const records::HyperparameterValue& value : record.hyperparameters()) {
    (*trial->mutable_hyperparameters())[value.name()] = value.value();
  }
}

}  // namespace

v1::Experiment Experiments::Summary(const Tx& tx, const records::ExperimentRecord& record) {
  v1::Experiment experiment;
  const int64_t id = record.id();
  experiment.set_name(IdName("experiments", 'e', id));
  experiment.set_experiment_id(Name(id));
  experiment.set_state(record.state());
  experiment.set_reason(record.reason());
  if (record.state() == v1::Experiment::STATE_RUNNING && record.wanted() == records::ExperimentRecord::WANTED_PAUSE &&
      record.reason().empty()) {
    experiment.set_reason("is being paused");
  }
  *experiment.mutable_spec() = record.spec();
  experiment.set_num_epochs(record.num_epochs());
  *experiment.mutable_create_time() = record.create_time();
  if (record.has_start_time()) *experiment.mutable_start_time() = record.start_time();
  if (record.has_end_time()) *experiment.mutable_end_time() = record.end_time();
  experiment.set_creator(record.creator());
  for (const records::TrialRecord* trial : tx.state().TrialsOf(id)) AddSums(tx, *trial, &experiment);
  const auto* const best =
      tx.state().Find<records::TrialRecord>(TrialId(id, std::max<int64_t>(1, record.best_trial())));
  if (best != nullptr) *experiment.mutable_metrics() = best->metrics();
  if (record.spec().has_searcher() && !HasEnded(record.state())) {
    const TrialCounts counts = tx.state().CountsOf(id);
    experiment.set_reason(absl::StrCat(counts.total - counts.open, " of ", NumTrials(record.spec()),
                                       " trials have ended, ", counts.gangs, " run"));
  }
  return experiment;
}

absl::StatusOr<int64_t> Experiments::Find(const Tx& tx, const std::string& name) {
  URSA_ASSIGN_OR_RETURN(const int64_t id, ParseIdName("experiments", 'e', name));
  if (tx.state().Find<records::ExperimentRecord>(id) == nullptr) {
    return absl::NotFoundError(absl::StrCat("experiment ", Name(id), ": not found"));
  }
  return id;
}

absl::StatusOr<TrialId> Experiments::FindTrial(const Tx& tx, const std::string& parent, const std::string& trial_id) {
  URSA_ASSIGN_OR_RETURN(const int64_t experiment_id, Find(tx, parent));
  if (trial_id.empty()) return TrialId(experiment_id, kFirstTrial);
  const std::optional<TrialId> id = ParseTaskName(trial_id);
  if (!id) return absl::InvalidArgumentError(absl::StrCat("trial \"", trial_id, "\": is no id as t17.2"));
  if (id->first != experiment_id || tx.state().Find<records::TrialRecord>(*id) == nullptr) {
    return absl::NotFoundError(absl::StrCat("experiment ", Name(experiment_id), ": has no trial ", trial_id));
  }
  return *id;
}

bool Experiments::IsOver(const Tx& tx, int64_t experiment_id) {
  const auto* record = tx.state().Find<records::ExperimentRecord>(experiment_id);
  if (record == nullptr) return true;
  const std::vector<const records::TrialRecord*> trials = tx.state().TrialsOf(experiment_id);
  return HasEnded(record->state()) && std::none_of(trials.begin(), trials.end(),
                                                   [](const records::TrialRecord* trial) { return trial->has_gang(); });
}

absl::StatusOr<records::ExperimentRecord> Experiments::FindRecord(const Tx& tx, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(const int64_t id, Find(tx, name));
  return *tx.state().Find<records::ExperimentRecord>(id);
}

absl::StatusOr<v1::Experiment> Experiments::Get(const Tx& tx, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(const int64_t id, Find(tx, name));
  const records::ExperimentRecord& record = *tx.state().Find<records::ExperimentRecord>(id);
  v1::Experiment experiment = Summary(tx, record);
  for (const records::TrialRecord* trial : tx.state().TrialsOf(id)) {
    AddTrial(tx, *trial, trial->number() == record.best_trial(), &experiment);
    AddCheckpoints(*trial, &experiment);
    AddEpochs(tx, {id, trial->number()}, &experiment);
  }
  for (const records::TrialRecord* trial : tx.state().TrialsOf(id)) {
    if (HasEnded(trial->state())) continue;
    if (experiment.state() == v1::Experiment::STATE_QUEUED) {
      experiment.set_reason(ReasonOf(tx, *trial));
      break;
    }
    const std::string hang = doctor_.Explain(tx, {id, trial->number()});
    if (hang.empty()) continue;
    experiment.set_reason(hang);
    break;
  }
  return experiment;
}

absl::StatusOr<v1::ListExperimentsResponse> Experiments::List(const Tx& tx,
                                                              const v1::ListExperimentsRequest& request) const {
  URSA_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size(), kListPageSizeDefault, kListPageSizeMax));
  URSA_ASSIGN_OR_RETURN(const int64_t before, NumberToken(request.page_token()));
  const auto& experiments = tx.state().All<records::ExperimentRecord>();
  auto it = request.page_token().empty() ? experiments.end() : experiments.lower_bound(before);
  v1::ListExperimentsResponse response;
  int64_t num_bytes = 0;
  while (it != experiments.begin()) {
    if (response.experiments_size() == page_size || num_bytes > env_.options.page_bytes_max) {
      response.set_next_page_token(std::to_string(it->first));
      break;
    }
    --it;
    v1::Experiment* experiment = response.add_experiments();
    *experiment = Summary(tx, it->second);
    num_bytes += static_cast<int64_t>(experiment->ByteSizeLong());
  }
  return response;
}

v1::Experiment Experiments::Change(Tx& tx, const Caller& caller, const std::string& action, const std::string& details,
                                   records::ExperimentRecord record,
                                   const std::function<void(records::TrialRecord*)>& change) const {
  const int64_t id = record.id();
  Mutation mutation;
  mutation.Audit(AuditEvent(env_, caller, action, IdName("experiments", 'e', id), details));
  for (const records::TrialRecord* found : tx.state().TrialsOf(id)) {
    if (HasEnded(found->state())) continue;
    records::TrialRecord trial = *found;
    change(&trial);
    mutation.Put(std::move(trial));
  }
  mutation.Put(std::move(record));
  tx.Apply(std::move(mutation));
  trials_.Derive(tx, {id});
  return Summary(tx, *tx.state().Find<records::ExperimentRecord>(id));
}

absl::StatusOr<v1::Experiment> Experiments::Cancel(Tx& tx, const Caller& caller, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(records::ExperimentRecord record, FindRecord(tx, name));
  if (HasEnded(record.state())) return CannotSince(record, "cancel");
  record.set_wanted(records::ExperimentRecord::WANTED_CANCEL);
  record.set_state(v1::Experiment::STATE_CANCELED);
  record.set_reason(absl::StrCat("canceled by ", caller.actor));
  *record.mutable_end_time() = ToTimestamp(env_.clock->Now());
  return Change(tx, caller, "experiment.cancel", "", std::move(record), [&](records::TrialRecord* trial) {
    EndTrial(env_, v1::Experiment::STATE_CANCELED, absl::StrCat("canceled by ", caller.actor), trial);
    Gangs::RequestEnd(env_, trial);
  });
}

absl::StatusOr<v1::Experiment> Experiments::Pause(Tx& tx, const Caller& caller, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(records::ExperimentRecord record, FindRecord(tx, name));
  if (HasEnded(record.state())) return CannotSince(record, "pause");
  record.set_wanted(records::ExperimentRecord::WANTED_PAUSE);
  return Change(tx, caller, "experiment.pause", "", std::move(record), [&](records::TrialRecord* trial) {
    if (trial->state() == v1::Experiment::STATE_QUEUED) SetTrialState(v1::Experiment::STATE_PAUSED, "", trial);
    if (trial->has_gang()) Gangs::RequestStop(env_, trial);
  });
}

absl::StatusOr<v1::Experiment> Experiments::Resume(Tx& tx, const Caller& caller, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(records::ExperimentRecord record, FindRecord(tx, name));
  if (record.state() != v1::Experiment::STATE_PAUSED) return CannotSince(record, "resume");
  record.set_wanted(records::ExperimentRecord::WANTED_RUN);
  return Change(tx, caller, "experiment.resume", "", std::move(record), [&](records::TrialRecord* trial) {
    if (trial->state() != v1::Experiment::STATE_PAUSED || trial->waits_for_search()) return;
    trial->mutable_demand()->set_queue_position(TakeNumber(tx, kQueuePosition));
    *trial->mutable_demand()->mutable_queue_time() = ToTimestamp(env_.clock->Now());
    SetTrialState(v1::Experiment::STATE_QUEUED, "", trial);
  });
}

}  // namespace ursa
