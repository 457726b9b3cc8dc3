// What a process can do before it knows its task.
#ifndef URSA_WORKER_TASK_WARM_UP_H_
#define URSA_WORKER_TASK_WARM_UP_H_

#include <string>

#include "absl/status/status.h"

namespace ursa {

// Loads and sets up what a task of this kind of device begins with: the libraries, torch's threads, the code of a
// training step. Draws nothing from torch's generators; of a GPU, which is some task's or nobody's, it loads the
// libraries and touches no device. Errors: those that a task would meet in the same place.
absl::Status WarmUp(const std::string& kind, const std::string& plugin_path);

}  // namespace ursa

#endif  // URSA_WORKER_TASK_WARM_UP_H_
