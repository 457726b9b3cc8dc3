#include "worker/comm/c10d_collective.h"

#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/failure_cause.h"
#include "worker/nn/torch_error.h"

namespace ursa {

C10dCollective::~C10dCollective() {
  if (!device_.is_cuda()) return;
  try {
    // A communicator that has lost a rank would wait for it when it is closed in good order.
    if (has_failed_ || is_interrupted_) {
      backend_->abort();
    } else {
      backend_->shutdown();
    }
  } catch (const std::exception&) {
    // What was to be told has been told by the call that failed.
  }
}

// NCCL's wait() makes the GPU wait, not the caller, who would take what a broken group has left for gradients.
void C10dCollective::AwaitOnDevice(c10d::Work& work) {
  while (!work.isCompleted()) {
    if (is_interrupted_) throw std::runtime_error("the group has lost a rank");
    std::this_thread::yield();
  }
  if (const std::exception_ptr failure = work.exception()) std::rethrow_exception(failure);
}

template <typename Start>
absl::Status C10dCollective::Finish(const char* what, const Start& start) {
  std::string cause = "was aborted";
  try {
    if (is_interrupted_) throw std::runtime_error("the group has lost a rank");
    const c10::intrusive_ptr<c10d::Work> work = start();
    if (device_.is_cuda()) AwaitOnDevice(*work);
    if (work->wait()) return absl::OkStatus();
  } catch (const std::exception& e) {
    cause = TorchErrorText(e);
  }
  has_failed_ = true;
  return WithCause(absl::UnavailableError(absl::StrCat(what, " of rank ", rank(), " of ", world_size(), ": ", cause)),
                   FailureCause::kPeerLost);
}

absl::Status C10dCollective::AllReduceSum(at::Tensor tensor) {
  return Finish("all-reduce", [&] {
    std::vector<at::Tensor> tensors = {tensor};
    return backend_->allreduce(tensors, c10d::AllreduceOptions());
  });
}

absl::Status C10dCollective::Broadcast(at::Tensor tensor, int root) {
  return Finish("broadcast", [&] {
    std::vector<at::Tensor> tensors = {tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    return backend_->broadcast(tensors, options);
  });
}

absl::Status C10dCollective::Barrier() {
  return Finish("barrier", [&] {
    c10d::BarrierOptions options;
    options.device = device_;
    return backend_->barrier(options);
  });
}

}  // namespace ursa
