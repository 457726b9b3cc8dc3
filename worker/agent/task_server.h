// The agent's side of the socket between a task process and its agent.
#ifndef URSA_WORKER_AGENT_TASK_SERVER_H_
#define URSA_WORKER_AGENT_TASK_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ursa/worker/v1/task.pb.h"
#include "worker/agent/blob_cache.h"
#include "worker/agent/task_table.h"

namespace ursa {

// What a task may ask of the agent; `key` says which process asks. Called from threads of gRPC, several at a time; must
// not block for long. `done` is to be called once, from any thread, sooner or later; late is fine, also after the
// server has gone.
class TaskHost {
 public:
  virtual ~TaskHost() = default;

  virtual void FetchBlobs(const ProcessKey& key, const std::vector<std::string>& hashes,
                          std::function<void(absl::StatusOr<std::vector<std::string>>)> done) = 0;
  virtual absl::StatusOr<std::unique_ptr<BlobCache::Writer>> NewBlob(const ProcessKey& key) = 0;
  // Returns the hash.
  virtual absl::StatusOr<std::string> CommitBlob(const ProcessKey& key, BlobCache::Writer* writer) = 0;
  virtual void ReportEvents(const ProcessKey& key, std::vector<worker::v1::TaskEvent> events,
                            std::function<void(absl::Status)> done) = 0;
  virtual void ReportPosition(const ProcessKey& key, worker::v1::RankPosition position) = 0;
  virtual void Rendezvous(const ProcessKey& key, worker::v1::StoreRequest request,
                          std::function<void(absl::StatusOr<worker::v1::StoreResponse>)> done) = 0;
};

// Serves TaskService to one process over one connected socket; whoever holds the other end is the task, so nothing else
// needs to be proved. Before Assign() it answers nothing but refusals, and lets GetAssignment wait. Safe for use by
// many threads. Destruction ends all calls with CANCELLED and closes the socket; it waits for handlers that run, so it
// must not be called from one.
class TaskServer {
 public:
  struct Options {
    int message_bytes_max = 64 << 20;
    size_t directives_bytes_max = size_t{256} << 20;  // that wait for the task to read them
  };

  virtual ~TaskServer() = default;

  // Says which process this is and what it is to do; once.
  virtual void Assign(const ProcessKey& key, const worker::v1::TaskAssignment& assignment) = 0;

  // Whether the process has asked for its assignment.
  virtual bool WasAsked() = 0;

  // Sends a directive, or keeps it until the task listens. RESOURCE_EXHAUSTED when too much waits.
  virtual absl::Status Tell(worker::v1::TaskDirective directive) = 0;

  // `host` is borrowed. Takes ownership of `fd`. `on_wait`, which may be null, is called from a thread of gRPC when the
  // process begins to wait for its assignment. Errors: INTERNAL (gRPC does not start).
  static absl::StatusOr<std::unique_ptr<TaskServer>> Start(TaskHost* host, int fd, const Options& options,
                                                           std::function<void()> on_wait);
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_TASK_SERVER_H_
