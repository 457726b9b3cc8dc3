// What a worker asks of NVIDIA's management library: which GPUs there are, and how they are.
#ifndef URSA_WORKER_AGENT_HEALTH_NVML_H_
#define URSA_WORKER_AGENT_HEALTH_NVML_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ursa {

// The functions that we use, as nvml.h of CUDA 11 and later declares them (all return nvmlReturn_t). Those marked
// optional are null in older drivers. A fake is another table.
struct NvmlFunctions {
  static constexpr int kSuccess = 0;
  static constexpr int kNotSupported = 3;  // by this device
  struct Memory {                          // nvmlMemory_t, bytes
    unsigned long long total, free, used;
  };
  struct MemoryV2 {  // nvmlMemory_v2_t: what the driver keeps for itself is not in `used`
    unsigned int version;
    unsigned long long total, reserved, free, used;
  };

  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_string)(int result) = nullptr;
  int (*device_count)(unsigned int* count) = nullptr;
  int (*device_by_index)(unsigned int index, void** device) = nullptr;
  int (*device_name)(void* device, char* name, unsigned int length) = nullptr;
  int (*device_uuid)(void* device, char* uuid, unsigned int length) = nullptr;
  int (*memory)(void* device, Memory* memory) = nullptr;
  int (*memory_v2)(void* device, MemoryV2* memory) = nullptr;  // optional
  int (*ecc_errors)(void* device, int error_type, int counter, unsigned long long* count) = nullptr;
  int (*remapped_rows)(void* device, unsigned int* correctable, unsigned int* uncorrectable, unsigned int* is_pending,
                       unsigned int* has_failed) = nullptr;  // optional
};

// From libnvidia-ml.so.1, which comes with the driver; it stays loaded. UNAVAILABLE: names the library and says why it
// cannot be had.
absl::StatusOr<NvmlFunctions> LoadNvml(const std::string& library = "libnvidia-ml.so.1");

struct GpuInfo {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  std::string uuid;  // "GPU-..."
  int64_t memory_bytes = 0;
};

struct GpuReading {
  int64_t used_bytes = 0;
  int64_t num_memory_errors = 0;  // uncorrectable ones since the device was reset; 0 where it has no ECC
  bool is_remap_pending = false;  // a bad row of its memory is taken out of use at the next reset
  bool has_remap_failed = false;  // no spare row was left for a bad one
};

// The GPUs of this machine, by NVML's index: the order of their PCI addresses. Calls may take long when a device is
// broken. Safe for use by many threads, as NVML is.
class Nvml {
 public:
  // INTERNAL: NVML's own words.
  static absl::StatusOr<std::unique_ptr<Nvml>> Open(const NvmlFunctions& functions);
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  absl::StatusOr<std::vector<GpuInfo>> List() const;
  absl::StatusOr<GpuReading> Read(int index) const;

 private:
  explicit Nvml(const NvmlFunctions& functions) : functions_(functions) {}
  absl::Status Check(int result, const std::string& what) const;
  absl::StatusOr<void*> Find(int index) const;

  const NvmlFunctions functions_;
};

// Which of the devices CUDA shows to a process whose CUDA_VISIBLE_DEVICES is `value`, in its order: NVML knows nothing
// of that variable. As CUDA has it, the list ends at the first word that names no device: an index, or the beginning of
// a UUID that fits one device alone. Without a value: all. Tasks are started with CUDA_DEVICE_ORDER=PCI_BUS_ID, so that
// indexes are NVML's.
std::vector<int> VisibleGpus(const std::vector<GpuInfo>& gpus, const std::optional<std::string>& value);

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_HEALTH_NVML_H_
