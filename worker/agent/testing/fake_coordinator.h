// A coordinator in memory, for tests of what talks to one.
#ifndef URSA_WORKER_AGENT_TESTING_FAKE_COORDINATOR_H_
#define URSA_WORKER_AGENT_TESTING_FAKE_COORDINATOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa {

// Welcomes agents, tells them the desired state, acknowledges events, keeps blobs and a rendezvous store; breaks and
// goes away when told. Served by FakeCoordinatorLink (directly) and FakeCoordinatorServer (over gRPC). Safe for many
// threads.
class FakeCoordinator {
 public:
  // A stream as the coordinator sees it. Called under the coordinator's lock: must only queue.
  struct StreamPort {
    std::function<void(worker::v1::ConnectResponse)> send;
    std::function<void(const absl::Status&)> close;
  };
  // What an agent handed over and was kept: each message once.
  struct Received {
    std::vector<worker::v1::Hello> hellos;
    std::vector<worker::v1::SlotReport> slots;
    int num_refused = 0;  // streams
    int num_heartbeats = 0;
    std::vector<worker::v1::TaskStatus> last_heartbeat;
    std::vector<worker::v1::StampedEvent> events;
    int num_repeated_messages = 0;
    std::vector<worker::v1::RendezvousRequest> rendezvous;
    std::map<std::string, std::string> blobs;
    std::map<std::string, int> num_downloads;  // by hash
  };

  // ---- for servers
  // Returns the stream's id; 0, and closes it, while the coordinator is away or refuses.
  int64_t Attach(StreamPort port);
  void Detach(int64_t stream_id);
  void OnRequest(int64_t stream_id, const worker::v1::ConnectRequest& request);
  absl::StatusOr<std::vector<std::string>> FindMissing(const std::vector<std::string>& hashes);
  absl::StatusOr<std::string> Download(const std::string& hash, int64_t offset);
  absl::StatusOr<int64_t> UploadOffset(const std::string& hash);
  // Appends a piece; the blob is kept when it has its size. DATA_LOSS, OUT_OF_RANGE as BlobService.
  absl::Status Upload(const std::string& hash, int64_t size, int64_t offset, std::string_view data);

  // ---- for tests
  void SetDesired(worker::v1::DesiredState desired);
  void Push(const worker::v1::ConnectResponse& message);  // on every stream
  void BreakStreams();
  void SetAway(bool away);                         // streams break, all calls fail with UNAVAILABLE
  void SetBlobsAway(bool away);                    // blob calls alone fail with UNAVAILABLE
  void SetAcknowledging(bool acknowledging);       // off: events are neither kept nor acknowledged
  void RefuseStreams(const absl::Status& status);  // OK: not any more
  std::string AddBlob(const std::string& bytes);   // returns the hash
  void CutDownloads(int64_t bytes);                // the next download breaks after so many bytes
  void CutUploads(int64_t bytes);                  // the same of uploads
  void LoseNextAnswer();                           // streams break once the next rendezvous call is carried out
  Received received() const;
  // Whether `condition` became true in time.
  bool WaitFor(const std::function<bool(const Received&)>& condition, absl::Duration limit = absl::Seconds(20)) const;

 private:
  struct Stream {
    StreamPort port;
    bool welcomed = false;
  };
  struct Waiting {
    int64_t stream_id = 0;
    worker::v1::RendezvousRequest request;
  };

  void SendLocked(int64_t stream_id, worker::v1::ConnectResponse message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnEvents(int64_t stream_id, const worker::v1::TaskEvents& events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnRendezvous(int64_t stream_id, const worker::v1::RendezvousRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the request could be answered now.
  bool AnswerRendezvous(const Waiting& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BreakLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  std::map<int64_t, Stream> streams_ ABSL_GUARDED_BY(mu_);
  int64_t next_stream_id_ ABSL_GUARDED_BY(mu_) = 1;
  bool away_ ABSL_GUARDED_BY(mu_) = false;
  bool blobs_away_ ABSL_GUARDED_BY(mu_) = false;
  bool acknowledging_ ABSL_GUARDED_BY(mu_) = true;
  absl::Status refusal_ ABSL_GUARDED_BY(mu_);
  worker::v1::DesiredState desired_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, int64_t> last_sequence_ ABSL_GUARDED_BY(mu_);  // by incarnation
  std::map<int64_t, std::string> incarnations_ ABSL_GUARDED_BY(mu_);   // by stream
  std::map<std::string, std::string> store_ ABSL_GUARDED_BY(mu_);
  std::vector<Waiting> waiting_ ABSL_GUARDED_BY(mu_);
  // Of ADD, by incarnation and call id: as the real one, it carries a call out once.
  std::map<std::pair<std::string, int64_t>, worker::v1::StoreResponse> answers_ ABSL_GUARDED_BY(mu_);
  bool lose_answer_ ABSL_GUARDED_BY(mu_) = false;
  std::map<std::string, std::string> unfinished_ ABSL_GUARDED_BY(mu_);  // uploads, by hash
  int64_t cut_download_ ABSL_GUARDED_BY(mu_) = -1;
  int64_t cut_upload_ ABSL_GUARDED_BY(mu_) = -1;
  Received received_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_TESTING_FAKE_COORDINATOR_H_
