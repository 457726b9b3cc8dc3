#include "coordinator/state/state.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <sstream>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/planted_bug.h"
#include "coordinator/state/task_name.h"

namespace ursa {
namespace {

// Serialized with map entries in order of their keys: the same entity gives the same bytes.
std::string Serialize(const google::protobuf::Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

const std::string& NoHash() {
  static const std::string* const kZeros = new std::string(kDigestHexLength, '0');
  return *kZeros;
}

// Adds `id` to the set under `key`, or takes it away and drops a set that is empty.
template <typename Map, typename Key>
void IndexSet(Map* map, const Key& key, int64_t id, int sign) {
  if (sign > 0) {
    (*map)[key].insert(id);
    return;
  }
  const auto it = map->find(key);
  it->second.erase(id);
  if (it->second.empty()) map->erase(it);
}

template <typename Map, typename Key>
const std::set<int64_t>& FindSet(const Map& map, const Key& key) {
  static const std::set<int64_t>* const kEmpty = new std::set<int64_t>();
  const auto it = map.find(key);
  return it == map.end() ? *kEmpty : it->second;
}

int64_t Micros(const google::protobuf::Timestamp& time) { return time.seconds() * 1'000'000 + time.nanos() / 1000; }

}  // namespace

void Changes::Merge(const Changes& other) {
  experiments.insert(other.experiments.begin(), other.experiments.end());
  workers.insert(other.workers.begin(), other.workers.end());
  trials.insert(other.trials.begin(), other.trials.end());
  aux_tasks.insert(other.aux_tasks.begin(), other.aux_tasks.end());
  worker_records.insert(other.worker_records.begin(), other.worker_records.end());
  unreferenced_blobs.insert(other.unreferenced_blobs.begin(), other.unreferenced_blobs.end());
}

std::string State::AuditHash(std::string_view previous_hash, std::string_view payload) {
  return Sha256Hex(std::string(previous_hash) + Sha256Hex(payload));
}

std::vector<records::AuditEventRecord> State::ChainAudit(Mutation* mutation) const {
  std::vector<records::AuditEventRecord> rows;
  if (mutation->audit_.empty()) return rows;
  records::AuditHeadRecord head = audit_head();
  for (records::AuditPayload& payload : mutation->audit_) {
    payload.set_sequence(head.sequence() + 1);
    records::AuditEventRecord row;
    row.set_sequence(payload.sequence());
    row.set_payload(Serialize(payload));
    row.set_previous_hash(URSA_PLANTED_BUG(break_audit_chain) && row.sequence() % 10 == 0 ? NoHash() : head.hash());
    row.set_hash(AuditHash(head.hash(), row.payload()));
    head.set_sequence(row.sequence());
    head.set_hash(row.hash());
    rows.push_back(std::move(row));
  }
  mutation->Put(std::move(head));
  return rows;
}

template <typename Record>
void State::Put(EntityNode<Record> node, Places* places, Changes* changes) {
  auto& next = std::get<typename EntityTable<Record>::iterator>(places->next);
  const auto it = Table<Record>().insert(next, std::move(node));
  next = std::next(it);
  if (!node.empty()) {  // not taken: there is an entity of that key
    Index(it->second, -1, changes);
    it->second = std::move(node.mapped());
  }
  Index(it->second, 1, changes);
}

template <typename Record>
void State::Delete(const KeyOf<Record>& key, Places* places, Changes* changes) {
  auto& table = Table<Record>();
  const auto it = table.find(key);
  if (it == table.end()) return;
  Index(it->second, -1, changes);
  std::get<typename EntityTable<Record>::iterator>(places->next) = table.erase(it);
}

namespace {
template <typename T>
struct OperationTraits;
template <typename Record>
struct OperationTraits<Mutation::PutOperation<Record>> {
  static constexpr bool kIsPut = true;
  using Entity = Record;
};
template <typename Record>
struct OperationTraits<Mutation::DeleteOperation<Record>> {
  static constexpr bool kIsPut = false;
  using Entity = Record;
};
}  // namespace

Changes State::Apply(Mutation mutation, CommitKey) {
  Changes changes;
  Places places(this);
  for (Mutation::Operation& operation : mutation.operations_) {
    std::visit(
        [&](auto& typed) {
          using Traits = OperationTraits<std::decay_t<decltype(typed)>>;
          if constexpr (Traits::kIsPut) {
            Put<typename Traits::Entity>(std::move(typed.node), &places, &changes);
          } else {
            Delete<typename Traits::Entity>(typed.key, &places, &changes);
          }
        },
        operation);
  }
  // A blob may have lost one reference and got another.
  for (auto it = changes.unreferenced_blobs.begin(); it != changes.unreferenced_blobs.end();) {
    it = references_.count(*it) ? changes.unreferenced_blobs.erase(it) : std::next(it);
  }
  return changes;
}

namespace {

// An experiment that was written when it had but one trial, in itself: moves that into a record of its own.
bool SplitOldExperiment(records::ExperimentRecord* experiment, Mutation* mutation) {
  if (experiment->num_trials() > 0) return false;
  records::TrialRecord trial;
  trial.set_experiment_id(experiment->id());
  trial.set_number(kFirstTrial);
  trial.set_state(experiment->state());
  trial.set_reason(experiment->reason());
  if (experiment->has_start_time()) *trial.mutable_start_time() = experiment->start_time();
  if (experiment->has_end_time()) *trial.mutable_end_time() = experiment->end_time();
  records::Demand* demand = trial.mutable_demand();
  demand->set_slots(experiment->spec().resources().slots_per_trial());
  demand->set_kind(experiment->spec().execution().device());
  demand->set_simd(experiment->spec().execution().simd());
  demand->set_priority(experiment->spec().resources().priority());
  demand->set_queue_position(experiment->old_queue_position());
  demand->set_pool(kDefaultPool);
  demand->set_user(experiment->creator());
  *demand->mutable_queue_time() = experiment->create_time();
  trial.set_epoch(experiment->old_epoch());
  if (experiment->has_old_gang()) trial.mutable_gang()->Swap(experiment->mutable_old_gang());
  trial.set_restarts(experiment->old_restarts());
  trial.set_resumed_from_step(experiment->old_resumed_from_step());
  trial.mutable_checkpoints()->Swap(experiment->mutable_old_checkpoints());
  trial.mutable_metrics()->swap(*experiment->mutable_old_metrics());
  trial.set_trained_to_step(experiment->old_trained_to_step());
  trial.set_num_steps(experiment->num_steps());
  trial.set_num_epochs(experiment->num_epochs());
  experiment->set_num_trials(1);
  experiment->clear_old_queue_position();
  experiment->clear_old_epoch();
  experiment->clear_old_gang();
  experiment->clear_old_restarts();
  experiment->clear_old_resumed_from_step();
  experiment->clear_old_trained_to_step();
  mutation->Put(std::move(trial));
  return true;
}

template <typename Record>
bool Modernize(Record*, Mutation*) {
  return false;
}
bool Modernize(records::ExperimentRecord* experiment, Mutation* mutation) {
  return SplitOldExperiment(experiment, mutation);
}

template <typename Record>
bool AddIfTable(std::string_view table, std::string_view bytes, Mutation* mutation, bool* is_readable,
                bool* must_be_stored) {
  if (EntityTraits<Record>::kTable != table) return false;
  EntityNode<Record> node = MakeEntityNode<Record>();
  *is_readable = node.mapped().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  if (!*is_readable) return true;
  if (Modernize(&node.mapped(), mutation)) *must_be_stored = true;
  mutation->PutNode<Record>(std::move(node));
  return true;
}
template <typename... Records>
struct StoredReader {
  // Whether there is such a table; `is_readable`: whether the bytes are its record.
  static bool Read(std::string_view table, std::string_view bytes, Mutation* mutation, bool* is_readable,
                   bool* must_be_stored) {
    return (AddIfTable<Records>(table, bytes, mutation, is_readable, must_be_stored) || ...);
  }
};
}  // namespace

absl::Status State::AddStored(std::string_view table, std::string_view bytes, Mutation* mutation,
                              bool* must_be_stored) {
  bool is_readable = false;
  if (!AllEntities<StoredReader>::Read(table, bytes, mutation, &is_readable, must_be_stored)) {
    return absl::DataLossError(absl::StrCat("table \"", std::string(table), "\": not known to this version of Ursa"));
  }
  if (!is_readable) {
    return absl::DataLossError(absl::StrCat("table \"", std::string(table), "\": a record cannot be read"));
  }
  return absl::OkStatus();
}

void State::CountReference(const std::string& blob_hash, int sign, Changes* changes) {
  if (blob_hash.empty()) return;
  const auto it = references_.try_emplace(blob_hash, 0).first;
  it->second += sign;
  if (it->second == 0) {
    references_.erase(it);
    changes->unreferenced_blobs.insert(blob_hash);
  }
}

void State::DropLoadIfEmpty(int64_t worker_id) {
  const auto it = loads_.find(worker_id);
  if (it == loads_.end()) return;
  const WorkerLoad& load = it->second;
  if (load.slots.empty() && load.trials.empty() && load.aux_tasks.empty()) loads_.erase(it);
}

void State::Index(const records::ExperimentRecord& experiment, int sign, Changes* changes) {
  changes->experiments.insert(experiment.id());
  num_experiments_[experiment.state()] += sign;
  if (num_experiments_[experiment.state()] == 0) num_experiments_.erase(experiment.state());
}

void State::Index(const records::TrialRecord& trial, int sign, Changes* changes) {
  const TrialId id(trial.experiment_id(), trial.number());
  changes->experiments.insert(id.first);
  changes->trials.insert(id);
  TrialCounts& counts = trial_counts_[id.first];
  counts.total += sign;
  if (!HasEnded(trial.state())) counts.open += sign;
  if (trial.has_gang()) counts.gangs += sign;
  if (counts.total == 0) trial_counts_.erase(id.first);
  if (trial.state() == v1::Experiment::STATE_QUEUED && !trial.has_gang()) {
    if (sign > 0) {
      waiting_trials_.insert(id);
    } else {
      waiting_trials_.erase(id);
    }
  }
  if (trial.has_gang()) IndexGang(trial, sign, changes);
  for (const records::CheckpointRecord& checkpoint : trial.checkpoints()) {
    CountReference(checkpoint.model_blob(), sign, changes);
    CountReference(checkpoint.optimizer_blob(), sign, changes);
  }
}

void State::IndexGang(const records::TrialRecord& trial, int sign, Changes* changes) {
  const TrialId id(trial.experiment_id(), trial.number());
  if (sign > 0) {
    gangs_.insert(id);
  } else {
    gangs_.erase(id);
  }
  for (const records::Rank& rank : trial.gang().ranks()) {
    changes->workers.insert(rank.worker_id());
    if (rank.gone()) continue;
    WorkerLoad& load = loads_[rank.worker_id()];
    if (sign > 0) {
      load.slots.emplace(rank.slot(), TaskName(id));
      load.trials.insert(id);
    } else {
      if (!URSA_PLANTED_BUG(keep_load)) load.slots.erase(rank.slot());
      load.trials.erase(id);
      DropLoadIfEmpty(rank.worker_id());
    }
  }
  CountReference(trial.gang().model_blob(), sign, changes);
  CountReference(trial.gang().optimizer_blob(), sign, changes);
}

void State::Index(const records::ProgressRecord& progress, int, Changes* changes) {
  changes->experiments.insert(progress.experiment_id());
}

void State::Index(const records::EpochRecord& epoch, int, Changes* changes) {
  changes->experiments.insert(epoch.experiment_id());
  changes->trials.insert(TrialOf(epoch.experiment_id(), epoch.trial()));
}

void State::Index(const records::DatasetVersionRecord& record, int sign, Changes* changes) {
  const std::pair<std::string, std::string> key(record.version().dataset(), record.version().manifest_hash());
  if (sign > 0) {
    dataset_versions_.emplace(key, record.version().version());
  } else {
    dataset_versions_.erase(key);
  }
  CountReference(record.manifest_blob(), sign, changes);
}

void State::Index(const records::ImportRecord& record, int sign, Changes* changes) {
  if (record.import().state() == v1::Import::STATE_RUNNING) {
    CountReference(record.candidates_hash(), sign, changes);
  }
}

void State::Index(const records::ModelVersionRecord& record, int sign, Changes* changes) {
  CountReference(record.version().weights_hash(), sign, changes);
}

void State::Index(const records::EvaluationRecord& record, int sign, Changes*) {
  IndexSet(&evaluations_, record.evaluation().model(), record.id(), sign);
}

void State::Index(const records::ComparisonRecord& record, int sign, Changes*) {
  IndexSet(&comparisons_, std::make_pair(record.comparison().candidate(), record.comparison().baseline()), record.id(),
           sign);
}

void State::Index(const records::WorkerRecord& worker, int, Changes* changes) {
  changes->workers.insert(worker.id());
  changes->worker_records.insert(worker.id());
}

void State::Index(const records::TokenRecord& token, int sign, Changes*) {
  if (sign > 0) {
    token_names_.emplace(token.hash(), token.name());
  } else {
    token_names_.erase(token.hash());
  }
}

void State::Index(const records::RequestRecord& request, int sign, Changes*) {
  const std::pair<int64_t, NamePairKey> key(Micros(request.time()),
                                            EntityTraits<records::RequestRecord>::KeyOf(request));
  if (sign > 0) {
    requests_by_time_.insert(key);
  } else {
    requests_by_time_.erase(key);
  }
}

void State::Index(const records::AuxTaskRecord& task, int sign, Changes* changes) {
  changes->aux_tasks.insert(task.id());
  if (task.assignment().has_evaluate()) CountReference(task.assignment().evaluate().examples_hash(), sign, changes);
  if (task.worker_id() == 0) {
    if (sign > 0) {
      waiting_aux_.insert(task.id());
    } else {
      waiting_aux_.erase(task.id());
    }
    return;
  }
  changes->workers.insert(task.worker_id());
  WorkerLoad& load = loads_[task.worker_id()];
  if (sign > 0) {
    load.aux_tasks.insert(task.id());
    if (task.slot() >= 0) load.slots.emplace(task.slot(), absl::StrCat("a", task.id()));
  } else {
    load.aux_tasks.erase(task.id());
    if (task.slot() >= 0) load.slots.erase(task.slot());
    DropLoadIfEmpty(task.worker_id());
  }
}

std::vector<const records::TrialRecord*> State::TrialsOf(int64_t experiment_id) const {
  std::vector<const records::TrialRecord*> trials;
  const auto& table = All<records::TrialRecord>();
  for (auto it = table.lower_bound({experiment_id, 0}); it != table.end() && it->first.first == experiment_id; ++it) {
    trials.push_back(&it->second);
  }
  return trials;
}

int64_t State::NextNumber(const std::string& counter) const {
  const records::CounterRecord* record = Find<records::CounterRecord>(counter);
  return record == nullptr ? 1 : record->value() + 1;
}

const WorkerLoad& State::LoadOf(int64_t worker_id) const {
  static const WorkerLoad* const kNothing = new WorkerLoad();
  const auto it = loads_.find(worker_id);
  return it == loads_.end() ? *kNothing : it->second;
}

TrialCounts State::CountsOf(int64_t experiment_id) const {
  const auto it = trial_counts_.find(experiment_id);
  return it == trial_counts_.end() ? TrialCounts() : it->second;
}

int64_t State::NumExperiments(v1::Experiment::State state) const {
  const auto it = num_experiments_.find(state);
  return it == num_experiments_.end() ? 0 : it->second;
}

int64_t State::NumReferences(const std::string& blob_hash) const {
  const auto it = references_.find(blob_hash);
  return it == references_.end() ? 0 : it->second;
}

int64_t State::FindDatasetVersion(const std::string& dataset, const std::string& manifest_hash) const {
  const auto it = dataset_versions_.find({dataset, manifest_hash});
  return it == dataset_versions_.end() ? 0 : it->second;
}

const records::TokenRecord* State::FindToken(const std::string& token_hash) const {
  const auto it = token_names_.find(token_hash);
  return it == token_names_.end() ? nullptr : Find<records::TokenRecord>(it->second);
}

const std::set<int64_t>& State::ComparisonsOf(const std::string& candidate, const std::string& baseline) const {
  return FindSet(comparisons_, std::make_pair(candidate, baseline));
}

const std::set<int64_t>& State::EvaluationsOf(const std::string& model_version) const {
  return FindSet(evaluations_, model_version);
}

const records::AuditHeadRecord& State::audit_head() const {
  static const records::AuditHeadRecord* const kStart = [] {
    auto* head = new records::AuditHeadRecord();
    head->set_hash(NoHash());
    return head;
  }();
  const records::AuditHeadRecord* head = Find<records::AuditHeadRecord>("head");
  return head == nullptr ? *kStart : *head;
}

namespace {

using google::protobuf::io::CodedOutputStream;

void Export(const google::protobuf::Message& record, bool readable, CodedOutputStream* out) {
  if (!readable) {
    record.SerializeToCodedStream(out);
    return;
  }
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text;
  printer.PrintToString(record, &text);
  out->WriteString(text);
}

template <typename Record>
void ExportTable(const State& state, bool readable, CodedOutputStream* out) {
  const std::string begin = std::string(EntityTraits<Record>::kTable) + " ";
  for (const auto& [key, record] : state.All<Record>()) {
    out->WriteString(begin);
    out->WriteString(RecordId(key));
    out->WriteString(": ");
    Export(record, readable, out);
    out->WriteString("\n");
  }
}
template <typename... Records>
struct Exporter {
  static void Export(const State& state, bool readable, CodedOutputStream* out) {
    (ExportTable<Records>(state, readable, out), ...);
  }
};

}  // namespace

std::string State::DebugExport(bool readable) const {
  std::string records;
  {
    google::protobuf::io::StringOutputStream stream(&records);
    CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);  // maps
    AllEntities<Exporter>::Export(*this, readable, &coded);
  }
  std::ostringstream out(std::move(records), std::ios::ate);
  for (const TrialId& id : waiting_trials_) out << "waiting " << TaskName(id) << "\n";
  for (const TrialId& id : gangs_) out << "gang " << TaskName(id) << "\n";
  for (const int64_t id : waiting_aux_) out << "waiting a" << id << "\n";
  for (const auto& [worker, load] : loads_) {
    out << "load w" << worker << ":";
    for (const auto& [slot, task] : load.slots) out << " " << slot << "=" << task;
    for (const TrialId& id : load.trials) out << " " << TaskName(id);
    for (const int64_t id : load.aux_tasks) out << " a" << id;
    out << "\n";
  }
  const std::map<int64_t, TrialCounts> trial_counts(trial_counts_.begin(), trial_counts_.end());
  for (const auto& [id, counts] : trial_counts) {
    out << "trials e" << id << " " << counts.total << " open " << counts.open << " gangs " << counts.gangs << "\n";
  }
  for (const auto& [state, count] : num_experiments_) out << "experiments in state " << state << ": " << count << "\n";
  const std::map<std::string, int64_t> references(references_.begin(), references_.end());
  for (const auto& [hash, count] : references) out << "references " << hash << " " << count << "\n";
  for (const auto& [key, version] : dataset_versions_)
    out << "content " << key.first << " " << key.second << " " << version << "\n";
  for (const auto& [hash, name] : token_names_) out << "token " << hash << " " << name << "\n";
  for (const auto& [micros, key] : requests_by_time_) out << "request " << micros << " " << RecordId(key) << "\n";
  for (const auto& [versions, ids] : comparisons_) {
    out << "comparisons " << versions.first << " " << versions.second << ":";
    for (const int64_t id : ids) out << " c" << id;
    out << "\n";
  }
  for (const auto& [version, ids] : evaluations_) {
    out << "evaluations " << version << ":";
    for (const int64_t id : ids) out << " v" << id;
    out << "\n";
  }
  return out.str();
}

}  // namespace ursa
