// ursa-coordinator: one per cluster. Keeps everything below one folder:
//   data/          the store                      address        where it answers, once it does
//   admin.token    for people, their owner's alone    worker.token   for agents, likewise
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/core/coordinator.h"
#include "coordinator/core/pool_offer.h"
#include "coordinator/services/grpc_server.h"
#include "storage/blob_store.h"
#include "storage/keys.h"
#include "storage/log_store.h"
#include "storage/metric_log.h"
#include "storage/prediction_ledger.h"
#include "storage/record_store.h"
#include "storage/rocks_kv_store.h"

namespace ursa {
namespace {

Failpoint stores_opened("coordinator.start.stores_opened");
Failpoint token_made("coordinator.start.token_made");  // in its file, not in the store
Failpoint restored("coordinator.start.restored");
Failpoint serving("coordinator.start.serving");  // at an address that nobody knows
Failpoint address_told("coordinator.start.address_told");
Failpoint before_end("coordinator.end.before");

constexpr char kVersion[] = "0.1.0";
constexpr size_t kTokenBytes = 32;
constexpr int kExecutorThreads = 2;
constexpr int kBlobThreads = 4;
constexpr absl::Duration kTickInterval = absl::Milliseconds(100);
constexpr absl::Duration kFreeBytesAge = absl::Milliseconds(100);
constexpr absl::Duration kStallLimitMin = absl::Seconds(5);  // heartbeats are half a second old, positions as much
constexpr absl::Duration kUploadSweepInterval = absl::Hours(1);

constexpr char kUsage[] =
    "ursa-coordinator --dir DIR [FLAGS]\n"
    "  --dir       folder of all data; made if it is not there\n"
    "  --listen    default 127.0.0.1:0; port 0 takes the folder's last port, or a free one\n"
    "  --tls_cert  PEM certificate and those that sign it; needed, with\n"
    "  --tls_key   its PEM key, for any address but loopback\n"
    "  --user_slots_max N       slots that one user may hold in one pool; default: all\n"
    "  --workspace_slots_max N  the same for the users of a workspace (tokens named WORKSPACE/USER)\n"
    "  --aging_step DURATION    waiting so long raises a job by one priority; default 10m, inf: never\n"
    "  --log_retention AGE[,BYTES]  what is kept of what a trial prints; default 720h,1GiB; inf: no limit\n"
    "  --elastic_pools LIST     pools whose workers come on demand, POOL=KIND:WORKERSxSLOTS:CORES[:SIMD],...: jobs "
    "for\n"
    "                           them are taken up to that size, whatever runs there now\n"
    "  --stall_limit DURATION   a training that stands still for so long is restarted; default 10m, inf: never\n"
    "  --version, --help\n"
    "Examples: ursa-coordinator --dir ~/ursa --listen 127.0.0.1:7070\n"
    "          ursa-coordinator --dir ~/ursa --listen 0.0.0.0:7070 --tls_cert host.pem --tls_key host.key\n";

struct Flags {
  std::string dir;
  std::string listen = "127.0.0.1:0";
  std::string tls_cert;
  std::string tls_key;
  SchedulingOptions scheduling;
  LogRetentionOptions log_retention;
  std::map<std::string, ElasticPool> elastic_pools;
  absl::Duration stall_limit = CoordinatorOptions().stall_limit;
};

absl::Status ParseSlots(const std::string& name, const std::string& text, std::optional<int64_t>* slots) {
  if (text.empty()) return absl::OkStatus();
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) {
    return absl::InvalidArgumentError(absl::StrCat("flag --", name, ": \"", text, "\" is no number"));
  }
  *slots = number;
  return absl::OkStatus();
}

absl::Status ParseTime(const std::string& name, const std::string& text, absl::Duration* time) {
  if (text.empty() || absl::ParseDuration(text, time)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("flag --", name, ": \"", text, "\" is no duration (hint: 10m)"));
}

absl::StatusOr<Flags> ParseFlags(int argc, char** argv) {
  Flags flags;
  std::string user_slots;
  std::string workspace_slots;
  std::string aging_step;
  std::string log_retention;
  std::string elastic_pools;
  std::string stall_limit;
  const std::map<std::string, std::string*> known = {{"--dir", &flags.dir},
                                                     {"--listen", &flags.listen},
                                                     {"--tls_cert", &flags.tls_cert},
                                                     {"--tls_key", &flags.tls_key},
                                                     {"--user_slots_max", &user_slots},
                                                     {"--workspace_slots_max", &workspace_slots},
                                                     {"--aging_step", &aging_step},
                                                     {"--log_retention", &log_retention},
                                                     {"--stall_limit", &stall_limit},
                                                     {"--elastic_pools", &elastic_pools}};
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    std::string value;
    const size_t equals = name.find('=');
    const auto it = known.find(name.substr(0, equals));
    if (it == known.end()) return absl::InvalidArgumentError(absl::StrCat("flag \"", name, "\": is not known"));
    if (equals != std::string::npos) {
      value = name.substr(equals + 1);
    } else if (++i < argc) {
      value = argv[i];
    }
    if (value.empty()) return absl::InvalidArgumentError(absl::StrCat("flag ", it->first, ": needs a value"));
    *it->second = value;
  }
  if (flags.dir.empty()) return absl::InvalidArgumentError("flag --dir: must be given");
  URSA_RETURN_IF_ERROR(ParseSlots("user_slots_max", user_slots, &flags.scheduling.user_slots_max));
  URSA_RETURN_IF_ERROR(ParseSlots("workspace_slots_max", workspace_slots, &flags.scheduling.workspace_slots_max));
  URSA_RETURN_IF_ERROR(ParseTime("aging_step", aging_step, &flags.scheduling.aging_step));
  URSA_RETURN_IF_ERROR(ParseTime("stall_limit", stall_limit, &flags.stall_limit));
  if (flags.stall_limit < kStallLimitMin) {
    return absl::InvalidArgumentError(absl::StrCat("flag --stall_limit: ", absl::FormatDuration(flags.stall_limit),
                                                   ", at least ", absl::FormatDuration(kStallLimitMin), " is wanted"));
  }
  if (!log_retention.empty()) {
    URSA_ASSIGN_OR_RETURN(flags.log_retention, ParseLogRetention(log_retention, flags.log_retention));
  }
  if (!elastic_pools.empty()) {
    URSA_ASSIGN_OR_RETURN(flags.elastic_pools, ParseElasticPools(elastic_pools));
  }
  URSA_RETURN_IF_ERROR(flags.scheduling.Validate());
  return flags;
}

// The token in the file, made at the first start: the file is the owner's alone, the store has its hash.
absl::Status InstallToken(const std::string& dir, const std::string& name, const std::set<v1::Permission>& permissions,
                          Access* access) {
  const std::string path = absl::StrCat(dir, "/", name, ".token");
  absl::StatusOr<std::string> token = ReadFile(path);
  if (absl::IsNotFound(token.status())) {
    token = RandomHex(kTokenBytes);
    URSA_RETURN_IF_ERROR(WriteFileAtomically(path, *token + "\n", 0600));
    token_made.Pass();
  }
  URSA_RETURN_IF_ERROR(token.status());
  const std::string bare(absl::StripAsciiWhitespace(*token));
  if (bare.empty()) return absl::FailedPreconditionError(absl::StrCat(path, ": is empty (hint: delete it)"));
  access->SetToken(name, bare, permissions);
  return absl::OkStatus();
}

// The address to try first: a folder keeps its port, so that clients find it again.
std::string PreferredAddress(const std::string& dir, const std::string& listen) {
  if (!absl::EndsWith(listen, ":0")) return listen;
  const absl::StatusOr<std::string> last = ReadFile(dir + "/address");
  if (!last.ok()) return listen;
  const std::string address(absl::StripAsciiWhitespace(*last));
  const std::string host = listen.substr(0, listen.size() - 1);
  return absl::StartsWith(address, host) ? address : listen;
}

absl::StatusOr<std::unique_ptr<GrpcServer>> StartServer(const Flags& flags, Coordinator* coordinator,
                                                        Executor* blob_executor) {
  GrpcServerOptions options;
  if (!flags.tls_cert.empty()) {
    URSA_ASSIGN_OR_RETURN(options.tls_certificate, ReadFile(flags.tls_cert));
  }
  if (!flags.tls_key.empty()) {
    URSA_ASSIGN_OR_RETURN(options.tls_key, ReadFile(flags.tls_key));
  }
  options.listen = PreferredAddress(flags.dir, flags.listen);
  auto server = GrpcServer::Start(coordinator, blob_executor, options);
  if (!absl::IsFailedPrecondition(server.status()) || options.listen == flags.listen) return server;
  URSA_LOG(WARNING) << server.status() << "; taking another one";
  options.listen = flags.listen;
  return GrpcServer::Start(coordinator, blob_executor, options);
}

// Of the disk below a folder. Asked at each submit, so the system is asked ten times a second at most. Thread-safe.
class DiskSpace {
 public:
  explicit DiskSpace(std::string folder) : folder_(std::move(folder)) {}

  // INT64_MAX: not known.
  int64_t FreeBytes() {
    absl::MutexLock lock(&mu_);
    const absl::Time now = Clock::Real()->Now();
    if (now < asked_at_ || now - asked_at_ >= kFreeBytesAge) {
      asked_at_ = now;
      struct statvfs stats;
      free_bytes_ = statvfs(folder_.c_str(), &stats) == 0
                        ? static_cast<int64_t>(stats.f_bavail) * static_cast<int64_t>(stats.f_frsize)
                        : INT64_MAX;
    }
    return free_bytes_;
  }

 private:
  const std::string folder_;
  absl::Mutex mu_;
  absl::Time asked_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  int64_t free_bytes_ ABSL_GUARDED_BY(mu_) = INT64_MAX;
};

// The store and what stands on it.
struct Stores {
  std::unique_ptr<KvStore> store;
  std::unique_ptr<RecordStore> records;
  std::unique_ptr<MetricLog> metrics;
  std::unique_ptr<LogStore> logs;
  std::unique_ptr<PredictionLedger> ledger;
  std::unique_ptr<BlobStore> blobs;
};

absl::StatusOr<Stores> OpenStores(const Flags& flags) {
  if (mkdir(flags.dir.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoStatus(errno, flags.dir);
  auto opened = RocksKvStore::Open(flags.dir + "/data", RocksKvStore::Options());
  if (absl::IsFailedPrecondition(opened.status())) {
    return absl::FailedPreconditionError(absl::StrCat(flags.dir, ": another coordinator has this folder (",
                                                      std::string(opened.status().message()), ")"));
  }
  URSA_RETURN_IF_ERROR(opened.status());
  Stores stores;
  stores.store = *std::move(opened);
  KvStore* const store = stores.store.get();
  URSA_RETURN_IF_ERROR(CheckStoreFormat(store));
  stores.records = std::make_unique<RecordStore>(store);
  stores.metrics = std::make_unique<MetricLog>(store, MetricLog::Options());
  stores.logs = std::make_unique<LogStore>(store, LogStore::Options());
  stores.ledger = std::make_unique<PredictionLedger>(store, PredictionLedger::Options());
  URSA_ASSIGN_OR_RETURN(stores.blobs, BlobStore::Open(store, Clock::Real(), BlobStore::Options()));
  return stores;
}

// Lets time pass until a signal asks to end.
void TickUntilSignal(const sigset_t& end_signals, Coordinator* coordinator, Executor* blob_executor) {
  BlobStore* const blobs = coordinator->env().blobs;
  const absl::Duration upload_age_max = coordinator->env().options.upload_age_max;
  Clock* const clock = Clock::Real();
  absl::Time next_sweep = clock->Now();
  const timespec interval = absl::ToTimespec(kTickInterval);
  while (true) {
    const int signal = sigtimedwait(&end_signals, nullptr, &interval);
    if (signal > 0) {
      URSA_LOG(INFO) << "ends by signal " << signal;
      return;
    }
    coordinator->Tick();
    if (clock->Now() < next_sweep) continue;
    next_sweep = clock->Now() + kUploadSweepInterval;
    blob_executor->Run([blobs, clock, upload_age_max] {
      const auto dropped = blobs->DropUploadsOlderThan(clock->Now() - upload_age_max);
      if (!dropped.ok()) URSA_LOG(WARNING) << "unfinished uploads: cannot be dropped: " << dropped.status();
    });
  }
}

absl::Status Run(const Flags& flags, const sigset_t& end_signals) {
  URSA_ASSIGN_OR_RETURN(const Stores stores, OpenStores(flags));
  stores_opened.Pass();
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Commit> commit, Commit::Open(stores.records.get(), Commit::Options()));
  auto executor = std::make_unique<ThreadPool>(kExecutorThreads);
  auto blob_executor = std::make_unique<ThreadPool>(kBlobThreads);

  Environment env;
  env.commit = commit.get();
  env.clock = Clock::Real();
  env.executor = executor.get();
  env.records = stores.records.get();
  env.blobs = stores.blobs.get();
  env.metrics = stores.metrics.get();
  env.logs = stores.logs.get();
  env.ledger = stores.ledger.get();
  env.options.version = kVersion;
  env.options.scheduling = flags.scheduling;
  env.options.log_retention = flags.log_retention;
  env.options.elastic_pools = flags.elastic_pools;
  env.options.stall_limit = flags.stall_limit;
  env.options.free_disk_bytes = [disk = std::make_shared<DiskSpace>(flags.dir)] { return disk->FreeBytes(); };
  Coordinator coordinator(std::move(env));
  // Work under way refers to the coordinator: it ends first, the executor's (which commits), then commit's effects.
  struct Stopper {
    ThreadPool& executor;
    Commit& commit;
    ~Stopper() {
      executor.Stop();
      commit.Stop();
    }
  } stopper{*executor, *commit};
  commit->Start();
  coordinator.Restore();
  restored.Pass();
  URSA_RETURN_IF_ERROR(InstallToken(
      flags.dir, "admin", {v1::PERMISSION_READ, v1::PERMISSION_WRITE, v1::PERMISSION_PROMOTE, v1::PERMISSION_ADMIN},
      &coordinator.access()));
  URSA_RETURN_IF_ERROR(InstallToken(flags.dir, "worker", {v1::PERMISSION_WORKER}, &coordinator.access()));
  URSA_ASSIGN_OR_RETURN(std::unique_ptr<GrpcServer> server, StartServer(flags, &coordinator, blob_executor.get()));
  serving.Pass();
  URSA_RETURN_IF_ERROR(WriteFileAtomically(flags.dir + "/address", server->address() + "\n"));
  address_told.Pass();
  URSA_LOG(INFO) << "ursa-coordinator " << kVersion << " dir=" << flags.dir << " address=" << server->address();

  TickUntilSignal(end_signals, &coordinator, blob_executor.get());
  before_end.Pass();
  coordinator.Shutdown();
  server.reset();
  blob_executor->Stop();
  return absl::OkStatus();
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (first == "--help" || first == "-h") {
    std::cout << ursa::kUsage;
    return 0;
  }
  if (first == "--version") {
    std::cout << ursa::kVersion << "\n";
    return 0;
  }
  const absl::StatusOr<ursa::Flags> flags = ursa::ParseFlags(argc, argv);
  if (!flags.ok()) {
    std::cerr << "error: " << flags.status().message() << "\n" << ursa::kUsage;
    return 2;
  }
  // Blocked in every thread, taken by the main one.
  sigset_t end_signals;
  sigemptyset(&end_signals);
  sigaddset(&end_signals, SIGTERM);
  sigaddset(&end_signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &end_signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // Debian builds Abseil such that each lock goes through one global table, to find deadlocks: a tenth of the time
  // under heartbeats. Tests keep it.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  absl::Status status = ursa::ArmFailpoints();
  if (status.ok()) status = ursa::Run(*flags, end_signals);
  if (!status.ok()) {
    std::cerr << "error: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
