#include "coordinator/commit/executor.h"

#include <utility>

namespace ursa {

ThreadPool::ThreadPool(int num_threads) {
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Loop(); });
}

void ThreadPool::Stop() {
  {
    absl::MutexLock lock(&mu_);
    is_stopping_ = true;
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void ThreadPool::Run(std::function<void()> function) {
  absl::MutexLock lock(&mu_);
  if (!is_stopping_) queue_.push_back(std::move(function));
}

void ThreadPool::Loop() {
  while (true) {
    std::function<void()> function;
    {
      absl::MutexLock lock(&mu_);
      auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !queue_.empty() || is_stopping_; };
      mu_.Await(absl::Condition(&has_work));
      if (queue_.empty()) return;
      function = std::move(queue_.front());
      queue_.pop_front();
    }
    function();
  }
}

bool ManualExecutor::RunQueued() {
  bool did_something = false;
  while (!queue_.empty()) {
    std::function<void()> function = std::move(queue_.front());
    queue_.pop_front();
    function();
    did_something = true;
  }
  return did_something;
}

}  // namespace ursa
