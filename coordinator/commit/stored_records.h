// How what Commit decides lies in the store, and how it is read back at start.
#ifndef URSA_COORDINATOR_COMMIT_STORED_RECORDS_H_
#define URSA_COORDINATOR_COMMIT_STORED_RECORDS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
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

// Reads all records of a store, in the order of their keys, as mutations of many puts each.
//
//   store --1--> bytes of a portion --2--> its mutation --3--> whoever applies it
//   1 the scanner's thread, some portions ahead
//   2 most of the work: the parser's thread, or who calls Next: rather than wait it parses, too
//   3 Next, in order
//
// The first portions the constructor scans. A store that has no more is read without the two threads, which would cost
// more than they bring.
//
// For one thread, which calls Next until it gives nothing and then asks for the results.
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
  struct Portion;

  void Scan();
  // What has not been handed over yet.
  absl::Status ScanAll();
  absl::Status ReadCommit(std::string_view id, std::string_view bytes);
  // Waits until there is room for it. False: nobody wants more, or there is room for more only beside who calls Next.
  bool HandOver(std::unique_ptr<Portion> portion);
  void ParseUntilEnd();
  // Takes the oldest portion that nobody has taken, and parses it with the lock given up meanwhile. There is one.
  void ParseNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const RecordStore* const store_;

  // Of the scanner, until Next has given nothing; before it starts, of the constructor.
  uint64_t sequence_ = 0;
  size_t num_handed_over_ = 0;  // records

  // Of who calls Next.
  absl::Status status_;
  RecordBatch modernized_;

  absl::Mutex mu_;
  std::deque<std::unique_ptr<Portion>> portions_ ABSL_GUARDED_BY(mu_);  // in order
  size_t num_taken_ ABSL_GUARDED_BY(mu_) = 0;                           // so many of them are parsed, or are being
  bool is_scanned_ ABSL_GUARDED_BY(mu_) = false;                        // all that can be read is in portions_
  absl::Status scan_status_ ABSL_GUARDED_BY(mu_);
  bool is_unwanted_ ABSL_GUARDED_BY(mu_) = false;  // nobody will call Next
  bool has_threads_ = false;                       // set before they start
  std::thread scanner_;
  std::thread parser_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_COMMIT_STORED_RECORDS_H_
