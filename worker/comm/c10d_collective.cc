#include "worker/comm/c10d_collective.h"

#include <exception>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/failure_cause.h"
#include "worker/nn/torch_error.h"

namespace ursa {

template <typename Start>
absl::Status C10dCollective::Finish(const char* what, const Start& start) {
  std::string cause;
  try {
    const c10::intrusive_ptr<c10d::Work> work = start();
    if (work->wait()) return absl::OkStatus();
    cause = "was aborted";
  } catch (const std::exception& e) {
    cause = TorchErrorText(e);
  }
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
  return Finish("barrier", [&] { return backend_->barrier(c10d::BarrierOptions()); });
}

}  // namespace ursa
