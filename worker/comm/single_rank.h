// A group of one.
#ifndef URSA_WORKER_COMM_SINGLE_RANK_H_
#define URSA_WORKER_COMM_SINGLE_RANK_H_

#include "worker/comm/collective.h"

namespace ursa {

class SingleRank : public Collective {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  absl::Status AllReduceSum(at::Tensor) override { return absl::OkStatus(); }
  absl::Status Broadcast(at::Tensor, int) override { return absl::OkStatus(); }
  absl::Status Barrier() override { return absl::OkStatus(); }
};

}  // namespace ursa

#endif  // URSA_WORKER_COMM_SINGLE_RANK_H_
