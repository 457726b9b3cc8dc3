#include "worker/comm/device.h"

#include <ATen/Context.h>
#include <dlfcn.h>

#include <cstdlib>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/comm/c10d_collective.h"
#include "worker/comm/cuda_plugin.h"
#include "worker/comm/gloo_collective.h"
#include "worker/comm/store_adapter.h"

namespace ursa {
namespace {

constexpr int kErrorBytes = 4096;

class CpuAccelerator : public Accelerator {
 public:
  int num_devices() const override { return 1; }
  absl::StatusOr<at::Device> Device(int) const override { return at::Device(at::kCPU); }
  absl::StatusOr<std::unique_ptr<Collective>> MakeCollective(std::shared_ptr<RendezvousStore> store, int rank,
                                                             int world_size, at::Device, const std::string& address,
                                                             absl::Duration timeout) const override {
    GlooOptions options;
    options.rank = rank;
    options.world_size = world_size;
    options.address = address;
    options.timeout = timeout;
    return MakeGlooCollective(std::move(store), options);
  }
};

// NCCL's own meeting cannot be left, whoever dies before it: the ranks meet at the store first, which can be.
absl::Status MeetAll(RendezvousStore* store, int world_size, absl::Duration timeout) {
  constexpr char kArrived[] = "nccl/arrived", kComplete[] = "nccl/complete";
  URSA_ASSIGN_OR_RETURN(const int64_t arrived, store->Add(kArrived, 1));
  if (arrived == world_size) URSA_RETURN_IF_ERROR(store->Set(kComplete, "1"));
  return store->Wait({kComplete}, timeout);
}

class CudaAccelerator : public Accelerator {
 public:
  CudaAccelerator(const UrsaCudaPlugin* plugin, int num_devices) : plugin_(plugin), num_devices_(num_devices) {}
  int num_devices() const override { return num_devices_; }
  absl::StatusOr<at::Device> Device(int slot) const override {
    if (slot >= 0 && slot < num_devices_) return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(slot));
    return absl::InvalidArgumentError(
        absl::StrCat("device: cuda has ", num_devices_, " devices, asked for slot ", slot));
  }
  absl::StatusOr<std::unique_ptr<Collective>> MakeCollective(std::shared_ptr<RendezvousStore> store, int rank,
                                                             int world_size, at::Device device, const std::string&,
                                                             absl::Duration timeout) const override {
    URSA_RETURN_IF_ERROR(MeetAll(store.get(), world_size, timeout));
    const auto adapter = c10::make_intrusive<StoreAdapter>(std::move(store), absl::ToChronoMilliseconds(timeout));
    void* backend = nullptr;
    char error[kErrorBytes] = "";
    if (plugin_->make_nccl_backend(adapter.get(), rank, world_size, device.index(), absl::ToInt64Milliseconds(timeout),
                                   &backend, error, kErrorBytes) != 0) {
      return absl::UnavailableError(absl::StrCat("nccl: rank ", rank, " of ", world_size, ": ", error));
    }
    return std::unique_ptr<Collective>(std::make_unique<C10dCollective>(
        c10::intrusive_ptr<c10d::Backend>::reclaim(static_cast<c10d::Backend*>(backend)), device));
  }

 private:
  const UrsaCudaPlugin* plugin_;
  int num_devices_;
};

absl::StatusOr<const UrsaCudaPlugin*> LoadCuda(const std::string& path) {
  // Global: the plug-in registers kernels that libtorch_cpu's dispatcher calls. Never closed: they stay registered.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("device cuda: ", dlerror(), " (hint: LD_LIBRARY_PATH at torch/lib of PyTorch 2.11 for CUDA 13)"));
  }
  const auto function = reinterpret_cast<UrsaCudaPluginFunction>(dlsym(library, "ursa_cuda_plugin"));
  if (function == nullptr) return absl::FailedPreconditionError(absl::StrCat("device cuda: ", dlerror()));
  const UrsaCudaPlugin* plugin = function();
  if (plugin->version != URSA_CUDA_PLUGIN_VERSION) {
    return absl::FailedPreconditionError(
        absl::StrCat("device cuda: ", path, " has version ", plugin->version, ", expected ", URSA_CUDA_PLUGIN_VERSION));
  }
  return plugin;
}

absl::StatusOr<std::unique_ptr<Accelerator>> OpenCuda(const std::string& path) {
  URSA_ASSIGN_OR_RETURN(const UrsaCudaPlugin* const plugin, LoadCuda(path));
  char error[kErrorBytes] = "";
  const int count = plugin->device_count(error, kErrorBytes);
  if (count < 1) return absl::FailedPreconditionError(absl::StrCat("device cuda: ", error));
  // A run is the same bit for bit each time, as on the CPU: no algorithm that is chosen by its speed just then, or that
  // sums in the order in which threads come.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::globalContext().setBenchmarkCuDNN(false);
  at::globalContext().setDeterministicCuDNN(true);
  return std::unique_ptr<Accelerator>(std::make_unique<CudaAccelerator>(plugin, count));
}

absl::Status UnknownKind(const std::string& kind) {
  return absl::InvalidArgumentError(absl::StrCat("device: unknown kind \"", kind, "\", known are cpu, cuda"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Accelerator>> OpenAccelerator(const std::string& kind, const std::string& plugin_path) {
  if (kind == "cpu") return std::unique_ptr<Accelerator>(std::make_unique<CpuAccelerator>());
  if (kind == "cuda") return OpenCuda(plugin_path);
  return UnknownKind(kind);
}

absl::Status LoadAccelerator(const std::string& kind, const std::string& plugin_path) {
  if (kind == "cpu") return absl::OkStatus();  // it is linked to this program
  if (kind == "cuda") return LoadCuda(plugin_path).status();
  return UnknownKind(kind);
}

}  // namespace ursa
