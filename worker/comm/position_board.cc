#include "worker/comm/position_board.h"

#include <utility>

namespace ursa {
namespace {

class WatchedCollective final : public Collective {
 public:
  WatchedCollective(Collective* collective, PositionBoard* board) : collective_(collective), board_(board) {}

  int rank() const override { return collective_->rank(); }
  int world_size() const override { return collective_->world_size(); }
  absl::Status AllReduceSum(at::Tensor tensor) override {
    return Run("all-reduce", [&] { return collective_->AllReduceSum(std::move(tensor)); });
  }
  absl::Status Broadcast(at::Tensor tensor, int root) override {
    return Run("broadcast", [&] { return collective_->Broadcast(std::move(tensor), root); });
  }
  absl::Status Barrier() override {
    return Run("barrier", [&] { return collective_->Barrier(); });
  }
  at::Device device() const override { return collective_->device(); }
  void Interrupt() override { collective_->Interrupt(); }

 private:
  template <typename Call>
  absl::Status Run(const char* what, const Call& call) {
    board_->EnterCollective(what);
    absl::Status status = call();
    board_->LeaveCollective();
    return status;
  }

  Collective* const collective_;
  PositionBoard* const board_;
};

}  // namespace

void PositionBoard::SetStep(int64_t step) {
  absl::MutexLock lock(&mu_);
  step_ = step;
}

void PositionBoard::Enter(const char* doing) {
  absl::MutexLock lock(&mu_);
  doing_ = doing;
  since_ = clock_->Now();
}

void PositionBoard::EnterCollective(const char* collective) {
  absl::MutexLock lock(&mu_);
  ++collectives_;
  collective_ = collective;
  since_ = clock_->Now();
}

void PositionBoard::LeaveCollective() {
  absl::MutexLock lock(&mu_);
  collective_ = nullptr;
  since_ = clock_->Now();
}

void PositionBoard::ResetCollectives() {
  absl::MutexLock lock(&mu_);
  collectives_ = 0;
}

PositionBoard::Position PositionBoard::Get() const {
  absl::MutexLock lock(&mu_);
  return {step_, collectives_, collective_ != nullptr, collective_ != nullptr ? collective_ : doing_,
          clock_->Now() - since_};
}

std::unique_ptr<Collective> WatchCollective(Collective* collective, PositionBoard* board) {
  return std::make_unique<WatchedCollective>(collective, board);
}

}  // namespace ursa
