#include "storage/record_store.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/planted_bug.h"
#include "base/status_macros.h"
#include "storage/coding.h"
#include "storage/failpoints.h"

namespace ursa {
namespace {

std::string Encode(std::string_view bytes) {
  std::string value;
  value.reserve(1 + bytes.size());
  AppendU8(&value, kValueFormat);
  value.append(bytes);
  return value;
}

// The bytes behind the format byte, or nothing if the format is unknown.
std::optional<std::string_view> Decode(std::string_view value) {
  Decoder decoder(value);
  if (decoder.U8() != kValueFormat) return std::nullopt;
  return decoder.Rest();
}

std::string CheckedRecordKey(std::string_view table, std::string_view id) {
  URSA_CHECK_OK(CheckRecordName(table, id));
  return RecordKey(table, id);
}

absl::Status DamagedEvent(std::string_view key) {
  return absl::DataLossError(
      absl::StrCat("event ", absl::BytesToHexString({key.data(), key.size()}), ": its stored form is damaged"));
}

}  // namespace

void RecordBatch::PutBytes(std::string_view table, std::string_view id, std::string_view bytes) {
  batch_.Put(CheckedRecordKey(table, id), Encode(bytes));
}

void RecordBatch::Delete(std::string_view table, std::string_view id) { batch_.Delete(CheckedRecordKey(table, id)); }

void RecordBatch::AddEventBytes(uint64_t sequence, std::string_view bytes) {
  batch_.Put(EventKey(sequence), Encode(bytes));
}

void RecordBatch::Append(RecordBatch other) { batch_.Append(std::move(other.batch_)); }

absl::Status RecordStore::Commit(const RecordBatch& batch) {
  URSA_RETURN_IF_ERROR(failpoints::records_before_commit.Pass());
  URSA_RETURN_IF_ERROR(
      store_->Write(batch.batch_, URSA_PLANTED_BUG(skip_sync) ? Durability::kBuffered : Durability::kSynced));
  failpoints::records_committed.Pass();
  return absl::OkStatus();
}

absl::Status RecordStore::Unparsable(std::string_view table, std::string_view id) {
  return absl::DataLossError(absl::StrCat("record ", absl::string_view(table.data(), table.size()), "/",
                                          absl::CEscape({id.data(), id.size()}), ": its stored form is damaged"));
}

absl::Status RecordStore::VisitRange(const KeyRange& range, const RecordVisitor& visit) const {
  const std::unique_ptr<KvIterator> iterator = store_->NewScan(range);
  for (; iterator->Valid(); iterator->Next()) {
    const std::optional<RecordName> name = ParseRecordKey(iterator->key());
    if (!name.has_value()) return Unparsable("", iterator->key());
    const std::optional<std::string_view> bytes = Decode(iterator->value());
    if (!bytes.has_value()) return Unparsable(name->table, name->id);
    URSA_RETURN_IF_ERROR(visit(name->table, name->id, *bytes));
  }
  return iterator->status();
}

absl::Status RecordStore::VisitAll(const RecordVisitor& visit) const {
  return VisitRange(PrefixRange(PrefixKey(KeyPrefix::kRecord)), visit);
}

absl::StatusOr<std::optional<std::string>> RecordStore::Get(std::string_view table, std::string_view id) const {
  URSA_ASSIGN_OR_RETURN(const std::optional<std::string> value, store_->Get(CheckedRecordKey(table, id)));
  if (!value.has_value()) return std::nullopt;
  const std::optional<std::string_view> bytes = Decode(*value);
  if (!bytes.has_value()) return Unparsable(table, id);
  return std::optional<std::string>(*bytes);
}

absl::StatusOr<std::vector<RecordStore::Event>> RecordStore::ReadEvents(uint64_t begin_sequence, int64_t limit) const {
  URSA_CHECK(limit > 0);
  std::vector<Event> events;
  const std::unique_ptr<KvIterator> iterator =
      store_->NewIterator({EventKey(begin_sequence), PrefixRange(PrefixKey(KeyPrefix::kEvent)).end});
  for (; iterator->Valid() && static_cast<int64_t>(events.size()) < limit; iterator->Next()) {
    const std::optional<uint64_t> sequence = ParseEventKey(iterator->key());
    const std::optional<std::string_view> bytes = Decode(iterator->value());
    if (!sequence.has_value() || !bytes.has_value()) return DamagedEvent(iterator->key());
    events.push_back({*sequence, std::string(*bytes)});
  }
  URSA_RETURN_IF_ERROR(iterator->status());
  return events;
}

absl::StatusOr<std::optional<uint64_t>> RecordStore::LastEventSequence() const {
  URSA_ASSIGN_OR_RETURN(const std::optional<std::string> key,
                        store_->LastKey(PrefixRange(PrefixKey(KeyPrefix::kEvent))));
  if (!key.has_value()) return std::nullopt;
  const std::optional<uint64_t> sequence = ParseEventKey(*key);
  if (!sequence.has_value()) return DamagedEvent(*key);
  return sequence;
}

}  // namespace ursa
