// All that the coordinator has decided, as values in ordered containers.
#ifndef URSA_COORDINATOR_STATE_STATE_H_
#define URSA_COORDINATOR_STATE_STATE_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "coordinator/state/entities.h"
#include "coordinator/state/mutation.h"

namespace ursa {

// What occupies one worker: gangs whose rank there is not gone, auxiliary tasks that are placed there.
struct WorkerLoad {
  std::map<int32_t, std::string> slots;  // slot -> "t17.1" or "a4"
  std::set<TrialId> trials;
  std::set<int64_t> aux_tasks;
};

// How an experiment's trials stand.
struct TrialCounts {
  int64_t total = 0;
  int64_t open = 0;  // neither COMPLETED, CANCELED nor ERROR
  int64_t gangs = 0;
};

// What a mutation touched; for whoever has to tell the outside.
struct Changes {
  std::set<int64_t> experiments;             // shown otherwise than before
  std::set<int64_t> workers;                 // what should run there may have changed
  std::set<TrialId> trials;                  // of which something changed: their state, slots, epochs
  std::set<int64_t> aux_tasks;               // the same
  std::set<int64_t> worker_records;          // put or deleted
  std::set<std::string> unreferenced_blobs;  // nothing in State refers to them any more

  bool empty() const {
    return experiments.empty() && workers.empty() && trials.empty() && aux_tasks.empty() && worker_records.empty() &&
           unreferenced_blobs.empty();
  }
  void Merge(const Changes& other);
};

// Entities by kind and key, and indexes derived from them. Pure: no clock, no I/O, no lock, no randomness; the same
// mutations give the same State, and so does one put per entity that is left. Not thread-safe (Commit holds it under
// the coordinator's lock).
class State {
 public:
  // Proof of being Commit: nobody else changes a State.
  class CommitKey {
    friend class Commit;
    friend class StateTestPeer;
    CommitKey() {}
  };

  // The one way to change. A valid mutation cannot fail. Returns what it touched.
  Changes Apply(Mutation mutation, CommitKey);

  // Gives the mutation's audit events their numbers and their places in the hash chain, and adds the new head of the
  // chain to the mutation. Returns the rows of the audit log. Changes nothing here.
  std::vector<records::AuditEventRecord> ChainAudit(Mutation* mutation) const;

  // The hash of an audit row: SHA-256(previous_hash + SHA-256(payload)).
  static std::string AuditHash(std::string_view previous_hash, std::string_view payload);

  // Reads a stored record into a mutation that puts it. What an older version wrote comes in today's form: then
  // `must_be_stored` is set, and the mutation has to be written before anything else is. DATA_LOSS: an unknown table,
  // or bytes that are no such record.
  static absl::Status AddStored(std::string_view table, std::string_view bytes, Mutation* mutation,
                                bool* must_be_stored);

  // Null if there is none. Good until the next Apply.
  template <typename Record>
  const Record* Find(const KeyOf<Record>& key) const {
    const auto& table = All<Record>();
    const auto it = table.find(key);
    return it == table.end() ? nullptr : &it->second;
  }
  template <typename Record>
  const EntityTable<Record>& All() const {
    return std::get<EntityTable<Record>>(tables_);
  }
  // The newest version of a dataset (DatasetVersionRecord) or a model (ModelVersionRecord) of that name; null: none.
  template <typename Record>
  const Record* FindLatestVersion(const std::string& name) const {
    const auto& table = All<Record>();
    auto it = table.upper_bound(NamedNumberKey(name, INT64_MAX));
    if (it == table.begin()) return nullptr;
    --it;
    return it->first.first == name ? &it->second : nullptr;
  }

  // The trials of an experiment, by number: a range of All<TrialRecord>().
  std::vector<const records::TrialRecord*> TrialsOf(int64_t experiment_id) const;

  // The number after the last one given out under that name; the caller puts the counter.
  int64_t NextNumber(const std::string& counter) const;

  // Queued trials of which nothing runs.
  const std::set<TrialId>& waiting_trials() const { return waiting_trials_; }
  // Trials that have a gang.
  const std::set<TrialId>& gangs() const { return gangs_; }
  // Auxiliary tasks that wait for a place.
  const std::set<int64_t>& waiting_aux_tasks() const { return waiting_aux_; }
  // What occupies the worker; empty if nothing does.
  const WorkerLoad& LoadOf(int64_t worker_id) const;
  TrialCounts CountsOf(int64_t experiment_id) const;
  int64_t NumExperiments(v1::Experiment::State state) const;
  // How many entities refer to the blob, of those kinds whose blobs the coordinator may delete.
  int64_t NumReferences(const std::string& blob_hash) const;
  // The version of `dataset` with that content; 0: none.
  int64_t FindDatasetVersion(const std::string& dataset, const std::string& manifest_hash) const;
  // Null if no token has that hash.
  const records::TokenRecord* FindToken(const std::string& token_hash) const;
  // Requests by time, oldest first.
  const std::set<std::pair<int64_t, NamePairKey>>& requests_by_time() const { return requests_by_time_; }
  // Comparisons of two versions ("models/bears/versions/2"), and evaluations of one, oldest first.
  const std::set<int64_t>& ComparisonsOf(const std::string& candidate, const std::string& baseline) const;
  const std::set<int64_t>& EvaluationsOf(const std::string& model_version) const;
  const records::AuditHeadRecord& audit_head() const;

  // Everything in a fixed order: entities, then indexes. Equal states have equal exports. With `readable` false the
  // entities are as protobuf's wire format has them, which takes a fraction of the time.
  std::string DebugExport(bool readable = true) const;

 private:
  template <typename... Records>
  using TablesOf = std::tuple<EntityTable<Records>...>;

  template <typename Record>
  EntityTable<Record>& Table() {
    return std::get<EntityTable<Record>>(tables_);
  }
  // Where the next entity of each kind may belong: behind the last one that was put.
  template <typename... Records>
  struct PlacesOf {
    explicit PlacesOf(State* state) : next(state->Table<Records>().end()...) {}
    std::tuple<typename EntityTable<Records>::iterator...> next;
  };
  using Places = AllEntities<PlacesOf>;

  template <typename Record>
  void Put(EntityNode<Record> node, Places* places, Changes* changes);
  template <typename Record>
  void Delete(const KeyOf<Record>& key, Places* places, Changes* changes);

  // Adds what an entity means for the indexes (`sign` = 1) or takes it away (`sign` = -1).
  template <typename Record>
  void Index(const Record&, int, Changes*) {}
  void Index(const records::ExperimentRecord& experiment, int sign, Changes* changes);
  void Index(const records::TrialRecord& trial, int sign, Changes* changes);
  void IndexGang(const records::TrialRecord& trial, int sign, Changes* changes);
  void Index(const records::ProgressRecord& progress, int sign, Changes* changes);
  void Index(const records::EpochRecord& epoch, int sign, Changes* changes);
  void Index(const records::DatasetVersionRecord& version, int sign, Changes* changes);
  void Index(const records::ImportRecord& import, int sign, Changes* changes);
  void Index(const records::ModelVersionRecord& version, int sign, Changes* changes);
  void Index(const records::EvaluationRecord& evaluation, int sign, Changes* changes);
  void Index(const records::ComparisonRecord& comparison, int sign, Changes* changes);
  void Index(const records::WorkerRecord& worker, int sign, Changes* changes);
  void Index(const records::TokenRecord& token, int sign, Changes* changes);
  void Index(const records::RequestRecord& request, int sign, Changes* changes);
  void Index(const records::AuxTaskRecord& task, int sign, Changes* changes);
  void CountReference(const std::string& blob_hash, int sign, Changes* changes);
  void DropLoadIfEmpty(int64_t worker_id);

  AllEntities<TablesOf> tables_;

  // Derived from tables_ alone.
  std::set<TrialId> waiting_trials_;
  std::set<TrialId> gangs_;
  std::set<int64_t> waiting_aux_;
  std::map<int64_t, WorkerLoad> loads_;
  absl::flat_hash_map<int64_t, TrialCounts> trial_counts_;
  std::map<int, int64_t> num_experiments_;
  absl::flat_hash_map<std::string, int64_t> references_;  // by far the largest index; not walked but for the export
  std::map<std::pair<std::string, std::string>, int64_t> dataset_versions_;
  std::map<std::string, std::string> token_names_;
  std::set<std::pair<int64_t, NamePairKey>> requests_by_time_;
  std::map<std::pair<std::string, std::string>, std::set<int64_t>> comparisons_;
  std::map<std::string, std::set<int64_t>> evaluations_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_STATE_STATE_H_
