#include "coordinator/core/imports.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "coordinator/core/failpoints.h"
#include "experiments/manifest.h"
#include "experiments/resource_names.h"
#include "experiments/splitters.h"
#include "storage/blob_store.h"

namespace ursa {
namespace {

constexpr int64_t kIgnoredMax = int64_t{1} << 40;
constexpr size_t kReasonBytesMax = 1024;

std::string Name(int64_t import_id) { return IdName("imports", 'i', import_id); }

}  // namespace

absl::StatusOr<v1::Manifest> ReadManifest(const Environment& env, const std::string& blob_hash) {
  URSA_ASSIGN_OR_RETURN(const std::string bytes,
                        env.blobs->Read(blob_hash, static_cast<uint64_t>(env.options.manifest_bytes_max)));
  v1::Manifest manifest;
  if (!manifest.ParseFromString(bytes)) {
    return absl::DataLossError(absl::StrCat("blob ", blob_hash, ": is no manifest"));
  }
  return manifest;
}

absl::StatusOr<v1::CandidateList> Imports::ReadList(const std::string& hash) const {
  if (!IsDigestHex(hash)) {
    return absl::InvalidArgumentError(
        absl::StrCat("candidates_hash \"", hash.substr(0, kDigestHexLength), "\": is no hash"));
  }
  const auto bytes = env_.blobs->Read(hash, static_cast<uint64_t>(env_.options.candidate_list_bytes_max));
  if (absl::IsNotFound(bytes.status())) {
    return absl::NotFoundError(absl::StrCat("candidate list ", hash, ": not uploaded"));
  }
  URSA_RETURN_IF_ERROR(bytes.status());
  v1::CandidateList list;
  if (!list.ParseFromString(*bytes)) {
    return absl::InvalidArgumentError(absl::StrCat("candidate list ", hash, ": cannot be read"));
  }
  return list;
}

absl::Status Imports::CheckBlobs(const v1::CandidateList& list) const {
  constexpr size_t kHashesPerCall = 100'000;
  std::vector<std::string> hashes;
  const auto check = [this, &hashes, &list]() -> absl::Status {
    URSA_ASSIGN_OR_RETURN(const std::vector<std::string> missing, env_.blobs->FindMissing(hashes));
    hashes.clear();
    if (missing.empty()) return absl::OkStatus();
    const auto it = std::find_if(list.candidates().begin(), list.candidates().end(),
                                 [&missing](const v1::Candidate& c) { return c.hash() == missing[0]; });
    return absl::NotFoundError(
        absl::StrCat("import: the bytes of ", missing.size(), " files are not uploaded, first \"", it->source(), "\""));
  };
  for (const v1::Candidate& candidate : list.candidates()) {
    if (!candidate.refused().empty()) continue;
    hashes.push_back(candidate.hash());
    if (hashes.size() == kHashesPerCall) URSA_RETURN_IF_ERROR(check());
  }
  return check();
}

void Imports::Start(const RequestKey& key, const v1::ImportDatasetRequest& request, Done<v1::Import> done) {
  // Until the import's record refers to the list.
  const auto hold =
      janitor_.TryHold({request.candidates_hash()}, [this, key, request, done] { Start(key, request, done); });
  if (hold == nullptr) return;
  const absl::StatusOr<int64_t> num_candidates = [&]() -> absl::StatusOr<int64_t> {
    URSA_RETURN_IF_ERROR(CheckName("dataset", request.dataset()));
    URSA_RETURN_IF_ERROR(ParseSplitRule(request.split()).status());
    if (request.num_ignored() < 0 || request.num_ignored() > kIgnoredMax) {
      return absl::InvalidArgumentError(absl::StrCat("num_ignored: ", request.num_ignored(), " is out of range"));
    }
    URSA_ASSIGN_OR_RETURN(const v1::CandidateList list, ReadList(request.candidates_hash()));
    URSA_RETURN_IF_ERROR(CheckCandidates(list));
    URSA_RETURN_IF_ERROR(CheckBlobs(list));
    return list.candidates_size();
  }();
  Mutate<v1::Import>(env_, key, std::move(done), [&](Tx& tx) -> absl::StatusOr<v1::Import> {
    URSA_RETURN_IF_ERROR(num_candidates.status());
    if (!aux_tasks_.HasWorker(tx)) {
      return absl::FailedPreconditionError(
          absl::StrCat("import of \"", request.dataset(), "\": the cluster has no worker that could check the files"));
    }
    records::ImportRecord record;
    record.set_id(TakeNumber(tx, "import"));
    record.mutable_import()->set_name(Name(record.id()));
    record.mutable_import()->set_state(v1::Import::STATE_RUNNING);
    record.mutable_import()->set_num_candidates(*num_candidates);
    record.set_dataset(request.dataset());
    record.set_candidates_hash(request.candidates_hash());
    record.set_split(request.split());
    record.set_num_ignored(request.num_ignored());
    record.set_creator(key.caller.actor);
    *record.mutable_create_time() = ToTimestamp(env_.clock->Now());
    records::AuxTaskRecord task;
    task.set_import_id(record.id());
    task.mutable_assignment()->set_device("cpu");
    task.mutable_assignment()->mutable_ingest()->set_candidates_hash(request.candidates_hash());
    record.set_aux_task_id(aux_tasks_.Add(tx, std::move(task)));
    const v1::Import import = record.import();
    tx.Apply(std::move(Mutation()
                           .Audit(AuditEvent(env_, key.caller, "dataset.import", import.name(), request.dataset()))
                           .Put(std::move(record))));
    return import;
  });
}

absl::StatusOr<v1::Import> Imports::Get(const Tx& tx, const std::string& name) const {
  URSA_ASSIGN_OR_RETURN(const int64_t id, ParseIdName("imports", 'i', name));
  const auto* record = tx.state().Find<records::ImportRecord>(id);
  if (record == nullptr) return absl::NotFoundError(absl::StrCat("import i", id, ": not found"));
  return record->import();
}

void Imports::OnReport(Tx& tx, const records::AuxTaskRecord& task, const worker::v1::IngestReport& report) {
  const auto* found = tx.state().Find<records::ImportRecord>(task.import_id());
  if (found == nullptr || report.first() < 0 || report.verdicts().empty() ||
      report.first() + report.verdicts_size() > found->import().num_candidates()) {
    return;
  }
  records::ImportPartRecord part;
  part.set_import_id(task.import_id());
  part.set_first(report.first());
  part.set_count(report.verdicts_size());
  for (int i = 0; i < report.verdicts_size(); ++i) {
    if (report.verdicts(i).refused().empty()) continue;
    auto* refusal = part.add_refusals();
    refusal->set_index(report.first() + i);
    refusal->set_reason(ToValidUtf8(std::string_view(report.verdicts(i).refused()).substr(0, kReasonBytesMax)));
  }
  records::ImportRecord record = *found;
  const auto* before = tx.state().Find<records::ImportPartRecord>(NumberPairKey(part.import_id(), part.first()));
  const int64_t num_new = part.count() - (before == nullptr ? 0 : before->count());
  record.mutable_import()->set_num_checked(record.import().num_checked() + num_new);
  tx.Apply(std::move(Mutation().Put(std::move(part)).Put(std::move(record))));
}

void Imports::DeleteParts(const Tx& tx, int64_t import_id, Mutation* mutation) {
  const auto& parts = tx.state().All<records::ImportPartRecord>();
  for (auto it = parts.lower_bound({import_id, 0}); it != parts.end() && it->first.first == import_id; ++it) {
    mutation->Delete<records::ImportPartRecord>(it->first);
  }
}

void Imports::OnRetry(Tx& tx, const records::AuxTaskRecord& task) {
  const auto* found = tx.state().Find<records::ImportRecord>(task.import_id());
  if (found == nullptr) return;
  Mutation mutation;
  DeleteParts(tx, task.import_id(), &mutation);
  records::ImportRecord record = *found;
  record.mutable_import()->set_num_checked(0);
  tx.Apply(std::move(mutation.Put(std::move(record))));
}

void Imports::OnTaskEnd(Tx& tx, const records::AuxTaskRecord& task, const absl::Status& status) {
  const auto* found = tx.state().Find<records::ImportRecord>(task.import_id());
  if (found == nullptr || found->import().state() != v1::Import::STATE_RUNNING) return;
  if (!status.ok()) return Fail(tx, task.import_id(), status);
  records::ImportRecord record = *found;
  record.set_aux_task_id(0);
  tx.Put(std::move(record));
  ScheduleFinish(tx, task.import_id());
}

void Imports::Restore(Tx& tx) {
  for (const auto& [id, record] : tx.state().All<records::ImportRecord>()) {
    if (record.import().state() == v1::Import::STATE_RUNNING && record.aux_task_id() == 0) ScheduleFinish(tx, id);
  }
}

void Imports::ScheduleFinish(Tx& tx, int64_t import_id) {
  tx.AfterDurable([this, import_id] { env_.executor->Run([this, import_id] { Finish(import_id); }); });
}

void Imports::Fail(Tx& tx, int64_t import_id, const absl::Status& status) {
  const auto* found = tx.state().Find<records::ImportRecord>(import_id);
  if (found == nullptr) return;
  URSA_LOG(INFO) << "import=i" << import_id << " RUNNING->ERROR reason=\"" << status << "\"";
  records::ImportRecord record = *found;
  record.set_aux_task_id(0);
  record.mutable_import()->set_state(v1::Import::STATE_ERROR);
  record.mutable_import()->set_reason(std::string(status.message()));
  Mutation mutation;
  DeleteParts(tx, import_id, &mutation);
  tx.Apply(std::move(mutation.Put(std::move(record))));
}

absl::StatusOr<BuiltManifest> Imports::Build(const records::ImportRecord& record,
                                             const std::vector<records::ImportPartRecord>& parts) const {
  URSA_ASSIGN_OR_RETURN(const v1::CandidateList list, ReadList(record.candidates_hash()));
  const auto size = static_cast<size_t>(list.candidates_size());
  std::vector<std::string> refusals(size);
  std::vector<bool> is_checked(size, false);
  for (const records::ImportPartRecord& part : parts) {
    for (int64_t i = 0; i < part.count(); ++i) is_checked[static_cast<size_t>(part.first() + i)] = true;
    for (const auto& refusal : part.refusals()) refusals[static_cast<size_t>(refusal.index())] = refusal.reason();
  }
  for (size_t i = 0; i < size; ++i) {
    const v1::Candidate& candidate = list.candidates(static_cast<int>(i));
    if (is_checked[i] || !candidate.refused().empty()) continue;
    return absl::InternalError(
        absl::StrCat("import i", record.id(), ": its task said nothing about \"", candidate.source(), "\""));
  }
  return BuildManifest(list, refusals, record.split(), record.num_ignored());
}

void Imports::Finish(int64_t import_id) {
  records::ImportRecord record;
  std::vector<records::ImportPartRecord> parts;
  {
    Tx tx(env_.commit);
    const auto* found = tx.state().Find<records::ImportRecord>(import_id);
    if (found == nullptr || found->import().state() != v1::Import::STATE_RUNNING) return;
    record = *found;
    const auto& all = tx.state().All<records::ImportPartRecord>();
    for (auto it = all.lower_bound({import_id, 0}); it != all.end() && it->first.first == import_id; ++it) {
      parts.push_back(it->second);
    }
  }
  const absl::StatusOr<BuiltManifest> built = Build(record, parts);
  std::unique_ptr<BlobJanitor::Hold> hold;  // until a version refers to its manifest
  const absl::StatusOr<std::string> blob = [&]() -> absl::StatusOr<std::string> {
    URSA_RETURN_IF_ERROR(built.status());
    const std::string bytes = built->manifest.SerializeAsString();
    hold = janitor_.TryHold({Sha256Hex(bytes)}, [this, import_id] { Finish(import_id); });
    if (hold == nullptr) return std::string();
    return env_.blobs->Put(bytes);
  }();
  if (built.ok() && hold == nullptr) return;
  failpoints::import_manifest_stored.Pass();

  Tx tx(env_.commit);
  if (!blob.ok()) return Fail(tx, import_id, blob.status());
  Mutation mutation;
  v1::DatasetVersion version = CommitVersion(tx, record, built->summary, *blob, &mutation);
  URSA_LOG(INFO) << "import=i" << import_id << " RUNNING->COMPLETED version=" << version.name()
                 << " examples=" << version.num_examples() << " refused=" << version.refused_size();
  record.mutable_import()->set_state(v1::Import::STATE_COMPLETED);
  record.mutable_import()->set_num_checked(record.import().num_candidates());
  *record.mutable_import()->mutable_version() = std::move(version);
  DeleteParts(tx, import_id, &mutation);
  tx.Apply(std::move(mutation.Put(std::move(record))));
}

v1::DatasetVersion Imports::CommitVersion(const Tx& tx, const records::ImportRecord& record, v1::DatasetVersion version,
                                          const std::string& manifest_blob, Mutation* mutation) const {
  const int64_t known = tx.state().FindDatasetVersion(record.dataset(), version.manifest_hash());
  if (known > 0) {
    v1::DatasetVersion same =
        tx.state().Find<records::DatasetVersionRecord>(NamedNumberKey(record.dataset(), known))->version();
    same.set_num_duplicates(version.num_duplicates());
    same.set_num_ignored(version.num_ignored());
    *same.mutable_refused() = version.refused();
    return same;
  }
  const auto* latest = tx.state().FindLatestVersion<records::DatasetVersionRecord>(record.dataset());
  version.set_dataset(record.dataset());
  version.set_version(latest == nullptr ? 1 : latest->version().version() + 1);
  VersionRef ref;
  ref.name = record.dataset();
  ref.version = version.version();
  version.set_name(DatasetVersionName(ref));
  *version.mutable_create_time() = ToTimestamp(env_.clock->Now());
  version.set_creator(record.creator());
  version.set_import_name(record.import().name());
  records::DatasetVersionRecord committed;
  *committed.mutable_version() = version;
  committed.set_manifest_blob(manifest_blob);
  mutation->Put(std::move(committed));
  mutation->Audit(
      AuditEvent(env_, Caller{record.creator()}, "dataset.commit", version.name(), version.manifest_hash()));
  return version;
}

}  // namespace ursa
