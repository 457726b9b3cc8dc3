// ursa-worker: the agent of one machine.
#include <signal.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "base/net_address.h"
#include "base/status_macros.h"
#include "worker/agent/agent.h"
#include "worker/agent/blob_cache.h"
#include "worker/agent/grpc_coordinator_link.h"
#include "worker/agent/machine.h"

namespace ursa {
namespace {

constexpr char kVersion[] = "0.1.0";
constexpr int kSlotsMax = 1024;

constexpr char kUsage[] =
    "usage: ursa-worker --dir DIR [FLAGS]\n"
    "Runs the tasks that a coordinator gives to this machine.\n"
    "  --dir DIR          folder of this worker's state, in DIR/worker\n"
    "  --server HOST:PORT the coordinator (default: what DIR/address says, read at each connection); "
    "https://HOST:PORT\n"
    "                     for TLS, which every address but loopback needs\n"
    "  --token_file FILE  the token that this worker shows\n"
    "  --ca_file FILE     PEM certificates to trust with TLS (default: the system's)\n"
    "  --slots N          how many ranks may run at once (default 1)\n"
    "  --kind KIND        of the slots: cpu or cuda (default cpu)\n"
    "  --fabric IFACE     network interface that carries collectives (default lo)\n"
    "  --pool NAME        whose queue the slots serve (default: the pool \"default\")\n"
    "The program of tasks, ursa-task, is beside this program, else in $URSA_BIN.\n"
    "Example: ursa-worker --dir ~/ursa --server https://host:7070 --token_file worker.token --ca_file ca.pem --slots "
    "4\n";

absl::StatusOr<std::map<std::string, std::string>> ParseFlags(int argc, char** argv) {
  std::map<std::string, std::string> flags = {{"dir", ""},    {"server", ""},  {"token_file", ""}, {"ca_file", ""},
                                              {"slots", "1"}, {"kind", "cpu"}, {"fabric", "lo"},   {"pool", ""}};
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const size_t equals = word.find('=');
    const std::string name =
        word.substr(0, 2) == "--" ? word.substr(2, equals == std::string::npos ? equals : equals - 2) : "";
    const auto flag = flags.find(name);
    if (flag == flags.end()) return absl::InvalidArgumentError(absl::StrCat("unknown flag \"", word, "\""));
    if (equals != std::string::npos) {
      flag->second = word.substr(equals + 1);
    } else if (i + 1 < argc) {
      flag->second = argv[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrCat("flag \"", word, "\": a value is missing"));
    }
  }
  if (flags["dir"].empty()) return absl::InvalidArgumentError("flag \"--dir\" is missing");
  ServerAddress server;
  if (!flags["server"].empty()) {
    URSA_ASSIGN_OR_RETURN(server, ParseServerAddress(flags["server"]));
  }
  if (!flags["ca_file"].empty() && !server.tls)
    return absl::InvalidArgumentError("flag \"--ca_file\": is for TLS (hint: --server https://HOST:PORT)");
  if (flags["kind"] != "cpu" && flags["kind"] != "cuda")
    return absl::InvalidArgumentError(absl::StrCat("flag \"--kind\" is \"", flags["kind"], "\", may be cpu or cuda"));
  int slots = 0;
  if (!absl::SimpleAtoi(flags["slots"], &slots) || slots < 0 || slots > kSlotsMax)
    return absl::InvalidArgumentError(
        absl::StrCat("flag \"--slots\" is \"", flags["slots"], "\", may be 0 to ", kSlotsMax));
  return flags;
}

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

absl::Status Run(std::map<std::string, std::string> flags, const sigset_t& signals) {
  const std::string dir = flags["dir"];
  const std::string own_dir = dir + "/worker";
  std::error_code error;
  std::filesystem::create_directories(own_dir, error);
  if (error) return ErrnoStatus(error.value(), absl::StrCat("folder \"", own_dir, "\": cannot create"));
  URSA_RETURN_IF_ERROR(LockFolder(own_dir));

  Agent::Options options;
  options.dir = dir;
  options.worker_id_file = own_dir + "/worker.id";
  options.task_binary = FindProgram("ursa-task");
  if (::access(options.task_binary.c_str(), X_OK) != 0)
    return ErrnoStatus(errno, absl::StrCat("program \"", options.task_binary, "\": cannot be run"));
  URSA_ASSIGN_OR_RETURN(options.fabric_address, AddressOfInterface(flags["fabric"]));

  worker::v1::Hello hello;
  if (const absl::StatusOr<std::string> id = ReadFile(options.worker_id_file); id.ok()) {
    hello.set_worker_id(std::string(absl::StripAsciiWhitespace(*id)));
  } else if (!absl::IsNotFound(id.status())) {
    return id.status();
  }
  int slots = 0;
  URSA_CHECK(absl::SimpleAtoi(flags["slots"], &slots));
  hello.set_host(HostName());
  hello.set_slots(slots);
  hello.set_kind(flags["kind"]);
  hello.set_pool(flags["pool"]);
  hello.set_incarnation(RandomHex(16));
  hello.set_version(kVersion);
  hello.set_cores(NumCores());
  hello.set_simd(SimdLevel());

  GrpcCoordinatorLinkOptions link_options;
  link_options.address = [server = flags["server"], file = dir + "/address"]() -> absl::StatusOr<std::string> {
    if (!server.empty()) return server;
    URSA_ASSIGN_OR_RETURN(const std::string address, ReadFile(file));
    return std::string(absl::StripAsciiWhitespace(address));
  };
  link_options.token_file = flags["token_file"];
  link_options.ca_file = flags["ca_file"];
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<BlobCache> cache, BlobCache::Open(own_dir + "/cache", {}));
  const std::unique_ptr<CoordinatorLink> link = NewGrpcCoordinatorLink(std::move(link_options));

  Agent agent(link.get(), cache.get(), Clock::Real(), std::move(hello), options);
  std::thread signal_thread([&] { HandleSignals(&agent, signals); });
  const absl::Status status = agent.Run();
  ::pthread_kill(signal_thread.native_handle(), SIGUSR1);
  signal_thread.join();
  return status;
}

int Main(int argc, char** argv) {
  if (argc == 2 && (std::string(argv[1]) == "--help" || std::string(argv[1]) == "-h")) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (argc == 2 && std::string(argv[1]) == "--version") {
    std::printf("ursa-worker %s\n", kVersion);
    return 0;
  }
  auto flags = ParseFlags(argc, argv);
  if (!flags.ok()) {
    std::fprintf(stderr, "error: %s\n%s", std::string(flags.status().message()).c_str(), kUsage);
    return 2;
  }
  // Before any thread starts, so that all of them leave these signals to the one that waits for them.
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  absl::Status status = ArmFailpoints();
  if (status.ok()) status = Run(*std::move(flags), signals);
  if (status.ok()) return 0;
  std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) { return ursa::Main(argc, argv); }
