// A program that a bench starts and ends.
#ifndef URSA_TOOLS_BENCH_COORDINATOR_CHILD_PROCESS_H_
#define URSA_TOOLS_BENCH_COORDINATOR_CHILD_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

namespace ursa {

// Killed when this is destroyed. A failed start ends the bench.
class ChildProcess {
 public:
  // Its output goes to `log_file`. `arguments` begin with the program's path.
  ChildProcess(const std::vector<std::string>& arguments, const std::string& log_file);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Of all its threads, user and system, so far.
  double CpuSeconds() const;
  // Its resident memory now.
  int64_t ResidentBytes() const;
  // Ends it in good order.
  void Terminate();
  void Kill();

 private:
  void End(int signal);

  pid_t pid_ = -1;
};

}  // namespace ursa

#endif  // URSA_TOOLS_BENCH_COORDINATOR_CHILD_PROCESS_H_
