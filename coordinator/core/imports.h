// Imports: from a list of candidates to a dataset version. And looking at the versions.
#ifndef URSA_COORDINATOR_CORE_IMPORTS_H_
#define URSA_COORDINATOR_CORE_IMPORTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/aux_tasks.h"
#include "coordinator/core/blob_janitor.h"
#include "coordinator/core/environment.h"
#include "coordinator/core/requests.h"
#include "experiments/manifest.h"
#include "ursa/v1/datasets.pb.h"

namespace ursa {

//   RUNNING (ingest task) --1--> RUNNING (manifest) --2--> COMPLETED
//              `------------------------'---------3------> ERROR
//   1 the task has said of each file whether it can be decoded     2 the version is committed, or an equal one is there
//   3 the task died too often, or nothing usable is left
//
// Lists and manifests are read and built on the executor. Methods with a transaction are guarded by the coordinator's
// lock.
class Imports {
 public:
  Imports(const Environment* env, AuxTasks* aux_tasks, BlobJanitor* janitor)
      : env_(*env), aux_tasks_(*aux_tasks), janitor_(*janitor) {}

  void Start(const RequestKey& key, const v1::ImportDatasetRequest& request, Done<v1::Import> done);
  absl::StatusOr<v1::Import> Get(const Tx& tx, const std::string& name) const;

  static absl::StatusOr<const records::DatasetVersionRecord*> FindVersion(const Tx& tx, const std::string& name);
  absl::StatusOr<v1::ListDatasetVersionsResponse> List(const Tx& tx,
                                                       const v1::ListDatasetVersionsRequest& request) const;
  void ListExamples(const v1::ListExamplesRequest& request, Done<v1::ListExamplesResponse> done);

  // What the ingest task says.
  void OnReport(Tx& tx, const records::AuxTaskRecord& task, const worker::v1::IngestReport& report);
  void OnTaskEnd(Tx& tx, const records::AuxTaskRecord& task, const absl::Status& status);
  void OnRetry(Tx& tx, const records::AuxTaskRecord& task);

  // Takes up imports whose task had done its work when the last coordinator ended.
  void Restore(Tx& tx);

 private:
  absl::Status CheckBlobs(const v1::CandidateList& list) const;
  absl::StatusOr<v1::CandidateList> ReadList(const std::string& hash) const;
  void ScheduleFinish(Tx& tx, int64_t import_id);
  // Builds and stores the manifest, then commits the version; on the executor.
  void Finish(int64_t import_id);
  absl::StatusOr<BuiltManifest> Build(const records::ImportRecord& record,
                                      const std::vector<records::ImportPartRecord>& parts) const;
  // The next version of the dataset, added to the mutation; or the one that has this content already, with what this
  // import refused and ignored.
  v1::DatasetVersion CommitVersion(const Tx& tx, const records::ImportRecord& record, v1::DatasetVersion version,
                                   const std::string& manifest_blob, Mutation* mutation) const;
  void Fail(Tx& tx, int64_t import_id, const absl::Status& status);
  static void DeleteParts(const Tx& tx, int64_t import_id, Mutation* mutation);

  const Environment& env_;
  AuxTasks& aux_tasks_;
  BlobJanitor& janitor_;
};

// A stored manifest. On the executor. Errors: those of BlobStore, DATA_LOSS.
absl::StatusOr<v1::Manifest> ReadManifest(const Environment& env, const std::string& blob_hash);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_IMPORTS_H_
