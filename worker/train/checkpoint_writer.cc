#include "worker/train/checkpoint_writer.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/nn/safetensors.h"
#include "worker/nn/torch_error.h"

namespace ursa {

const char* CheckpointReasonName(CheckpointReason reason) {
  switch (reason) {
    case CheckpointReason::kSteps:
      return "steps";
    case CheckpointReason::kEpoch:
      return "epoch";
    case CheckpointReason::kRequested:
      return "requested";
    case CheckpointReason::kEnd:
      return "end";
  }
  return "unknown";
}

CheckpointWriter::CheckpointWriter(CheckpointSink* sink) : sink_(sink), thread_([this] { Loop(); }) {}

CheckpointWriter::~CheckpointWriter() {
  {
    absl::MutexLock lock(&mu_);
    is_closing_ = true;
  }
  thread_.join();
}

absl::Status CheckpointWriter::Submit(CheckpointSnapshot snapshot) {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(this, &CheckpointWriter::IsIdle));
  URSA_RETURN_IF_ERROR(status_);
  snapshot_ = std::move(snapshot);
  return absl::OkStatus();
}

absl::Status CheckpointWriter::Flush() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(this, &CheckpointWriter::IsIdle));
  return status_;
}

void CheckpointWriter::Loop() {
  absl::MutexLock lock(&mu_);
  while (true) {
    mu_.Await(absl::Condition(this, &CheckpointWriter::HasWork));
    if (!snapshot_.has_value()) return;
    CheckpointSnapshot snapshot = *std::move(snapshot_);
    snapshot_.reset();
    is_writing_ = true;
    mu_.Unlock();
    absl::Status status = Write(std::move(snapshot));
    mu_.Lock();
    is_writing_ = false;
    status_.Update(std::move(status));
  }
}

absl::Status CheckpointWriter::Write(CheckpointSnapshot snapshot) {
  try {
    Checkpoint checkpoint;
    URSA_ASSIGN_OR_RETURN(checkpoint.model, SerializeSafetensors(snapshot.model, snapshot.model_metadata));
    URSA_ASSIGN_OR_RETURN(checkpoint.state, SerializeSafetensors(snapshot.state, snapshot.state_metadata));
    checkpoint.metadata = std::move(snapshot.metadata);
    snapshot = {};
    return sink_->Write(std::move(checkpoint));
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("checkpoint: ", TorchErrorText(e)));
  }
}

}  // namespace ursa
