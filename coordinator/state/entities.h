// The kinds of entities that State holds: for each record of storage/v1, its table, its key, and the key as text.
#ifndef URSA_COORDINATOR_STATE_ENTITIES_H_
#define URSA_COORDINATOR_STATE_ENTITIES_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "ursa/storage/v1/records.pb.h"

namespace ursa {

namespace records = ::ursa::storage::v1;

// Keys of entities. Pairs order versions of one model, epochs of one experiment and so on beside each other.
using NumberKey = int64_t;
using NameKey = std::string;
using NamedNumberKey = std::pair<std::string, int64_t>;
using NumberPairKey = std::pair<int64_t, int64_t>;
using NamePairKey = std::pair<std::string, std::string>;
using TrialId = NumberPairKey;  // experiment's number, trial's number

// An epoch of a trial. A type of its own, as its text names the first trial by leaving it out.
struct TrialEpochKey {
  TrialId trial;
  int64_t epoch = 0;
  friend bool operator<(const TrialEpochKey& a, const TrialEpochKey& b) {
    return std::tie(a.trial, a.epoch) < std::tie(b.trial, b.epoch);
  }
};
// What there is once for each trial; its text too leaves out the first trial.
struct PerTrialKey {
  TrialId trial;
  friend bool operator<(const PerTrialKey& a, const PerTrialKey& b) { return a.trial < b.trial; }
};

inline constexpr int64_t kFirstTrial = 1;
inline constexpr char kDefaultPool[] = "default";  // of workers that name none

// The id of a record in its table: unique, readable.
inline std::string RecordId(NumberKey key) { return std::to_string(key); }
inline std::string RecordId(const NameKey& key) { return key; }
inline std::string RecordId(const NamedNumberKey& key) { return key.first + "/" + std::to_string(key.second); }
inline std::string RecordId(const NumberPairKey& key) {
  return std::to_string(key.first) + "/" + std::to_string(key.second);
}
inline std::string RecordId(const NamePairKey& key) { return key.first + "/" + key.second; }
inline std::string RecordId(const PerTrialKey& key) {
  const std::string experiment = std::to_string(key.trial.first);
  return key.trial.second == kFirstTrial ? experiment : experiment + "/" + std::to_string(key.trial.second);
}
inline std::string RecordId(const TrialEpochKey& key) {
  const std::string first = std::to_string(key.trial.first) + "/" + std::to_string(key.epoch);
  return key.trial.second == kFirstTrial ? first : first + "/" + std::to_string(key.trial.second);
}

// COMPLETED, CANCELED or ERROR: nothing more will change.
inline bool HasEnded(v1::Experiment::State state) {
  return state == v1::Experiment::STATE_COMPLETED || state == v1::Experiment::STATE_CANCELED ||
         state == v1::Experiment::STATE_ERROR;
}

// The trial of a record that was written before there were others than the first.
inline TrialId TrialOf(int64_t experiment_id, int64_t trial) {
  return {experiment_id, trial == 0 ? kFirstTrial : trial};
}

template <typename Record>
struct EntityTraits;

// Table names are on disk: never change one.
#define URSA_ENTITY(RECORD, TABLE, KEY_TYPE, KEY_EXPRESSION)              \
  template <>                                                             \
  struct EntityTraits<records::RECORD> {                                  \
    using Key = KEY_TYPE;                                                 \
    static constexpr std::string_view kTable = TABLE;                     \
    static Key KeyOf(const records::RECORD& r) { return KEY_EXPRESSION; } \
  }

URSA_ENTITY(CounterRecord, "counter", NameKey, r.name());
URSA_ENTITY(ExperimentRecord, "experiment", NumberKey, r.id());
URSA_ENTITY(TrialRecord, "trial", TrialId, TrialId(r.experiment_id(), r.number()));
URSA_ENTITY(ProgressRecord, "progress", PerTrialKey, PerTrialKey{TrialOf(r.experiment_id(), r.trial())});
URSA_ENTITY(EpochRecord, "epoch", TrialEpochKey,
            (TrialEpochKey{TrialOf(r.experiment_id(), r.trial()), r.row().epoch()}));
URSA_ENTITY(SearchFactRecord, "search_fact", NumberPairKey, NumberPairKey(r.experiment_id(), r.number()));
URSA_ENTITY(DatasetVersionRecord, "dataset", NamedNumberKey,
            NamedNumberKey(r.version().dataset(), r.version().version()));
URSA_ENTITY(ImportRecord, "import", NumberKey, r.id());
URSA_ENTITY(ImportPartRecord, "import_part", NumberPairKey, NumberPairKey(r.import_id(), r.first()));
URSA_ENTITY(ModelRecord, "model", NameKey, r.model());
URSA_ENTITY(ModelVersionRecord, "model_version", NamedNumberKey,
            NamedNumberKey(r.version().model(), r.version().version()));
URSA_ENTITY(ModelEventRecord, "model_event", NamedNumberKey, NamedNumberKey(r.model(), r.number()));
URSA_ENTITY(EvaluationRecord, "evaluation", NumberKey, r.id());
URSA_ENTITY(ComparisonRecord, "comparison", NumberKey, r.id());
URSA_ENTITY(WorkerRecord, "worker", NumberKey, r.id());
URSA_ENTITY(TokenRecord, "token", NameKey, r.name());
URSA_ENTITY(RequestRecord, "request", NamePairKey, NamePairKey(r.actor(), r.request_id()));
URSA_ENTITY(AuxTaskRecord, "aux", NumberKey, r.id());
URSA_ENTITY(GarbageRecord, "garbage", NameKey, r.hash());
URSA_ENTITY(UsageRecord, "usage", NamePairKey, NamePairKey(r.kind() + "/" + r.pool(), r.user()));
#undef URSA_ENTITY

// There is one of it.
template <>
struct EntityTraits<records::AuditHeadRecord> {
  using Key = NameKey;
  static constexpr std::string_view kTable = "audit";
  static Key KeyOf(const records::AuditHeadRecord&) { return "head"; }
};

template <typename Record>
using KeyOf = typename EntityTraits<Record>::Key;

// How State holds the entities of a kind; a node is one of them on its way into its table, and moves without a copy.
template <typename Record>
using EntityTable = std::map<KeyOf<Record>, Record>;
template <typename Record>
using EntityNode = typename EntityTable<Record>::node_type;

// An empty record to be filled in place; its key is not set.
template <typename Record>
EntityNode<Record> MakeEntityNode() {
  EntityTable<Record> table;
  return table.extract(table.try_emplace(KeyOf<Record>()).first);
}

// All kinds, in the order in which they are exported.
template <template <typename...> class List>
using AllEntities =
    List<records::CounterRecord, records::ExperimentRecord, records::TrialRecord, records::ProgressRecord,
         records::EpochRecord, records::SearchFactRecord, records::DatasetVersionRecord, records::ImportRecord,
         records::ImportPartRecord, records::ModelRecord, records::ModelVersionRecord, records::ModelEventRecord,
         records::EvaluationRecord, records::ComparisonRecord, records::WorkerRecord, records::TokenRecord,
         records::RequestRecord, records::AuxTaskRecord, records::GarbageRecord, records::UsageRecord,
         records::AuditHeadRecord>;

}  // namespace ursa

#endif  // URSA_COORDINATOR_STATE_ENTITIES_H_
