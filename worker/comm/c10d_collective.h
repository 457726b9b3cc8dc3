// A Collective over one of libtorch's c10d backends (Gloo, NCCL).
#ifndef URSA_WORKER_COMM_C10D_COLLECTIVE_H_
#define URSA_WORKER_COMM_C10D_COLLECTIVE_H_

#include <memory>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "worker/comm/collective.h"

namespace ursa {

// Makes each call wait for its completion; exceptions become UNAVAILABLE.
class C10dCollective : public Collective {
 public:
  explicit C10dCollective(c10::intrusive_ptr<c10d::Backend> backend) : backend_(std::move(backend)) {}

  int rank() const override { return backend_->getRank(); }
  int world_size() const override { return backend_->getSize(); }
  absl::Status AllReduceSum(at::Tensor tensor) override;
  absl::Status Broadcast(at::Tensor tensor, int root) override;
  absl::Status Barrier() override;

 private:
  template <typename Start>
  absl::Status Finish(const char* what, const Start& start);

  c10::intrusive_ptr<c10d::Backend> backend_;
};

}  // namespace ursa

#endif  // URSA_WORKER_COMM_C10D_COLLECTIVE_H_
