// What all parts of the coordinator borrow, and how they answer.
#ifndef URSA_COORDINATOR_CORE_ENVIRONMENT_H_
#define URSA_COORDINATOR_CORE_ENVIRONMENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "coordinator/commit/commit.h"
#include "coordinator/commit/executor.h"
#include "coordinator/scheduling/options.h"
#include "google/protobuf/timestamp.pb.h"

namespace ursa {

class BlobStore;
class LogStore;
class MetricLog;
class PredictionLedger;
class RecordStore;

// What is kept of what tasks print. The newest is; a mark says how much is gone.
struct LogRetentionOptions {
  absl::Duration age_max = absl::Hours(24 * 30);      // infinite: for ever
  int64_t trial_bytes_max = int64_t{1} << 30;         // of all ranks of a trial
  absl::Duration round_interval = absl::Minutes(10);  // between two looks at all logs
};

// A pool whose workers come when something waits there and go when nothing does (by `ursa cluster slurm`): what an
// experiment may ask of it, and how it is fitted to its machines, cannot be read off the workers of the moment.
struct ElasticPool {
  std::string kind = "cpu";  // of the slots
  int32_t workers_max = 1;
  int32_t worker_slots = 1;
  int32_t worker_cores = 1;
  std::string simd = "x86-64-v2";  // that each of the workers has at least
};

// Limits and times of the coordinator.
struct CoordinatorOptions {
  SchedulingOptions scheduling;
  LogRetentionOptions log_retention;
  std::map<std::string, ElasticPool> elastic_pools;    // by name
  absl::Duration lease = absl::Seconds(3);             // unheard for so long, a worker counts as lost
  absl::Duration heartbeat = absl::Milliseconds(500);  // asked of workers
  absl::Duration leaving_time = absl::Seconds(60);     // a worker that stops its tasks by itself gets none for so long
  absl::Duration stall_limit = absl::Minutes(10);      // a gang of which nothing moved for so long is restarted
  absl::Duration finish_time = absl::Seconds(20);      // for ranks to end after the work is done
  absl::Duration unseen_time = absl::Seconds(5);       // before what never ran and is no longer wanted counts as gone
  absl::Duration prediction_idle = absl::Seconds(60);  // a prediction process stays warm for so long
  absl::Duration prediction_timeout = absl::Seconds(60);
  absl::Duration request_age_max = absl::Hours(24);      // after which a retry is a new request
  absl::Duration garbage_age = absl::Seconds(60);        // before a blob that nothing refers to is deleted
  absl::Duration upload_age_max = absl::Hours(24);       // of unfinished uploads
  absl::Duration lost_worker_age_max = absl::Hours(24);  // before a lost worker is forgotten
  int64_t num_requests_max = 100'000;
  int64_t num_workers_max = 10'000;
  int64_t open_invites_max = 10'000;  // of workers, not used yet
  int32_t worker_slots_max = 1024;
  int32_t moves_max = 100;            // starts anew of one trial because of the places it ran at
  int32_t aux_attempts_max = 3;       // deaths of one auxiliary task
  int32_t warm_predictions_max = 2;   // prediction processes of one worker
  int64_t prediction_calls_max = 64;  // that wait, of one version
  int64_t candidate_list_bytes_max = int64_t{2} << 30;
  int64_t manifest_bytes_max = int64_t{4} << 30;
  int64_t checkpoints_max = 1000;               // kept of one experiment, whatever its recipe asks
  int64_t min_free_bytes = int64_t{128} << 20;  // of the disk: below it nothing new is accepted
  int64_t page_bytes_max = int64_t{3} << 20;    // of one answer of a list
  int64_t rendezvous_keys_max = 10'000;
  int64_t rendezvous_value_bytes_max = int64_t{1} << 20;
  std::function<int64_t()> free_disk_bytes;  // of the data folder; absent: unlimited
  std::string version;                       // of this binary
};

// Borrowed by every part; everything in it outlives them.
struct Environment {
  Commit* commit = nullptr;
  Clock* clock = nullptr;
  Executor* executor = nullptr;
  RecordStore* records = nullptr;
  BlobStore* blobs = nullptr;
  MetricLog* metrics = nullptr;
  LogStore* logs = nullptr;
  PredictionLedger* ledger = nullptr;
  CoordinatorOptions options;
};

// Who asks: the name of the token, which is the actor in the audit log.
struct Caller {
  std::string actor;
};

// Takes the answer of a call; called once, on any thread, never under the coordinator's lock.
template <typename Response>
using Done = std::function<void(absl::StatusOr<Response>)>;

google::protobuf::Timestamp ToTimestamp(absl::Time time);
absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp);

// The next number of a counter ("experiment", "worker", ...), taken: it is never given out again. With the `count` - 1
// numbers that follow it.
int64_t TakeNumber(Tx& tx, const std::string& counter, int64_t count = 1);

// An audit event of now.
records::AuditPayload AuditEvent(const Environment& env, const Caller& caller, std::string action, std::string resource,
                                 std::string details);

// RESOURCE_EXHAUSTED when the disk has less than the reserve, so that what is accepted can also be finished.
absl::Status CheckDiskSpace(const CoordinatorOptions& options);

// Answers with what `read` finds in the state, once that is durable.
template <typename Response, typename Read>
void ReadState(const Environment& env, Done<Response> done, Read read) {
  Tx tx(env.commit);
  absl::StatusOr<Response> response = read(tx);
  tx.AfterDurable([done = std::move(done), response = std::move(response)] { done(response); });
}

// Calls `then` on the executor with what `read` finds in the state, once that is durable: for answers that need the
// disk.
template <typename Value, typename Read, typename Then>
void ReadStateThen(const Environment& env, Read read, Then then) {
  Tx tx(env.commit);
  absl::StatusOr<Value> value = read(tx);
  tx.AfterDurable([executor = env.executor, value = std::move(value), then = std::move(then)] {
    executor->Run([value, then] { then(value); });
  });
}

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_ENVIRONMENT_H_
