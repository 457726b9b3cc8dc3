// The task's side of the socket between a task and its agent: all that a task knows of the world comes through here.
#ifndef URSA_WORKER_AGENT_CLIENT_AGENT_CLIENT_H_
#define URSA_WORKER_AGENT_CLIENT_AGENT_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ursa/worker/v1/task.pb.h"

namespace ursa {

// A blob that lies in the agent's cache.
struct StoredBlob {
  std::string hash;  // SHA-256, 64 lower-case hex digits
  int64_t size_bytes = 0;
};

// What the agent tells the task while it runs. Called one at a time, from a thread of the client, never after
// StopWatching() or the client's destructor has returned; keep them short, or hand over to another thread.
struct DirectiveCallbacks {
  // Checkpoint at the next step and end. May come more than once, and before WatchDirectives() has returned.
  std::function<void(const worker::v1::StopDirective& stop)> on_stop;

  // Leave the group and meet the one of this epoch, with the same rank. May be null in tasks that have no group.
  std::function<void(const worker::v1::ReformDirective& group)> on_reform;

  // Pictures to classify; answered by reporting a PredictOutput with the same call_id. May be null in tasks that do
  // not predict.
  std::function<void(worker::v1::PredictInput input)> on_predict;

  // The agent is gone: nothing more will come, and no call will succeed. May be null (the kernel kills the task when
  // its agent dies).
  std::function<void(const absl::Status& status)> on_lost;
};

// Client of one agent over the inherited socket. Safe for use by many threads, calls may run side by side.
//
// Errors of all calls, beside their own: UNAVAILABLE (the agent is gone), CANCELLED (the client is being destroyed).
// Calls block; apart from those with a timeout they wait as long as the agent lives, because the agent itself waits for
// a coordinator that is away.
class AgentClient {
 public:
  // Takes ownership of `fd`, the connected socket that the agent named by `--fd`. Errors: INVALID_ARGUMENT (not a
  // socket).
  static absl::StatusOr<std::unique_ptr<AgentClient>> Connect(int fd);

  // Cancels what is under way and waits for it.
  virtual ~AgentClient() = default;

  // What this process is to do; `rank` is this process's.
  virtual absl::StatusOr<worker::v1::TaskAssignment> GetAssignment() = 0;

  // Brings blobs into the agent's cache, and returns the paths of their files in the order asked. The files are
  // read-only, hold exactly the named bytes, and stay for as long as this task lives. Any number of hashes: they are
  // asked for in requests of at most 10 000. Errors: NOT_FOUND, INVALID_ARGUMENT (bad hash), DATA_LOSS, UNAVAILABLE
  // (coordinator away for longer than the agent waits), RESOURCE_EXHAUSTED (disk full).
  virtual absl::StatusOr<std::vector<std::string>> FetchBlobs(const std::vector<std::string>& hashes) = 0;

  // Puts bytes into the agent's cache. They reach the coordinator when an event names the blob (CheckpointSaved); the
  // agent uploads it before it passes the event on. Errors: RESOURCE_EXHAUSTED (disk full).
  virtual absl::StatusOr<StoredBlob> PutBytes(std::string_view bytes) = 0;

  // As PutBytes, of the file's bytes, read in pieces. Errors: also NOT_FOUND and UNKNOWN (the file cannot be read).
  virtual absl::StatusOr<StoredBlob> PutFile(const std::string& path) = 0;

  // Hands events over, in order; when it returns OK the agent has them and keeps them until the coordinator has made
  // them durable. Events of several threads may interleave, those of one thread keep their order. An event must be at
  // most 3 MiB. Errors: INVALID_ARGUMENT (event too large), RESOURCE_EXHAUSTED (the agent's buffer is full for longer
  // than its limit).
  virtual absl::Status Report(std::vector<worker::v1::TaskEvent> events) = 0;
  absl::Status Report(worker::v1::TaskEvent event) {
    std::vector<worker::v1::TaskEvent> events;
    events.push_back(std::move(event));
    return Report(std::move(events));
  }

  // Says where this process is in its work; the latest one counts, none is kept.
  virtual absl::Status ReportPosition(const worker::v1::RankPosition& position) = 0;

  // One operation on the ranks' rendezvous store; GET and WAIT block until the keys are there or
  // `request.timeout_millis` is over (then `timed_out` is set, status OK). Survives a coordinator that is away for a
  // while. Errors: DEADLINE_EXCEEDED (coordinator away for longer than the timeout), ABORTED (the epoch is stale),
  // RESOURCE_EXHAUSTED (over 10 000 keys or 1 MiB a value).
  virtual absl::StatusOr<worker::v1::StoreResponse> Rendezvous(const worker::v1::StoreRequest& request) = 0;

  // Starts to listen for directives; those that came earlier are delivered first. Call at most once.
  virtual void WatchDirectives(DirectiveCallbacks callbacks) = 0;

  // No callback runs after it has returned. Must not be called from a callback. Idempotent.
  virtual void StopWatching() = 0;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_CLIENT_AGENT_CLIENT_H_
