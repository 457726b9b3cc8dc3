// ursa-worker: the agent of one machine.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "worker/agent/agent.h"
#include "worker/agent/blob_cache.h"
#include "worker/agent/grpc_coordinator_link.h"
#include "worker/agent/health/machine_reader.h"
#include "worker/agent/health/nvml.h"
#include "worker/agent/join.h"
#include "worker/agent/machine.h"
#include "worker/agent/worker_flags.h"

namespace ursa {
namespace {

constexpr char kVersion[] = "0.1.0";

// The program beside this one, else the one in the folder that URSA_BIN names.
std::string FindProgram(const std::string& name) {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path));
  const std::string program(path, length > 0 ? length : 0);
  const std::string beside = program.substr(0, program.rfind('/') + 1) + name;
  const char* folder = std::getenv("URSA_BIN");
  return ::access(beside.c_str(), X_OK) == 0 || folder == nullptr ? beside : absl::StrCat(folder, "/", name);
}

// SIGTERM and SIGINT arrive here alone: once to end in order, twice to end at once.
void HandleSignals(Agent* agent, const sigset_t& signals) {
  for (bool first = true;; first = false) {
    int signal = 0;
    if (::sigwait(&signals, &signal) != 0 || signal == SIGUSR1) return;
    URSA_LOG(INFO) << "signal " << signal << (first ? ": shutting down" : ": ending at once");
    first ? agent->Shutdown() : agent->KillAll();
  }
}

// Waits between tries to join; false: a signal asks to end.
bool WaitUnlessSignaled(absl::Duration time, const sigset_t& signals) {
  const timespec limit = absl::ToTimespec(time);
  return ::sigtimedwait(&signals, nullptr, &limit) <= 0;
}

// Chooses what this worker shows to the coordinator; joins if that is what it was started for.
absl::Status PrepareToken(const WorkerFlags& flags, const JoinFiles& files, const sigset_t& signals,
                          GrpcCoordinatorLinkOptions* link) {
  link->token_file = flags.token_file;
  if (!flags.join_token_file.empty()) {
    GrpcCoordinatorLinkOptions join_options = *link;
    join_options.token_file = flags.join_token_file;
    JoinCalls calls;
    calls.join = [&join_options](const std::string& hash) { return JoinOnce(join_options, hash); };
    calls.wait = [&signals](absl::Duration time) { return WaitUnlessSignaled(time, signals); };
    SeededRng rng(std::stoull(RandomHex(8), nullptr, 16));
    Backoff backoff(AgentState::Options().reconnect, &rng);
    URSA_RETURN_IF_ERROR(JoinCluster(files, calls, &backoff));
  }
  if (link->token_file.empty() && HasJoined(files)) link->token_file = files.credential;
  return absl::OkStatus();
}

// The GPUs of the slots, or null: they are CPU slots, or their number was said and NVML is not here to ask.
absl::StatusOr<std::unique_ptr<GpuSlots>> FindGpus(const WorkerFlags& flags) {
  if (flags.kind != "cuda") return nullptr;
  const absl::StatusOr<NvmlFunctions> functions = LoadNvml();
  if (!functions.ok() && flags.slots) {
    URSA_LOG(WARNING) << "GPUs are used without checks: " << functions.status().message();
    return nullptr;
  }
  if (!functions.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("worker: cannot find its GPUs, ", functions.status().message(), ", or --slots N"));
  }
  URSA_ASSIGN_OR_RETURN(std::unique_ptr<Nvml> nvml, Nvml::Open(*functions));
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return GpuSlots::Find(std::move(nvml), flags.slots,
                        visible == nullptr ? std::nullopt : std::optional<std::string>(visible));
}

absl::StatusOr<worker::v1::Hello> MakeHello(const WorkerFlags& flags, const GpuSlots* gpus, const JoinFiles& files) {
  worker::v1::Hello hello;
  if (const absl::StatusOr<std::string> id = ReadFile(files.worker_id); id.ok()) {
    hello.set_worker_id(std::string(absl::StripAsciiWhitespace(*id)));
  } else if (!absl::IsNotFound(id.status())) {
    return id.status();
  }
  URSA_ASSIGN_OR_RETURN(const int64_t starts, CountStart(files));
  hello.set_starts(starts);
  hello.set_host(HostName());
  hello.set_name(flags.name);
  hello.set_slots(gpus != nullptr ? static_cast<int32_t>(gpus->devices().size()) : flags.slots.value_or(0));
  hello.set_kind(flags.kind);
  hello.set_pool(flags.pool);
  *hello.mutable_labels() = flags.labels;
  hello.set_incarnation(RandomHex(16));
  hello.set_version(kVersion);
  hello.set_cores(NumCores());
  hello.set_simd(SimdLevel());
  return hello;
}

absl::Status Run(const WorkerFlags& flags, const sigset_t& signals) {
  const std::string own_dir = flags.dir + "/worker";
  std::error_code error;
  std::filesystem::create_directories(own_dir, error);
  if (error) return ErrnoStatus(error.value(), absl::StrCat("folder \"", own_dir, "\": cannot create"));
  URSA_RETURN_IF_ERROR(LockFolder(own_dir));
  const JoinFiles files(own_dir);

  Agent::Options options;
  options.dir = flags.dir;
  options.worker_id_file = files.worker_id;
  options.task_binary = FindProgram("ursa-task");
  if (::access(options.task_binary.c_str(), X_OK) != 0)
    return ErrnoStatus(errno, absl::StrCat("program \"", options.task_binary, "\": cannot be run"));
  URSA_ASSIGN_OR_RETURN(options.fabric_address, AddressOfInterface(flags.fabric));
  // NCCL of the tasks looks here, unless whoever starts the worker has told it more.
  ::setenv("NCCL_SOCKET_IFNAME", absl::StrCat("=", flags.fabric).c_str(), /*overwrite=*/0);
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<GpuSlots> gpus, FindGpus(flags));
  if (gpus != nullptr) options.devices = gpus->devices();
  BlobCache::Options cache_options;
  cache_options.free_disk_bytes = [&own_dir] { return FreeDiskBytes(own_dir); };
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<BlobCache> cache, BlobCache::Open(own_dir + "/cache", cache_options));
  options.read_machine = [&own_dir, &gpus, &cache] {
    cache->LeaveRoom();
    MachineReading reading{FreeDiskBytes(own_dir), {}};
    if (gpus != nullptr) reading.gpus = gpus->Read();
    return reading;
  };

  GrpcCoordinatorLinkOptions link_options;
  link_options.address = [server = flags.server, file = flags.dir + "/address"]() -> absl::StatusOr<std::string> {
    if (!server.empty()) return server;
    URSA_ASSIGN_OR_RETURN(const std::string address, ReadFile(file));
    return std::string(absl::StripAsciiWhitespace(address));
  };
  link_options.ca_file = flags.ca_file;
  const absl::Status prepared = PrepareToken(flags, files, signals, &link_options);
  if (absl::IsCancelled(prepared)) return absl::OkStatus();  // a signal ended it
  URSA_RETURN_IF_ERROR(prepared);
  URSA_ASSIGN_OR_RETURN(worker::v1::Hello hello, MakeHello(flags, gpus.get(), files));
  // What the coordinator gives to each rank of a training that is submitted while this worker is as it is.
  options.spare.threads = std::max(1, hello.cores() / std::max(1, hello.slots()));
  const std::unique_ptr<CoordinatorLink> link = NewGrpcCoordinatorLink(std::move(link_options));

  Agent agent(link.get(), cache.get(), Clock::Real(), std::move(hello), options);
  std::thread signal_thread([&] { HandleSignals(&agent, signals); });
  absl::Status status = agent.Run();
  ::pthread_kill(signal_thread.native_handle(), SIGUSR1);
  signal_thread.join();
  if (absl::IsUnauthenticated(status) && HasJoined(files)) {
    status = absl::UnauthenticatedError(absl::StrCat(status.message(), " (hint: was this worker removed? delete ",
                                                     files.credential, " and join again with a new token)"));
  }
  return status;
}

int Main(int argc, char** argv) {
  if (argc == 2 && (std::string(argv[1]) == "--help" || std::string(argv[1]) == "-h")) {
    std::fputs(kWorkerUsage, stdout);
    return 0;
  }
  if (argc == 2 && std::string(argv[1]) == "--version") {
    std::printf("ursa-worker %s\n", kVersion);
    return 0;
  }
  const absl::StatusOr<WorkerFlags> flags = ParseWorkerFlags({argv + 1, argv + argc});
  if (!flags.ok()) {
    std::fprintf(stderr, "error: %s\n%s", std::string(flags.status().message()).c_str(), kWorkerUsage);
    return 2;
  }
  // Before any thread starts, so that all of them leave these signals to the one that waits for them.
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  absl::Status status = ArmFailpoints();
  if (status.ok()) status = Run(*flags, signals);
  if (status.ok()) return 0;
  std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) { return ursa::Main(argc, argv); }
