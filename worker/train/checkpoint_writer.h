// Takes checkpoints off the training thread.
#ifndef URSA_WORKER_TRAIN_CHECKPOINT_WRITER_H_
#define URSA_WORKER_TRAIN_CHECKPOINT_WRITER_H_

#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "worker/nn/tensors.h"
#include "worker/train/checkpoint.h"

namespace ursa {

// Copies in memory of what a checkpoint will hold.
struct CheckpointSnapshot {
  NamedTensors model;
  StringMap model_metadata;
  NamedTensors state;
  StringMap state_metadata;
  CheckpointMetadata metadata;
};

// Serialises snapshots and hands them to a sink on a thread of its own, one at a time. Borrows the sink. Submit and
// Flush are called by one thread; destruction waits for the checkpoint in flight.
class CheckpointWriter {
 public:
  explicit CheckpointWriter(CheckpointSink* sink);
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Waits while another checkpoint is in flight, then returns at once. The error of an earlier one, if any.
  absl::Status Submit(CheckpointSnapshot snapshot);

  // Waits until everything submitted has been written. The first error of all, if any.
  absl::Status Flush();

 private:
  void Loop();
  absl::Status Write(CheckpointSnapshot snapshot);
  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !snapshot_.has_value() && !is_writing_; }
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return snapshot_.has_value() || is_closing_; }

  CheckpointSink* const sink_;
  absl::Mutex mu_;
  std::optional<CheckpointSnapshot> snapshot_ ABSL_GUARDED_BY(mu_);
  bool is_writing_ ABSL_GUARDED_BY(mu_) = false;
  bool is_closing_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_CHECKPOINT_WRITER_H_
