// Tells the agent, twice a second, where this rank is in its training.
#ifndef URSA_WORKER_TASK_POSITION_REPORTER_H_
#define URSA_WORKER_TASK_POSITION_REPORTER_H_

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/agent_client/agent_client.h"
#include "worker/comm/position_board.h"

namespace ursa {

// Has a thread of its own, so that it goes on telling while the training thread hangs: a process that says nothing is
// one that does not run. Borrows both; they must outlive it.
class PositionReporter {
 public:
  PositionReporter(AgentClient* agent, const PositionBoard* board);
  ~PositionReporter();
  PositionReporter(const PositionReporter&) = delete;
  PositionReporter& operator=(const PositionReporter&) = delete;

 private:
  void Loop();

  AgentClient* const agent_;
  const PositionBoard* const board_;
  absl::Mutex mu_;
  bool is_ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace ursa

#endif  // URSA_WORKER_TASK_POSITION_REPORTER_H_
