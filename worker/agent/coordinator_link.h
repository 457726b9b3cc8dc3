// The agent's view of the coordinator: the seam between the two.
#ifndef URSA_WORKER_AGENT_COORDINATOR_LINK_H_
#define URSA_WORKER_AGENT_COORDINATOR_LINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa {

// One stream for decisions and events, and calls for blobs. It connects when asked, and retries nothing: that is for
// its users. Safe for use by many threads.
class CoordinatorLink {
 public:
  struct StreamCallbacks {
    // Called one at a time, in the order sent.
    std::function<void(worker::v1::ConnectResponse message)> on_message;
    // Once, after the last message, at the latest before the stream's destructor returns. OK is never told: a stream
    // has no good end. UNAVAILABLE: out of reach or broken; else as WorkerService.Connect says.
    std::function<void(const absl::Status& status)> on_closed;
  };

  class Stream {
   public:
    // Closes the stream. Not to be called from a callback.
    virtual ~Stream() = default;
    // Queues a message, never blocks; messages arrive in the order sent, or from some point on not at all (then
    // on_closed comes). The caller bounds how much it sends unanswered.
    virtual void Send(worker::v1::ConnectRequest message) = 0;
    // Asks for the end: on_closed will come.
    virtual void Close() = 0;
  };

  virtual ~CoordinatorLink() = default;

  // Opens a stream to where the coordinator is now. Never fails at once: on_closed tells.
  virtual std::unique_ptr<Stream> Connect(StreamCallbacks callbacks) = 0;

  // Gives `sink` the blob's bytes from `offset` to the end, in order. Stops with the sink's error. The bytes are not
  // checked against the hash. Errors: NOT_FOUND, INVALID_ARGUMENT, OUT_OF_RANGE, DATA_LOSS (see
  // BlobService.DownloadBlob), UNAVAILABLE, CANCELLED (after Stop).
  virtual absl::Status Download(const std::string& hash, int64_t offset,
                                const std::function<absl::Status(std::string_view piece)>& sink) = 0;

  // Which of the blobs the coordinator does not have, in the order given. At most 10 000 hashes. Errors:
  // INVALID_ARGUMENT, UNAVAILABLE, CANCELLED.
  virtual absl::StatusOr<std::vector<std::string>> FindMissing(const std::vector<std::string>& hashes) = 0;

  // Sends the file's bytes as the blob `hash`, from where an interrupted upload stopped; when it returns OK they are
  // durable there. A blob that is there already is fine. Errors: as BlobService.UploadBlobs, UNAVAILABLE, CANCELLED;
  // the file's.
  virtual absl::Status Upload(const std::string& hash, const std::string& path) = 0;

  // Ends blob calls that run, and all later ones, with CANCELLED.
  virtual void Stop() = 0;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_COORDINATOR_LINK_H_
