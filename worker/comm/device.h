// The device a rank computes on: the CPU, or a GPU through the CUDA plug-in.
#ifndef URSA_WORKER_COMM_DEVICE_H_
#define URSA_WORKER_COMM_DEVICE_H_

#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/collective.h"
#include "worker/comm/rendezvous_store.h"

namespace ursa {

// A kind of device and the way its ranks talk. Never falls back to another kind.
class Accelerator {
 public:
  virtual ~Accelerator() = default;
  virtual int num_devices() const = 0;
  // The device of the worker's slot `slot`: of GPUs the one of that index, INVALID_ARGUMENT if there is none; all slots
  // of the CPU have the same.
  virtual absl::StatusOr<at::Device> Device(int slot) const = 0;
  // Joins the ranks of this job: Gloo between CPUs, NCCL between GPUs. `address` as in GlooOptions.
  virtual absl::StatusOr<std::unique_ptr<Collective>> MakeCollective(std::shared_ptr<RendezvousStore> store, int rank,
                                                                     int world_size, at::Device device,
                                                                     const std::string& address,
                                                                     absl::Duration timeout) const = 0;
};

// `kind` is "cpu" or "cuda". For "cuda" opens the plug-in at `plugin_path` (libursa_cuda.so) with dlopen. Errors:
// INVALID_ARGUMENT (another kind), FAILED_PRECONDITION with the loader's message (the plug-in, or torch's CUDA
// libraries that it needs, cannot be loaded), or when it finds no device.
absl::StatusOr<std::unique_ptr<Accelerator>> OpenAccelerator(const std::string& kind, const std::string& plugin_path);

// Loads the libraries that OpenAccelerator loads, which takes the longest, and touches no device. Errors: as there, but
// for devices that are not found.
absl::Status LoadAccelerator(const std::string& kind, const std::string& plugin_path);

}  // namespace ursa

#endif  // URSA_WORKER_COMM_DEVICE_H_
