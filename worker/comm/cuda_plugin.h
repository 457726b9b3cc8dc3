// The C interface of the CUDA plug-in (libursa_cuda.so), which the worker opens with dlopen: the CPU build stays free
// of CUDA libraries.
#ifndef URSA_WORKER_COMM_CUDA_PLUGIN_H_
#define URSA_WORKER_COMM_CUDA_PLUGIN_H_

#ifdef __cplusplus
extern "C" {
#endif

// Changes with any change below; the worker refuses a plug-in of another version.
#define URSA_CUDA_PLUGIN_VERSION 1

// Fills `error` (of `error_bytes`, always terminated) and returns nonzero on failure. Objects that cross are libtorch's
// own, owned as said: worker and plug-in are built against the same libtorch.
struct UrsaCudaPlugin {
  int version;

  // The number of usable GPUs, or -1 with the driver's message.
  int (*device_count)(char* error, int error_bytes);

  // Makes a NCCL backend, connected with the other ranks'. `store` is a c10d::Store* of which the plug-in takes a
  // reference; `*backend` becomes a c10d::Backend* with one reference, which the caller owns. `timeout_ms` is that of
  // one collective.
  int (*make_nccl_backend)(void* store, int rank, int world_size, int device, long long timeout_ms, void** backend,
                           char* error, int error_bytes);

  // Waits until all work queued on the device has finished.
  int (*synchronize)(int device, char* error, int error_bytes);
};

// The one symbol that is looked up: "ursa_cuda_plugin".
typedef const struct UrsaCudaPlugin* (*UrsaCudaPluginFunction)(void);

#ifdef __cplusplus
}
#endif

#endif  // URSA_WORKER_COMM_CUDA_PLUGIN_H_
