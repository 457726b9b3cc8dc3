// What must hold whatever happens; looked at after each event that could break it.
#ifndef URSA_TESTS_SIMULATION_INVARIANTS_H_
#define URSA_TESTS_SIMULATION_INVARIANTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "storage/kv_store.h"
#include "tests/simulation/group_ledger.h"
#include "tests/simulation/jobs.h"
#include "tests/simulation/world.h"

namespace ursa::sim {

// A worker as the disk knows it.
struct DurableWorker {
  int32_t slots = 0;
  bool lost = false;
  bool is_closed = false;  // drained, or set aside: gets nothing new
};

// The durable truth, followed write by write, and judged by what the ranks know they did:
//   - a job that has ended stays ended, no job vanishes, no request has two effects
//   - no slot is given to two; nothing starts on a worker that is lost or drained, nor what is paused
//   - a rank counts as gone only when its process is, or its worker is lost; a new epoch begins when all ranks of the
//     older one are gone, or keeps those that are not; epochs, restarts and checkpoints never go back
//   - a checkpoint counts only if a rank of the present epoch made it, and its bytes are stored
//   - bytes stay for a while after somebody was told that they are stored: there is time to name them
//   - a job is complete only if rank 0 of its present epoch said so, and every step of it has its metric point
//   - groups of ranks: see group_ledger.h
//   - the audit log has no gap and its hashes are chained up to the head
// The first that does not hold fails the world. Borrows the world.
class Invariants {
 public:
  // `garbage_age`: for so long stays what somebody was told is stored.
  Invariants(World* world, absl::Duration garbage_age) : world_(*world), garbage_age_(garbage_age), groups_(world) {}
  // Called when a worker has become lost, and when it has been set aside, durably.
  using OnWorker = std::function<void(int64_t worker_id)>;
  void SetOnWorker(OnWorker on_lost, OnWorker on_set_aside) {
    on_lost_ = std::move(on_lost);
    on_set_aside_ = std::move(on_set_aside);
  }
  // Whether a process of that rank lives on that worker's machine.
  using Runs = std::function<bool(const JobKey& key, int64_t epoch, int32_t rank, int64_t worker_id)>;
  void SetRuns(Runs runs) { runs_ = std::move(runs); }

  // A batch has become durable.
  void OnDurable(const WriteBatch& batch);

  GroupLedger& groups() { return groups_; }

  // Somebody is told that the blob is stored.
  void OnBlobTold(const std::string& hash);

  // What ranks do, before anyone is told.
  void OnCheckpointMade(const JobKey& key, int64_t epoch, int64_t step, const std::string& model_blob);
  void OnCompleted(const JobKey& key, int64_t epoch) { completed_.emplace(key, epoch); }
  // A rank goes on from a checkpoint.
  void CheckResume(const JobKey& key, int64_t step, const std::string& model_blob);

  const std::map<JobKey, Job>& jobs() const { return jobs_; }
  const Job* FindJob(const JobKey& key) const;
  const std::map<int64_t, Experiment>& experiments() const { return experiments_; }
  const std::map<int64_t, DurableWorker>& workers() const { return workers_; }
  // How many slots of a worker are taken.
  int64_t NumPlaces(int64_t worker_id) const;
  // When a job's record or its progress changed last.
  absl::Time LastChange(const JobKey& key) const;
  bool HasMetric(const std::string& metric_key) const { return metrics_.count(metric_key) > 0; }
  // The kept answer to a request ("actor/request id"); null if there is none.
  struct KeptAnswer {
    int32_t code = 0;
    std::string text;  // the response's bytes, or the reason of a refusal
  };
  const KeptAnswer* FindAnswer(const std::string& request) const;

  void Fail(std::string why) { world_.Fail(std::move(why)); }

 private:
  struct GoneRank {
    JobKey key;
    int64_t epoch = 0;
    int32_t rank = 0;
    int64_t worker_id = 0;
  };
  // What a batch touched, to be judged at its end.
  struct Touched {
    std::set<std::string> records;
    std::vector<std::string> new_references;
    std::vector<std::string> deleted_blobs;
    std::vector<int64_t> lost_workers;
    std::vector<GoneRank> gone_ranks;
    std::vector<JobKey> best_trials;  // of searches that are complete
    bool audit = false;
  };

  // The points of a block, as keys of rows.
  void OnMetricBlock(const std::string& key, const std::string& value);
  void OnRecord(std::string_view table, std::string_view id, std::string_view bytes, bool is_delete);
  void ReplaceReading(const std::string& name, Reading reading);
  void OnExperiment(int64_t id, Experiment experiment);
  void OnJob(const JobKey& key, Job job);
  void NoteGoneRanks(const JobKey& key, const Job& before, const Job& job);
  void CheckReform(const std::string& name, const Job& before, const Job& job);
  void CheckPlace(const std::string& name, const Rank& rank);
  void CheckNewGang(const std::string& name, const JobKey& key, const Job& before, const Job& job);
  void CheckCheckpoints(const std::string& name, const JobKey& key, const Job& before, const Job& job);
  void CheckPoints(const std::string& name, const JobKey& key, int64_t num_steps);
  void CheckEnd(const std::string& name, const JobKey& key, const Job& before, const Job& job);
  void OnWorkerRecord(std::string_view id, std::string_view bytes);
  void OnProgress(std::string_view id, std::string_view bytes);
  void OnAuditRow(std::string_view bytes);
  void FinishBatch();

  World& world_;
  const absl::Duration garbage_age_;
  GroupLedger groups_;
  OnWorker on_lost_;
  OnWorker on_set_aside_;
  Runs runs_;
  Touched touched_;
  std::unordered_map<std::string, Reading> readings_;  // by "table/id"
  std::map<Place, std::string> places_;                // who has each
  std::unordered_map<std::string, int64_t> references_;
  std::unordered_set<std::string> blobs_;
  std::unordered_map<std::string, absl::Time> told_blobs_;
  std::unordered_set<std::string> metrics_;
  std::map<int64_t, Experiment> experiments_;
  std::map<JobKey, Job> jobs_;
  std::map<JobKey, absl::Time> changed_;
  std::map<JobKey, int64_t> progress_;
  std::map<std::string, int64_t> names_;
  std::map<int64_t, DurableWorker> workers_;
  std::unordered_map<std::string, KeptAnswer> answers_;
  int64_t audit_sequence_ = 0;
  std::string audit_hash_;
  std::pair<int64_t, std::string> audit_head_;

  struct Made {
    JobKey key;
    int64_t step = 0;
    std::set<int64_t> epochs;
  };
  std::unordered_map<std::string, Made> made_;  // checkpoints by their model's blob
  std::set<std::pair<JobKey, int64_t>> completed_;
};

// Where two texts begin to differ, with some lines around it.
std::string FirstDifference(const std::string& a, const std::string& b);

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_INVARIANTS_H_
