// How what Commit decides lies in the store, and how it is read back at start.
#ifndef URSA_COORDINATOR_COMMIT_STORED_RECORDS_H_
#define URSA_COORDINATOR_COMMIT_STORED_RECORDS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/state/mutation.h"
#include "storage/record_store.h"

namespace ursa {

// Adds the puts and deletes of a mutation from number `first` on, in their order; not its audit events.
void AddToBatch(const Mutation& mutation, RecordBatch* batch, size_t first = 0);
// Adds that all up to the change number `sequence` is written.
void AddCommitToBatch(uint64_t sequence, RecordBatch* batch);

// Reads all records of a store, in the order of their keys, as mutations of many puts each. The reading and parsing is
// done by a thread of its own, some way ahead of whoever applies them. For one thread, which calls Next until it gives
// nothing and then asks for the results.
class StoredRecords {
 public:
  // `store` outlives this.
  explicit StoredRecords(const RecordStore* store);
  // Also good before all is read.
  ~StoredRecords();
  StoredRecords(const StoredRecords&) = delete;
  StoredRecords& operator=(const StoredRecords&) = delete;

  // Nothing: at the end, or after an error.
  std::optional<Mutation> Next();

  // Errors: those of RecordStore, DATA_LOSS (a record of an unknown kind).
  const absl::Status& status() const { return status_; }
  // Number of the last change written; 0: none.
  uint64_t sequence() const { return sequence_; }
  // Records that an older version wrote, in today's form: to be written before anything else is.
  const RecordBatch& modernized() const { return modernized_; }

 private:
  void Read();
  absl::Status ReadAll();
  absl::Status ReadCommit(std::string_view id, std::string_view bytes);
  // Waits until there is room for it. False: nobody wants more.
  bool HandOver(Mutation portion);

  const RecordStore* const store_;

  // Of the thread, until Next has given nothing.
  absl::Status status_;
  uint64_t sequence_ = 0;
  RecordBatch modernized_;

  absl::Mutex mu_;
  std::deque<Mutation> portions_ ABSL_GUARDED_BY(mu_);
  bool is_read_ ABSL_GUARDED_BY(mu_) = false;      // all that can be read is in portions_
  bool is_unwanted_ ABSL_GUARDED_BY(mu_) = false;  // nobody will call Next
  std::thread thread_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_COMMIT_STORED_RECORDS_H_
