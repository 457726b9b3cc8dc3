// A Collective in the form that c10d::Reducer wants.
#ifndef URSA_WORKER_COMM_COLLECTIVE_BACKEND_H_
#define URSA_WORKER_COMM_COLLECTIVE_BACKEND_H_

#include <deque>
#include <functional>
#include <thread>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/comm/collective.h"

namespace ursa {

// Runs all-reduces on a thread of its own, in the order they were asked for, so that they overlap with backward. While
// any is pending nobody else may use the collective: Reducer waits for all of them before backward returns. Borrows the
// collective. Errors surface as exceptions of the returned work. Destruction waits for what is pending.
class CollectiveBackend : public c10d::Backend {
 public:
  explicit CollectiveBackend(Collective* collective);
  ~CollectiveBackend() override;

  const std::string getBackendName() const override { return "ursa"; }
  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& options) override;

 private:
  void Loop();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !queue_.empty() || is_closing_; }

  Collective* const collective_;
  absl::Status status_;  // of the first that failed; used by the thread alone
  absl::Mutex mu_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool is_closing_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

// The process group of `collective` for tensors on `device`.
c10::intrusive_ptr<c10d::ProcessGroup> MakeProcessGroup(Collective* collective, c10::DeviceType device);

}  // namespace ursa

#endif  // URSA_WORKER_COMM_COLLECTIVE_BACKEND_H_
