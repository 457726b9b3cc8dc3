// How the system sees a process that was started ahead of its task.
#ifndef URSA_WORKER_TASK_SPARE_H_
#define URSA_WORKER_TASK_SPARE_H_

#include <string>
#include <vector>

namespace ursa {

// Shows `words` as this process's command line, in the place of main()'s `argv`, whose words are then gone; words that
// find no room are left out.
void SetCommandLine(int argc, char** argv, const std::vector<std::string>& words);

// As long as it lives the kernel ends this process before others when memory runs out, if it lets us ask for that.
class FirstToGo {
 public:
  FirstToGo();
  ~FirstToGo();
  FirstToGo(const FirstToGo&) = delete;
  FirstToGo& operator=(const FirstToGo&) = delete;

 private:
  std::string score_;  // before; empty: it stayed
};

}  // namespace ursa

#endif  // URSA_WORKER_TASK_SPARE_H_
