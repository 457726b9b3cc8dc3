// A Collective over one of libtorch's c10d backends (Gloo, NCCL).
#ifndef URSA_WORKER_COMM_C10D_COLLECTIVE_H_
#define URSA_WORKER_COMM_C10D_COLLECTIVE_H_

#include <atomic>
#include <memory>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "worker/comm/collective.h"

namespace ursa {

// Makes each call wait for its completion, on a GPU too: only then does the caller know that no rank was lost.
// Exceptions become UNAVAILABLE.
class C10dCollective : public Collective {
 public:
  C10dCollective(c10::intrusive_ptr<c10d::Backend> backend, at::Device device)
      : backend_(std::move(backend)), device_(device) {}
  ~C10dCollective() override;

  int rank() const override { return backend_->getRank(); }
  int world_size() const override { return backend_->getSize(); }
  absl::Status AllReduceSum(at::Tensor tensor) override;
  absl::Status Broadcast(at::Tensor tensor, int root) override;
  absl::Status Barrier() override;
  at::Device device() const override { return device_; }
  void Interrupt() override { is_interrupted_ = true; }

 private:
  template <typename Start>
  absl::Status Finish(const char* what, const Start& start);
  void AwaitOnDevice(c10d::Work& work);

  c10::intrusive_ptr<c10d::Backend> backend_;
  const at::Device device_;
  std::atomic<bool> is_interrupted_{false};
  bool has_failed_ = false;
};

}  // namespace ursa

#endif  // URSA_WORKER_COMM_C10D_COLLECTIVE_H_
