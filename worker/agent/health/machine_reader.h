// Looks at the machine without holding up the agent.
#ifndef URSA_WORKER_AGENT_HEALTH_MACHINE_READER_H_
#define URSA_WORKER_AGENT_HEALTH_MACHINE_READER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "ursa/v1/cluster.pb.h"
#include "worker/agent/health/nvml.h"
#include "worker/agent/health/slot_health.h"

namespace ursa {

// A thread that reads when asked, since a broken device can keep a call for long. Destruction waits for a reading that
// is under way. Request may be called from any thread; `done` is called on the reader's.
class MachineReader {
 public:
  MachineReader(std::function<MachineReading()> read, std::function<void(MachineReading)> done);
  ~MachineReader();
  MachineReader(const MachineReader&) = delete;
  MachineReader& operator=(const MachineReader&) = delete;

  // One more reading, after those that were asked for before.
  void Request();

 private:
  void Run();

  const std::function<MachineReading()> read_;
  const std::function<void(MachineReading)> done_;
  absl::Mutex mu_;
  int num_requests_ ABSL_GUARDED_BY(mu_) = 0;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

// The GPUs behind a worker's slots: slot i is the i-th that CUDA shows to its processes.
class GpuSlots {
 public:
  // `num_slots`: nothing: as many as there are. `visible_devices`: the value of CUDA_VISIBLE_DEVICES. Errors: NVML's;
  // FAILED_PRECONDITION: there are none, or too few.
  static absl::StatusOr<std::unique_ptr<GpuSlots>> Find(std::unique_ptr<Nvml> nvml, std::optional<int> num_slots,
                                                        const std::optional<std::string>& visible_devices);

  const std::vector<v1::WorkerSlot>& devices() const { return devices_; }
  std::vector<absl::StatusOr<GpuReading>> Read() const;

 private:
  GpuSlots() = default;

  std::unique_ptr<Nvml> nvml_;
  std::vector<int> indexes_;  // NVML's, by slot
  std::vector<v1::WorkerSlot> devices_;
};

// Bytes free for this user on the disk of `folder`; 0 when that cannot be found out.
int64_t FreeDiskBytes(const std::string& folder);

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_HEALTH_MACHINE_READER_H_
