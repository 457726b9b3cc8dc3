// What a process does that was started ahead of its task.
#ifndef URSA_WORKER_TASK_SPARE_H_
#define URSA_WORKER_TASK_SPARE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ursa {

// Loads and sets up what a task of this kind of device begins with: the libraries, torch's threads, the code of a
// training step. Draws nothing from torch's generators; of a GPU, which is some task's or nobody's, it loads the
// libraries and touches no device. Errors: those that a task would meet in the same place.
absl::Status WarmUp(const std::string& kind, const std::string& plugin_path);

// Shows `words` as this process's command line, in the place of `argv`, which it ends; words that find no room are left
// out.
void SetCommandLine(int argc, char** argv, const std::vector<std::string>& words);

// As long as it lives the kernel ends this process before others when memory runs out, if it lets us ask for that.
class FirstToGo {
 public:
  FirstToGo();
  ~FirstToGo();
  FirstToGo(const FirstToGo&) = delete;
  FirstToGo& operator=(const FirstToGo&) = delete;

 private:
  std::string score_;  // before
};

}  // namespace ursa

#endif  // URSA_WORKER_TASK_SPARE_H_
