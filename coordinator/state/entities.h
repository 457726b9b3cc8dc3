// The kinds of entities that State holds: for each record of storage/v1, its table, its key, and the key as text.
#ifndef URSA_COORDINATOR_STATE_ENTITIES_H_
#define URSA_COORDINATOR_STATE_ENTITIES_H_

#include <cstdint>
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

// The id of a record in its table: unique, readable.
inline std::string RecordId(NumberKey key) { return std::to_string(key); }
inline std::string RecordId(const NameKey& key) { return key; }
inline std::string RecordId(const NamedNumberKey& key) { return key.first + "/" + std::to_string(key.second); }
inline std::string RecordId(const NumberPairKey& key) {
  return std::to_string(key.first) + "/" + std::to_string(key.second);
}
inline std::string RecordId(const NamePairKey& key) { return key.first + "/" + key.second; }

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
URSA_ENTITY(ProgressRecord, "progress", NumberKey, r.experiment_id());
URSA_ENTITY(EpochRecord, "epoch", NumberPairKey, NumberPairKey(r.experiment_id(), r.row().epoch()));
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

// All kinds, in the order in which they are exported.
template <template <typename...> class List>
using AllEntities =
    List<records::CounterRecord, records::ExperimentRecord, records::ProgressRecord, records::EpochRecord,
         records::DatasetVersionRecord, records::ImportRecord, records::ImportPartRecord, records::ModelRecord,
         records::ModelVersionRecord, records::ModelEventRecord, records::EvaluationRecord, records::ComparisonRecord,
         records::WorkerRecord, records::TokenRecord, records::RequestRecord, records::AuxTaskRecord,
         records::GarbageRecord, records::AuditHeadRecord>;

}  // namespace ursa

#endif  // URSA_COORDINATOR_STATE_ENTITIES_H_
