#include "coordinator/state/state.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <sstream>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "base/digest.h"

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

bool IsGone(const records::Rank& rank) { return rank.gone(); }

}  // namespace

void Changes::Merge(const Changes& other) {
  experiments.insert(other.experiments.begin(), other.experiments.end());
  workers.insert(other.workers.begin(), other.workers.end());
  placement |= other.placement;
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
    row.set_previous_hash(head.hash());
    row.set_hash(AuditHash(head.hash(), row.payload()));
    head.set_sequence(row.sequence());
    head.set_hash(row.hash());
    rows.push_back(std::move(row));
  }
  mutation->Put(std::move(head));
  return rows;
}

template <typename Record>
void State::Put(Record record, Changes* changes) {
  auto& table = Table<Record>();
  const auto [it, is_new] = table.try_emplace(EntityTraits<Record>::KeyOf(record));
  if (!is_new) Index(it->second, -1, changes);
  it->second = std::move(record);
  Index(it->second, 1, changes);
}

template <typename Record>
void State::Delete(const KeyOf<Record>& key, Changes* changes) {
  auto& table = Table<Record>();
  const auto it = table.find(key);
  if (it == table.end()) return;
  Index(it->second, -1, changes);
  table.erase(it);
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
  for (Mutation::Operation& operation : mutation.operations_) {
    std::visit(
        [&](auto& typed) {
          using Traits = OperationTraits<std::decay_t<decltype(typed)>>;
          if constexpr (Traits::kIsPut) {
            Put(std::move(typed.record), &changes);
          } else {
            Delete<typename Traits::Entity>(typed.key, &changes);
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
template <typename Record>
bool AddIfTable(std::string_view table, std::string_view bytes, Mutation* mutation, bool* is_known) {
  if (EntityTraits<Record>::kTable != table) return false;
  Record record;
  *is_known = record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  if (*is_known) mutation->Put(std::move(record));
  return true;
}
template <typename... Records>
struct StoredReader {
  // Whether there is such a table; `is_readable`: whether the bytes are its record.
  static bool Read(std::string_view table, std::string_view bytes, Mutation* mutation, bool* is_readable) {
    return (AddIfTable<Records>(table, bytes, mutation, is_readable) || ...);
  }
};
}  // namespace

absl::Status State::AddStored(std::string_view table, std::string_view bytes, Mutation* mutation) {
  bool is_readable = false;
  if (!AllEntities<StoredReader>::Read(table, bytes, mutation, &is_readable)) {
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
  if (load.slots.empty() && load.experiments.empty() && load.aux_tasks.empty()) loads_.erase(it);
}

void State::Index(const records::ExperimentRecord& experiment, int sign, Changes* changes) {
  const int64_t id = experiment.id();
  changes->experiments.insert(id);
  changes->placement = true;
  num_experiments_[experiment.state()] += sign;
  if (num_experiments_[experiment.state()] == 0) num_experiments_.erase(experiment.state());
  if (experiment.state() == v1::Experiment::STATE_QUEUED && !experiment.has_gang()) {
    const QueueKey key{-experiment.spec().resources().priority(), experiment.queue_position(), id};
    if (sign > 0) {
      queue_.emplace(key, id);
    } else {
      queue_.erase(key);
    }
  }
  if (experiment.has_gang()) {
    if (sign > 0) {
      gangs_.insert(id);
    } else {
      gangs_.erase(id);
    }
    for (const records::Rank& rank : experiment.gang().ranks()) {
      changes->workers.insert(rank.worker_id());
      if (IsGone(rank)) continue;
      WorkerLoad& load = loads_[rank.worker_id()];
      if (sign > 0) {
        load.slots.emplace(rank.slot(), absl::StrCat("e", id));
        load.experiments.insert(id);
      } else {
        load.slots.erase(rank.slot());
        load.experiments.erase(id);
        DropLoadIfEmpty(rank.worker_id());
      }
    }
    CountReference(experiment.gang().model_blob(), sign, changes);
    CountReference(experiment.gang().optimizer_blob(), sign, changes);
  }
  for (const records::CheckpointRecord& checkpoint : experiment.checkpoints()) {
    CountReference(checkpoint.model_blob(), sign, changes);
    CountReference(checkpoint.optimizer_blob(), sign, changes);
  }
}

void State::Index(const records::ProgressRecord& progress, int, Changes* changes) {
  changes->experiments.insert(progress.experiment_id());
}

void State::Index(const records::EpochRecord& epoch, int, Changes* changes) {
  changes->experiments.insert(epoch.experiment_id());
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
  changes->placement = true;
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
  changes->placement = true;
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

int64_t State::NextNumber(const std::string& counter) const {
  const records::CounterRecord* record = Find<records::CounterRecord>(counter);
  return record == nullptr ? 1 : record->value() + 1;
}

const WorkerLoad& State::LoadOf(int64_t worker_id) const {
  static const WorkerLoad* const kNothing = new WorkerLoad();
  const auto it = loads_.find(worker_id);
  return it == loads_.end() ? *kNothing : it->second;
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

template <typename Record>
void ExportTable(const State& state, std::ostream* out) {
  for (const auto& [key, record] : state.All<Record>()) {
    google::protobuf::TextFormat::Printer printer;
    printer.SetSingleLineMode(true);
    std::string text;
    printer.PrintToString(record, &text);
    *out << EntityTraits<Record>::kTable << " " << RecordId(key) << ": " << text << "\n";
  }
}
template <typename... Records>
struct Exporter {
  static void Export(const State& state, std::ostream* out) { (ExportTable<Records>(state, out), ...); }
};

}  // namespace

std::string State::DebugExport() const {
  std::ostringstream out;
  AllEntities<Exporter>::Export(*this, &out);
  for (const auto& [key, id] : queue_)
    out << "queue " << -key.negative_priority << " " << key.position << " e" << id << "\n";
  for (const int64_t id : gangs_) out << "gang e" << id << "\n";
  for (const int64_t id : waiting_aux_) out << "waiting a" << id << "\n";
  for (const auto& [worker, load] : loads_) {
    out << "load w" << worker << ":";
    for (const auto& [slot, task] : load.slots) out << " " << slot << "=" << task;
    for (const int64_t id : load.experiments) out << " e" << id;
    for (const int64_t id : load.aux_tasks) out << " a" << id;
    out << "\n";
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
