// Very many simulated workers over few connections.
#ifndef URSA_TOOLS_BENCH_COORDINATOR_WORKER_FLEET_H_
#define URSA_TOOLS_BENCH_COORDINATOR_WORKER_FLEET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"

namespace ursa {

// Each worker has a stream of its own, says hello, and beats once in `interval`, all of them evenly spread over it.
// Ends its streams when destroyed.
class WorkerFleet {
 public:
  struct Options {
    std::string address;
    std::string token;
    int num_workers = 1;
    int num_channels = 1;
    int slots = 8;
    absl::Duration interval = absl::Seconds(1);
  };

  explicit WorkerFleet(const Options& options);
  ~WorkerFleet();

  // Waits until each has been welcomed. False after the timeout, or if a stream ended.
  bool WaitUntilWelcome(absl::Duration timeout);
  // Streams that have ended, against the plan; and heartbeats sent so far.
  int num_broken() const;
  int64_t num_heartbeats() const;

 private:
  class Stream;
  struct Shared;

  void Beat();

  const Options options_;
  std::unique_ptr<Shared> shared_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::thread beater_;
};

}  // namespace ursa

#endif  // URSA_TOOLS_BENCH_COORDINATOR_WORKER_FLEET_H_
