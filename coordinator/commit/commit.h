// The one path of a change: decide and apply under one lock, write in batches, and let nothing out before it is
// durable.
#ifndef URSA_COORDINATOR_COMMIT_COMMIT_H_
#define URSA_COORDINATOR_COMMIT_COMMIT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/state/state.h"
#include "storage/record_store.h"

namespace ursa {

// Owns the State and the coordinator's lock, and writes what is decided.
//
//   Transaction --1--> queue --2--> store --3--> effects
//   1 under the lock: reads, decisions, Apply; at its end all of it joins the queue as one group
//   2 the committer thread: many groups as one synced batch, each whole
//   3 the committer thread, without the lock, in order of the groups: replies, reads, messages to workers
//
// So nothing that depends on a change leaves the process before the change is durable, and what one transaction decided
// is on disk whole or not at all. A failed write ends the process: what was applied but not written was never told to
// anybody, and the next start reads what is durable. Borrows its RecordStore. Thread-safe.
class Commit {
 public:
  struct Options {
    size_t batch_bytes_max = size_t{8} << 20;  // of one batch; a single group may be larger
    // Ends the process; in tests it may return, and then nothing more is written and no effect runs.
    std::function<void(const absl::Status&)> on_failed_write = EndProcess;
  };

  class Transaction;
  // Called under the lock at the end of each transaction that changed something or asked for it; may go on changing.
  using Settle = std::function<void(Transaction& tx, const Changes& changes)>;

  // Reads all records into a State: one put for each. Errors: those of RecordStore, DATA_LOSS (a record of an unknown
  // kind).
  static absl::StatusOr<std::unique_ptr<Commit>> Open(RecordStore* store, Options options);
  ~Commit() { Stop(); }

  // To be called before the first transaction.
  void SetSettle(Settle settle) { settle_ = std::move(settle); }

  // Starts the committer thread.
  void Start();
  // Ends the thread when all that is queued is durable and its effects have run; what is applied later is never
  // written.
  void Stop();
  // Does what the committer thread would do now with all that is queued, until nothing is left. For simulation, when no
  // thread was started. Returns whether there was anything.
  bool RunQueued();
  // Whether there is something for RunQueued to do.
  bool has_queued() const;

  // Number of the newest applied, and the newest durable change.
  uint64_t sequence() const;
  uint64_t durable_sequence() const;

  static void EndProcess(const absl::Status& status);

 private:
  struct Group {
    uint64_t last_sequence = 0;
    RecordBatch batch;
    std::vector<std::function<absl::Status()>> bulk_writes;
    std::vector<std::function<void()>> effects;
  };

  Commit(RecordStore* store, Options options) : store_(store), options_(std::move(options)) {}

  void CommitterLoop();
  // Takes groups up to the byte limit; at least one if there is any.
  std::vector<Group> TakeGroups() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Writes the groups and runs their effects. False after a failed write.
  bool Write(std::vector<Group> groups);
  static void RunEffects(std::vector<Group>* groups);

  RecordStore* const store_;
  const Options options_;
  Settle settle_;

  mutable absl::Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_);
  std::deque<Group> queue_ ABSL_GUARDED_BY(mu_);
  uint64_t sequence_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t durable_sequence_ ABSL_GUARDED_BY(mu_) = 0;
  bool is_stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool has_failed_ ABSL_GUARDED_BY(mu_) = false;

  std::thread committer_;
};

// A stay under the lock. Short: no call to the outside, no disk, no waiting in it. Not to be nested. Whoever holds one
// may also touch what the coordinator's lock guards beside State: methods that take a `Transaction&` do.
class Commit::Transaction {
 public:
  explicit Transaction(Commit* commit) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  ~Transaction() ABSL_NO_THREAD_SAFETY_ANALYSIS;
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  const State& state() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return commit_->state_; }

  // Applies a valid mutation now; it will be written with all else of this transaction. State pointers go stale.
  void Apply(Mutation mutation) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  template <typename Record>
  void Put(Record record) {
    Apply(std::move(Mutation().Put(std::move(record))));
  }

  // Bulk data (metric points, logs, predictions), written to the store before this transaction's records and synced
  // with them. `write` runs on the committer thread.
  void AddBulkWrite(std::function<absl::Status()> write);

  // `effect` runs on the committer thread when all that this transaction has seen and done is durable; effects run in
  // the order of their transactions. It must be quick, and may start a transaction of its own.
  void AfterDurable(std::function<void()> effect);

  // Calls Settle at the end even if nothing was applied.
  void RequestSettle() { must_settle_ = true; }

 private:
  Commit* const commit_;
  Group group_;
  Changes changes_;
  bool has_records_ = false;
  bool must_settle_ = false;
};

using Tx = Commit::Transaction;

}  // namespace ursa

#endif  // URSA_COORDINATOR_COMMIT_COMMIT_H_
