#include "tests/crash/store_check.h"

#include <filesystem>
#include <memory>
#include <system_error>
#include <type_traits>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/commit/commit.h"
#include "google/protobuf/message.h"
#include "storage/blob_store.h"
#include "storage/blob_stream.h"
#include "storage/keys.h"
#include "storage/record_store.h"
#include "storage/rocks_kv_store.h"
#include "tests/crash/subject.h"
#include "ursa/v1/datasets.pb.h"

namespace ursa::crash {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kManifestBytesMax = uint64_t{1} << 30;
constexpr int64_t kAuditPage = 1000;

// Tables and blob files never change, so the copy has them by another name; all else is copied.
absl::Status CopyStore(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::remove_all(to, error);
  if (!error) fs::create_directories(to, error);
  for (fs::directory_iterator it(from, error), end; !error && it != end; it.increment(error)) {
    if (!it->is_regular_file()) continue;
    const std::string name = it->path().filename().string();
    if (name == "LOCK" || absl::StartsWith(name, "LOG")) continue;
    const fs::path copy = fs::path(to) / name;
    if (absl::EndsWith(name, ".sst") || absl::EndsWith(name, ".blob")) {
      fs::create_hard_link(it->path(), copy, error);
    } else {
      fs::copy_file(it->path(), copy, error);
    }
  }
  return error ? ErrnoStatus(error.value(), absl::StrCat("copy of ", from)) : absl::OkStatus();
}

bool NamesBlob(const std::string& field) {
  for (const char* name :
       {"model_blob", "optimizer_blob", "manifest_blob", "weights_hash", "candidates_hash", "examples_hash"}) {
    if (field == name) return true;
  }
  return false;
}

// The blobs that a record's fields name, at any depth.
void CollectBlobs(const google::protobuf::Message& message, std::set<std::string>* hashes) {
  using google::protobuf::FieldDescriptor;
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !field->is_repeated() && NamesBlob(field->name())) {
      const std::string hash = reflection.GetString(message, field);
      if (!hash.empty()) hashes->insert(hash);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && field->is_repeated()) {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        CollectBlobs(reflection.GetRepeatedMessage(message, field, i), hashes);
      }
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      CollectBlobs(reflection.GetMessage(message, field), hashes);
    }
  }
}

// Whether the blobs that the record names must be there: those of work that is over may have been deleted.
template <typename Record>
bool NeedsItsBlobs(const Record& record) {
  if constexpr (std::is_same_v<Record, records::ImportRecord>) {
    return record.import().state() == v1::Import::STATE_RUNNING;
  } else if constexpr (std::is_same_v<Record, records::AuxTaskRecord>) {
    return !record.ending() && !record.assignment().has_predict();
  } else {
    return true;
  }
}

template <typename... Records>
struct BlobsOfAll {
  static std::set<std::string> Collect(const State& state) {
    std::set<std::string> hashes;
    (CollectFrom<Records>(state, &hashes), ...);
    return hashes;
  }
  template <typename Record>
  static void CollectFrom(const State& state, std::set<std::string>* hashes) {
    for (const auto& [key, record] : state.All<Record>()) {
      if (NeedsItsBlobs(record)) CollectBlobs(record, hashes);
    }
  }
};

absl::Status CheckAudit(const RecordStore& records, const State& state, const std::map<std::string, int>& expected,
                        StoreReport* report) {
  std::map<std::string, int> found;
  std::string hash(kDigestHexLength, '0');
  int64_t sequence = 0;
  while (sequence < state.audit_head().sequence()) {
    URSA_ASSIGN_OR_RETURN(const auto rows, records.ReadEvents(static_cast<uint64_t>(sequence + 1), kAuditPage));
    if (rows.empty()) return absl::InternalError(absl::StrCat("audit event ", sequence + 1, " is missing"));
    for (const RecordStore::Event& row : rows) {
      records::AuditEventRecord event;
      records::AuditPayload payload;
      if (static_cast<int64_t>(row.sequence) != ++sequence || !event.ParseFromString(row.bytes) ||
          !payload.ParseFromString(event.payload()) || event.previous_hash() != hash ||
          event.hash() != State::AuditHash(hash, event.payload())) {
        return absl::InternalError(absl::StrCat("audit event ", sequence, " does not follow the one before"));
      }
      hash = event.hash();
      ++found[AuditKey(payload.action(), payload.resource())];
    }
  }
  if (hash != state.audit_head().hash() || sequence != state.audit_head().sequence()) {
    return absl::InternalError("the audit log does not end where State says");
  }
  report->num_audit_events = sequence;
  for (const auto& [key, count] : expected) {
    if (found[key] == count) continue;
    return absl::InternalError(
        absl::StrCat("audit event \"", key, "\" is there ", found[key], " times, must be ", count));
  }
  return absl::OkStatus();
}

absl::Status CheckBlobs(const BlobStore& blobs, const State& state, std::set<std::string>* read_before,
                        StoreReport* report) {
  std::set<std::string> hashes = AllEntities<BlobsOfAll>::Collect(state);
  for (const auto& [key, dataset] : state.All<records::DatasetVersionRecord>()) {
    const absl::StatusOr<std::string> bytes = blobs.Read(dataset.manifest_blob(), kManifestBytesMax);
    v1::Manifest manifest;
    if (!bytes.ok() || !manifest.ParseFromString(*bytes)) {
      return absl::InternalError(absl::StrCat("the manifest of ", dataset.version().name(), ": ",
                                              bytes.ok() ? "cannot be parsed" : bytes.status().ToString()));
    }
    for (const v1::Example& example : manifest.examples()) hashes.insert(example.id());
  }
  report->num_blobs = static_cast<int64_t>(hashes.size());
  for (const std::string& hash : hashes) {
    if (read_before->count(hash)) {
      const auto info = blobs.Stat(hash);
      if (!info.ok()) return absl::InternalError(absl::StrCat("named by a record: ", info.status().ToString()));
      continue;
    }
    URSA_ASSIGN_OR_RETURN(const auto info, blobs.Stat(hash));
    const auto reader = blobs.OpenReader(hash);
    uint64_t num_bytes = 0;
    while (reader.ok() && num_bytes < info.size_bytes) {
      const absl::StatusOr<std::string> piece = (*reader)->Next();  // the last one only if the hash of all is right
      if (!piece.ok()) return absl::InternalError(absl::StrCat("named by a record: ", piece.status().ToString()));
      num_bytes += piece->size();
    }
    if (!reader.ok()) return absl::InternalError(absl::StrCat("named by a record: ", reader.status().ToString()));
    report->num_bytes_read += static_cast<int64_t>(num_bytes);
    read_before->insert(hash);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StoreReport> CheckStore(const std::string& data_folder, const std::string& scratch,
                                       const std::map<std::string, int>& expected_audit,
                                       std::set<std::string>* read_before) {
  URSA_RETURN_IF_ERROR(CopyStore(data_folder, scratch));
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<KvStore> store, RocksKvStore::Open(scratch, RocksKvStore::Options()));
  URSA_RETURN_IF_ERROR(CheckStoreFormat(store.get()));
  RecordStore records(store.get());
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Commit> commit, Commit::Open(&records, Commit::Options()));
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<BlobStore> blobs,
                        BlobStore::Open(store.get(), Clock::Real(), BlobStore::Options()));
  const Tx tx(commit.get());
  StoreReport report;
  URSA_RETURN_IF_ERROR(CheckAudit(records, tx.state(), expected_audit, &report));
  URSA_RETURN_IF_ERROR(CheckBlobs(*blobs, tx.state(), read_before, &report));
  return report;
}

}  // namespace ursa::crash
