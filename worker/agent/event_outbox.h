// What tasks reported and the coordinator has not yet made durable.
#ifndef URSA_WORKER_AGENT_EVENT_OUTBOX_H_
#define URSA_WORKER_AGENT_EVENT_OUTBOX_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ursa/worker/v1/worker.pb.h"
#include "worker/agent/task_table.h"

namespace ursa {

// Queues of events, one per process, in memory. Pure: no I/O, no clock, no threads.
//
//   Add() --> waiting for blobs --OnUploaded()--> ready --TakeMessages()--> in flight, numbered --OnAck()--> gone
//              (CheckpointSaved only)                      ^                     |
//                                                          +--OnDisconnected()---+  (same number, sent again)
//
// Order: events of one process leave in the order in which they were added; a checkpoint whose blobs are not uploaded
// holds back what was added after it. Between processes there is no order.
// Bounds: callers ask HasRoom() and LogRoom() first. A newer progress replaces an unsent older one. A newer checkpoint
// replaces an older one whose upload has not begun, unless that is the last of its training or among the best by the
// experiment's own metric: so a coordinator that is away for hours costs a bounded number of checkpoints.
class EventOutbox {
 public:
  struct Options {
    size_t bytes_max = size_t{64} << 20;         // of queued events of all processes, in flight included
    size_t log_bytes_max = size_t{1} << 20;      // of queued printed text of one process
    size_t message_bytes_aim = size_t{1} << 20;  // a message is closed when it has so much
    size_t messages_in_flight_max = 16;
  };

  // Which of a training's waiting checkpoints may not be dropped.
  struct CheckpointPolicy {
    int keep_best = 1;
    std::string metric = "valid_loss";
    bool smaller_is_better = true;
  };

  // A checkpoint whose blobs are to be brought to the coordinator.
  struct Upload {
    int64_t event_id = 0;
    std::vector<std::string> hashes;
  };

  explicit EventOutbox(const Options& options) : options_(options) {}

  // Says how checkpoints of a process are to be judged; without it, as the default policy says.
  void SetCheckpointPolicy(const ProcessKey& key, const CheckpointPolicy& policy) { queues_[key].policy = policy; }

  // Whether a task may hand over more.
  bool HasRoom() const { return num_bytes_ < options_.bytes_max; }
  // How many bytes of printed text of this process may be added now.
  size_t LogRoom(const ProcessKey& key) const;

  // Appends an event. `event_id` is that of events with blobs (see BlobsOf), chosen by the caller, unique; else 0.
  void Add(const ProcessKey& key, worker::v1::TaskEvent event, int64_t event_id = 0);

  // The blobs that an event names and the coordinator must have before it hears of the event.
  static std::vector<std::string> BlobsOf(const worker::v1::TaskEvent& event);

  // Uploads to be begun; each is given once.
  std::vector<Upload> TakeUploads();
  // Ids of events whose blobs need not be kept any longer, an upload that runs may end; each is given once.
  std::vector<int64_t> TakeReleased();
  void OnUploaded(int64_t event_id);
  // The blobs cannot be brought to the coordinator, however often it is tried. The event is dropped; when it was the
  // last of its training, TaskFinished (failed, `reason`) takes its place.
  void OnUploadFailed(int64_t event_id, const std::string& reason);
  // Drops checkpoints that have not been uploaded: nobody wants them.
  void DropWaitingCheckpoints(const ProcessKey& key);

  // Messages to be sent now, in order: those that a broken stream lost, then new ones.
  std::vector<worker::v1::TaskEvents> TakeMessages();
  // The stream broke: what is not acknowledged is to be sent again.
  void OnDisconnected() { num_sent_ = 0; }
  // All messages up to `sequence` are durable. A number that was never sent is ignored.
  void OnAck(int64_t sequence);

  bool empty() const { return num_bytes_ == 0; }
  size_t num_bytes() const { return num_bytes_; }

 private:
  enum class BlobPhase { kNone, kWaiting, kUploading };
  struct Entry {
    worker::v1::TaskEvent event;
    size_t bytes = 0;
    int64_t event_id = 0;
    BlobPhase blob_phase = BlobPhase::kNone;
  };
  using Entries = std::list<Entry>;
  struct Queue {
    std::optional<CheckpointPolicy> policy;  // of a process that was announced
    Entries entries;
    size_t log_bytes = 0;                        // of entries
    std::optional<Entries::iterator> progress;   // the unsent one
    std::vector<Entries::iterator> checkpoints;  // those with blobs to be uploaded, oldest first
    bool ended = false;                          // TaskExited was added
  };
  struct InFlight {
    worker::v1::TaskEvents message;
    size_t bytes = 0;
  };

  void DropSuperseded(Queue* queue, const worker::v1::CheckpointSaved& newer);
  // Takes an entry out of its queue, with its blobs.
  void Drop(Queue* queue, Entries::iterator entry);
  // Forgets that the entry waits for blobs.
  void ReleaseBlobs(Queue* queue, Entries::iterator entry);
  // Moves what is ready from one queue into `message` until it has its size. Returns the bytes moved.
  size_t Fill(const ProcessKey& key, Queue* queue, size_t bytes, worker::v1::TaskEvents* message);

  const Options options_;
  std::map<ProcessKey, Queue> queues_;
  size_t num_bytes_ = 0;  // of entries and in_flight_
  std::deque<InFlight> in_flight_;
  size_t num_sent_ = 0;  // of in_flight_, on the present stream
  int64_t next_sequence_ = 1;
  std::vector<int64_t> released_;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_EVENT_OUTBOX_H_
