// What a process can do before its task needs it.
#ifndef URSA_WORKER_TASK_WARM_UP_H_
#define URSA_WORKER_TASK_WARM_UP_H_

#include <c10/core/Device.h>

#include <string>
#include <thread>

#include "absl/status/status.h"

namespace ursa {

// Loads and sets up what a task of this kind of device begins with: the libraries, torch's threads, the code of a
// training step. Draws nothing from torch's generators; of a GPU, which is some task's or nobody's, it loads the
// libraries and touches no device. Errors: those that a task would meet in the same place.
absl::Status WarmUp(const std::string& kind, const std::string& plugin_path);

// What the first step on a GPU costs whatever the model is (the device's context, libraries and kernels that load), paid
// in a thread of its own while the task fetches its pictures, builds its model and meets its group. Draws nothing from
// torch's generators. What fails here, the task meets itself.
class DeviceWarmUp {
 public:
  explicit DeviceWarmUp(at::Device device);  // of the CPU: has nothing to do
  ~DeviceWarmUp();                           // waits until it is done
  DeviceWarmUp(const DeviceWarmUp&) = delete;
  DeviceWarmUp& operator=(const DeviceWarmUp&) = delete;

 private:
  std::thread thread_;
};

}  // namespace ursa

#endif  // URSA_WORKER_TASK_WARM_UP_H_
