// The seam through which the ranks of a job compute together.
#ifndef URSA_WORKER_COMM_COLLECTIVE_H_
#define URSA_WORKER_COMM_COLLECTIVE_H_

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"

namespace ursa {

// A group of ranks. Every rank must make the same calls in the same order with tensors of equal type and shape, on
// device(). Tensors are dense; float32, float64 or int64. One thread per rank uses it at a time. A call that fails
// leaves the group unusable. Errors of all calls: UNAVAILABLE with the transport's text when a peer died or was late.
class Collective {
 public:
  virtual ~Collective() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  // Where tensors must lie: NCCL carries those of a GPU, Gloo those of the CPU.
  virtual at::Device device() const { return at::Device(at::kCPU); }

  // Replaces `tensor` on every rank by the sum over ranks; the same bits on every rank and in every run.
  virtual absl::Status AllReduceSum(at::Tensor tensor) = 0;

  // Replaces `tensor` on every rank by rank `root`'s.
  virtual absl::Status Broadcast(at::Tensor tensor, int root) = 0;

  // Returns once every rank has called it.
  virtual absl::Status Barrier() = 0;

  // The group has lost a rank: the call under way, and each later one, fails. For transports that do not notice it by
  // themselves (NCCL between GPUs of one machine); Gloo's do. From any thread.
  virtual void Interrupt() {}
};

}  // namespace ursa

#endif  // URSA_WORKER_COMM_COLLECTIVE_H_
