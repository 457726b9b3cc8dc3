// What tasks print, by rank.
#ifndef URSA_STORAGE_LOG_STORE_H_
#define URSA_STORAGE_LOG_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/keys.h"
#include "storage/kv_store.h"

namespace ursa {

// A piece of what one rank printed in one attempt (one life of its process).
struct LogPiece {
  uint32_t attempt = 0;             // grows with each restart of the task
  uint64_t offset = 0;              // of its first byte in all that the attempt printed
  absl::Time time;                  // to the microsecond
  std::string bytes;                // any bytes; usually whole lines
  uint64_t num_left_out_bytes = 0;  // > 0: no bytes; so many from `offset` on never came, the sender left them out
};

// What stays of logs as time passes.
struct LogRetention {
  absl::Time keep_since = absl::InfinitePast();  // older pieces go
  uint64_t trial_bytes_max = uint64_t{1} << 63;  // of all ranks of one trial: the oldest pieces of the longest logs go
};

// The greatest size L such that logs of these sizes, each cut to L, have at most `total` bytes together: who printed
// little loses nothing to who printed much.
uint64_t FairLogBytes(std::vector<uint64_t> sizes, uint64_t total);

// Logs keyed by (trial, rank) in order of arrival. Appending the same (attempt, offset) again stores nothing, so a
// sender may repeat what it is not sure of. Each rank's log keeps its head and its tail: beyond the limit the oldest
// pieces after the head go, and a mark with the number of lost bytes stands in their place. What retention takes, it
// takes from the front, with a mark of its own. Borrows its store. Thread-safe.
//
//   arrival numbers of one rank, rising (all ranks of an experiment share one counter):
//
//     retention mark | .. head .. | cut mark | .. tail ..
class LogStore {
 public:
  struct Options {
    uint64_t head_bytes = uint64_t{4} << 20;   // kept of the beginning of each rank's log
    uint64_t tail_bytes = uint64_t{28} << 20;  // kept of its end; up to an eighth and one append more for a while
    uint64_t piece_bytes_max = uint64_t{1} << 20;
    uint64_t read_bytes_max = uint64_t{4} << 20;    // of one answer, whatever is asked for
    uint64_t retain_bytes_max = uint64_t{4} << 20;  // deleted in one batch

    absl::Status Validate() const;
  };

  // `store` has passed CheckStoreFormat and outlives this; `options` are valid.
  LogStore(KvStore* store, const Options& options);

  // Stores what is new in `pieces`, which come in order of (attempt, offset). A piece of an older attempt than one
  // already seen is dropped, one that overlaps what is there is trimmed, a gap is kept as a gap. All or none.
  // INVALID_ARGUMENT: a piece over piece_bytes_max, or left out and yet with bytes; otherwise the errors of
  // KvStore::Write.
  absl::Status Append(LogStreamKey stream, const std::vector<LogPiece>& pieces, Durability durability);

  // Where a sender of `attempt` goes on: the offset up to which all has arrived; 0 for an attempt not yet seen.
  // FAILED_PRECONDITION if a newer attempt has begun.
  absl::StatusOr<uint64_t> NextOffset(LogStreamKey stream, uint32_t attempt) const;

  struct Entry {
    uint64_t arrival = 0;
    LogStreamKey stream;
    LogPiece piece;
    uint64_t num_lost_bytes = 0;  // > 0: a mark of bytes that are not here; `piece.bytes` is a line of text saying why
  };
  struct Query {
    uint64_t experiment = 0;
    std::optional<uint32_t> trial;  // absent: all trials
    std::optional<uint32_t> rank;   // absent: all ranks
    uint64_t after_arrival = 0;     // 0: from the beginning; else Page::last_arrival of the answer before
    uint64_t bytes_max = uint64_t{1} << 20;
  };
  struct Page {
    std::vector<Entry> entries;  // in order of arrival; at least one if there is any and bytes_max > 0
    uint64_t last_arrival = 0;   // pass it as after_arrival to go on, now or when more has come
    bool more = false;           // bytes_max ended it
  };
  absl::StatusOr<Page> Read(const Query& query) const;

  // Removes the logs of all trials of an experiment.
  absl::Status DeleteExperiment(uint64_t experiment);

  // Applies a policy to the logs of up to `trials_max` trials from `begin` on, oldest pieces first; readers find a mark
  // where they were. Other writers wait for a few megabytes' work at a time, not for all of it.
  struct Retained {
    uint64_t num_deleted_bytes = 0;
    std::optional<TrialKey> next;  // where to go on; absent: all have been seen
  };
  absl::StatusOr<Retained> Retain(const LogRetention& retention, TrialKey begin, int trials_max);

 private:
  struct StreamState;
  using StreamStates = std::vector<std::pair<LogStreamKey, StreamState>>;

  absl::StatusOr<StreamState> ReadState(LogStreamKey stream) const;
  static absl::Status VisitStreams(
      const KvReader& view, uint64_t experiment,
      const std::function<absl::Status(LogStreamKey stream, const StreamState& state)>& visit);
  // The newest arrival number of an experiment; 0 if nothing has arrived.
  absl::StatusOr<uint64_t> LastArrival(uint64_t experiment) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Adds to `batch` the removal of the oldest pieces of a tail that is too long.
  absl::Status Cut(LogStreamKey stream, StreamState* state, WriteBatch* batch) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The streams of one trial. `states` is empty if `iterator` is at its end; it is left after them.
  static absl::Status NextTrial(KvIterator* iterator, StreamStates* states);
  // Deletes from the front of a log what is over `bytes_max` or older than `keep_since`, at most `retain_bytes_max` of
  // it. Returns how much; 0: nothing is left to do.
  absl::StatusOr<uint64_t> RetainSome(LogStreamKey stream, uint64_t bytes_max, absl::Time keep_since);

  KvStore* const store_;
  const Options options_;
  // Held from the choice of an arrival number until its entry is visible: a reader that follows never misses one.
  mutable absl::Mutex mu_;
  std::map<uint64_t, uint64_t> last_arrival_ ABSL_GUARDED_BY(mu_);  // of experiments written since the start
};

}  // namespace ursa

#endif  // URSA_STORAGE_LOG_STORE_H_
