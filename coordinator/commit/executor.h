// Work that takes long or waits for the disk, done away from the coordinator's lock and from gRPC's threads.
#ifndef URSA_COORDINATOR_COMMIT_EXECUTOR_H_
#define URSA_COORDINATOR_COMMIT_EXECUTOR_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace ursa {

// Runs functions later. Thread-safe.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void Run(std::function<void()> function) = 0;
};

// A fixed number of threads; functions start in order.
class ThreadPool : public Executor {
 public:
  explicit ThreadPool(int num_threads);
  ~ThreadPool() override { Stop(); }
  // Runs all that was given, then ends; what is given later is dropped. May be called twice, by one thread.
  void Stop();
  void Run(std::function<void()> function) override;

 private:
  void Loop();

  absl::Mutex mu_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool is_stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

// Keeps functions until the owner runs them: deterministic, for simulation and tests. One thread.
class ManualExecutor : public Executor {
 public:
  void Run(std::function<void()> function) override { queue_.push_back(std::move(function)); }
  // Runs what is there and what that adds. Returns whether there was anything.
  bool RunQueued();

 private:
  std::deque<std::function<void()>> queue_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_COMMIT_EXECUTOR_H_
