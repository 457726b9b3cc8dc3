#include "worker/comm/collective_backend.h"

#include <c10/core/DeviceGuard.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace ursa {
namespace {

class PendingWork : public c10d::Work {
 public:
  PendingWork(int rank, c10::intrusive_ptr<c10::ivalue::Future> future)
      : Work(rank, c10d::OpType::ALLREDUCE), future_(std::move(future)) {}
  bool isCompleted() override { return future_->completed(); }
  bool isSuccess() const override { return future_->completed() && !future_->hasError(); }
  bool wait(std::chrono::milliseconds) override {
    future_->waitAndThrow();
    return true;
  }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

 private:
  c10::intrusive_ptr<c10::ivalue::Future> future_;
};

}  // namespace

CollectiveBackend::CollectiveBackend(Collective* collective)
    : Backend(collective->rank(), collective->world_size()), collective_(collective), thread_([this] { Loop(); }) {}

CollectiveBackend::~CollectiveBackend() {
  {
    absl::MutexLock lock(&mu_);
    is_closing_ = true;
  }
  thread_.join();
}

void CollectiveBackend::Loop() {
  while (true) {
    std::function<void()> next;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &CollectiveBackend::HasWork));
      if (queue_.empty()) return;
      next = std::move(queue_.front());
      queue_.pop_front();
    }
    next();
  }
}

c10::intrusive_ptr<c10d::Work> CollectiveBackend::allreduce(std::vector<at::Tensor>& tensors,
                                                            const c10d::AllreduceOptions& options) {
  TORCH_CHECK(options.reduceOp == c10d::ReduceOp::SUM, "only sums are reduced here");
  const auto type = c10::ListType::create(c10::TensorType::get());
  std::vector<c10::Device> devices;
  if (!tensors.empty() && !tensors[0].is_cpu()) devices.push_back(tensors[0].device());
  auto future = c10::make_intrusive<c10::ivalue::Future>(type, devices);
  const auto run = [this, tensors, future] {
    for (const at::Tensor& tensor : tensors) {
      const c10::DeviceGuard guard(tensor.device());
      // After one that failed the others would wait for peers that have left.
      if (status_.ok()) status_ = collective_->AllReduceSum(tensor);
      if (!status_.ok()) {
        future->setError(std::make_exception_ptr(std::runtime_error(std::string(status_.message()))));
        return;
      }
    }
    future->markCompleted(c10::IValue(tensors));
  };
  {
    absl::MutexLock lock(&mu_);
    queue_.push_back(run);
  }
  return c10::make_intrusive<PendingWork>(getRank(), std::move(future));
}

c10::intrusive_ptr<c10d::ProcessGroup> MakeProcessGroup(Collective* collective, c10::DeviceType device) {
  auto group = c10::make_intrusive<c10d::ProcessGroup>(collective->rank(), collective->world_size());
  group->setBackend(device, c10d::ProcessGroup::BackendType::CUSTOM,
                    c10::intrusive_ptr<c10d::Backend>(c10::make_intrusive<CollectiveBackend>(collective)));
  return group;
}

}  // namespace ursa
