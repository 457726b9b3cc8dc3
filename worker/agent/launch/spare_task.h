// The spare process of an agent.
#ifndef URSA_WORKER_AGENT_LAUNCH_SPARE_TASK_H_
#define URSA_WORKER_AGENT_LAUNCH_SPARE_TASK_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/rng.h"
#include "worker/agent/launch/spare_keeper.h"
#include "worker/agent/launch/task_launcher.h"
#include "worker/agent/process_supervisor.h"

namespace ursa {

// Carries out what SpareKeeper decides: starts a process of ursa-task that waits for its assignment, watches it, gives
// it away. It dies with this process, as all that the supervisor starts. Borrows all. Touched by one thread, that of
// the agent's Run().
class SpareTask {
 public:
  // `post` has a function called on the agent's thread.
  SpareTask(TaskLauncher* launcher, Clock* clock, Rng* rng, std::function<void(std::function<void()>)> post,
            const SpareKeeper::Options& options)
      : launcher_(launcher), clock_(clock), post_(std::move(post)), keeper_(options, rng) {}

  // To be called after every change, and at NextWakeup(). `is_wanted`: tasks may come.
  void Step(bool is_wanted);
  absl::Time NextWakeup() const { return keeper_.NextWakeup(); }

  struct Taken {
    LaunchedTask process;
    std::string printed;    // so far, the newest of it
    bool is_ready = false;  // else it may still fail to get so far, through no fault of the task
  };
  // The spare, told that this is its task; nothing if the task is to be started in the ordinary way. To be called
  // before each start of a task.
  std::optional<Taken> TakeFor(const ProcessKey& key, const worker::v1::TaskAssignment& assignment);

  // Whether the process is the spare; then it is dealt with.
  bool OnOutput(int64_t process_id, std::string_view printed);
  bool OnExit(int64_t process_id, const ProcessSupervisor::Exit& exit);

 private:
  struct Spare {
    LaunchedTask process;
    std::string printed;
    bool is_told_to_end = false;
  };

  void Start(int threads);
  // It ended by itself, or could not be started.
  void LogFailure(const absl::Status& status);

  TaskLauncher* const launcher_;
  Clock* const clock_;
  const std::function<void(std::function<void()>)> post_;
  SpareKeeper keeper_;
  std::optional<Spare> spare_;
  std::string last_failure_;  // logged last; empty since one was ready
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_LAUNCH_SPARE_TASK_H_
