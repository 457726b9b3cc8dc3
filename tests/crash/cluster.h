// The programs under test in one folder, and the failpoints that kill them.
#ifndef URSA_TESTS_CRASH_CLUSTER_H_
#define URSA_TESTS_CRASH_CLUSTER_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/crash/api.h"
#include "tests/crash/process.h"

namespace ursa::crash {

inline constexpr char kCoordinator[] = "ursa-coordinator";
inline constexpr char kWorker[] = "ursa-worker";
inline constexpr char kTask[] = "ursa-task";
inline constexpr char kUrsa[] = "ursa";

// Where the programs are.
struct Programs {
  std::string ursa, coordinator, worker, task;
};

// A coordinator and a worker with two slots, started one by one; what they print is in DIR/log. Not thread-safe.
//
// In `folder`: cluster/ the coordinator's and the worker's own, log/, failpoints/ (base/failpoint.h).
class Cluster {
 public:
  Cluster(Programs programs, std::string folder);

  // Starts the coordinator and waits until it answers; how long that took. FAILED_PRECONDITION if it ended before it
  // answered; DEADLINE_EXCEEDED after the hang limit.
  absl::StatusOr<absl::Duration> StartCoordinator();
  absl::Status StartWorker();
  // Waits until the worker has been heard of since its start. FAILED_PRECONDITION if it ended; DEADLINE_EXCEEDED.
  absl::Status WaitForWorker();
  // Runs `ursa WORDS...` with the failpoints watched, and returns how it ended.
  absl::StatusOr<Death> RunUrsa(const std::vector<std::string>& words);

  Process& coordinator() { return coordinator_; }
  Process& worker() { return worker_; }
  // Processes of tasks that run now.
  std::vector<pid_t> TaskPids() const;
  const std::shared_ptr<Api>& api() const { return api_; }

  // What is armed from now on, for processes that are started from now on: lines without what has fired before.
  absl::Status Arm(const std::vector<std::string>& lines);
  // Whether the line has fired.
  bool HasFired(const std::string& line) const;
  struct Point {
    std::string name;
    bool can_fail = false;
  };
  // All points of a program, as far as it has run.
  std::vector<Point> Points(const std::string& program) const;
  // Points that some process has passed, and in how many processes.
  std::map<std::string, int> Passed() const;
  // Forgets what has fired, so that the same lines may be armed again; Passed() goes on counting.
  absl::Status ForgetFired();

  std::string data_folder() const { return cluster_folder() + "/data"; }
  std::string cluster_folder() const { return folder_ + "/cluster"; }
  const std::string& folder() const { return folder_; }
  // The last lines of a program's log.
  std::string LogTail(const std::string& name, int num_lines) const;
  // Lines of all logs that tell of a bug: failed checks, and tasks that ended by a signal other than SIGKILL.
  std::vector<std::string> SuspiciousLogLines() const;

 private:
  std::string LogFile(const std::string& name) const { return folder_ + "/log/" + name + ".log"; }
  Process::Environment Variables() const;

  const Programs programs_;
  const std::string folder_;
  Process coordinator_;
  Process worker_;
  absl::Time worker_started_;
  std::shared_ptr<Api> api_;
  std::map<std::string, int> passed_before_;  // ForgetFired
};

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_CLUSTER_H_
