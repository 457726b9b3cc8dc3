// Gradients of data-parallel ranks, averaged while backward still runs.
#ifndef URSA_WORKER_COMM_DATA_PARALLEL_H_
#define URSA_WORKER_COMM_DATA_PARALLEL_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "worker/comm/collective.h"

namespace ursa {

// One phase's gradient exchange: c10d::Reducer over a Collective. Buckets are made once, from the last layers to the
// first, and never rebuilt, so that a resumed run adds in the same order. With one rank it does nothing. Destroy it
// before making the next one. Not thread-safe. Torch's exceptions pass through Backward() as statuses.
class DataParallel {
 public:
  // `trainable`: leaves that require gradients, in forward order, each used in every forward. Borrows `collective`.
  DataParallel(Collective* collective, std::vector<at::Tensor> trainable);
  ~DataParallel();
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;

  // To be called before each forward that has a backward.
  void PrepareForward();

  // Runs backward from the scalar `loss`; then each trainable's gradient is the mean of all ranks'. UNAVAILABLE when a
  // peer died.
  absl::Status Backward(const at::Tensor& loss);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
  Collective* collective_;
};

// Replaces `tensors` on every rank by the root's, from device to device, in messages of one type and about 25 MB: all
// of them or, with an error, none. They have the same shapes and types on all ranks, in the same order. A rank with
// `takes` false does not replace its own, of which it needs the shapes alone. Takes as much memory again on a rank that
// replaces them. UNAVAILABLE when a peer died.
absl::Status BroadcastCoalesced(Collective* collective, int root, const std::vector<at::Tensor>& tensors,
                                bool takes = true);

}  // namespace ursa

#endif  // URSA_WORKER_COMM_DATA_PARALLEL_H_
