// The coordinator under load, against what this machine can do at most and against etcd.
//
//   tools/bench/coordinator/get_etcd                                   (once: Debian's etcd, not installed)
//   bazel run //tools/bench/coordinator -- [--form=full|short|ci] [--only=submit|batch|heartbeats]
//       [--coordinator=PATH] [--etcd=PATH]
//
// Three processes on loopback, all clients in this one; every server has its own store on the disk of $TMPDIR. Sides
// take turns in every round; median [least most] of the rounds are printed.
//   submit      CreateExperiment, 128 outstanding over 4 connections, each durable before it is answered, each its own
//               request id; the cluster is full, so each waits in the queue. Beside it: the same messages against a
//               gRPC server with nothing behind it (the limit), and puts of as many bytes into etcd.
//   batch       the same calls with a search of 1000 trials each, all made and queued at once; tasks = trials.
//   heartbeats  10 000 workers, each with its own stream, over 16 connections, one heartbeat a second each: CPU seconds
//               of the server process a second, and what a call takes meanwhile. Beside it: the bare server.
// In every form: what was acknowledged is there, once, also after kill -9; every worker is alive at the end.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "tools/bench/coordinator/echo_server.h"
#include "tools/bench/coordinator/load.h"
#include "tools/bench/coordinator/servers.h"
#include "tools/bench/coordinator/worker_fleet.h"

namespace ursa {
namespace {

struct Form {
  int rounds;
  int num_outstanding;
  absl::Duration warm_up;
  absl::Duration duration;
  int num_trials;
  int num_workers;
  absl::Duration watch;  // of heartbeats
};
const std::map<std::string, Form> kForms = {
    {"full", {5, 128, absl::Seconds(2), absl::Seconds(10), 1000, 10'000, absl::Seconds(20)}},
    {"short", {3, 128, absl::Seconds(1), absl::Seconds(4), 1000, 10'000, absl::Seconds(8)}},
    {"ci", {1, 16, absl::ZeroDuration(), absl::Milliseconds(500), 20, 200, absl::Seconds(1)}},
};
constexpr int kSubmitChannels = 4;
constexpr int kWorkerChannels = 16;
constexpr int kSlots = 8;
constexpr int kBatchesOutstanding = 4;

struct Options {
  Form form;
  std::string coordinator = "coordinator/ursa-coordinator";  // among the run files
  std::string etcd;                                          // empty: not measured
};

// Values of all rounds under one name.
class Results {
 public:
  void Add(const std::string& name, double value) { values_[name].push_back(value); }
  bool Has(const std::string& name) const { return values_.count(name) > 0; }
  double Median(const std::string& name) {
    std::vector<double>& values = values_[name];
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }
  void Print(const std::string& name, const char* unit, int digits) {
    if (!Has(name)) return;
    const double median = Median(name);
    std::printf("%-44s %10.*f [%10.*f %10.*f] %s\n", name.c_str(), digits, median, digits, values_[name].front(),
                digits, values_[name].back(), unit);
  }

 private:
  std::map<std::string, std::vector<double>> values_;
};

void AddLoad(const std::string& side, const LoadResult& load, Results* results) {
  results->Add(side, load.rate());
  results->Add(side + ", p50", load.p50_millis);
  results->Add(side + ", p99", load.p99_millis);
}

LoadResult Load(const Options& options, int num_outstanding, const StartCall& start, int64_t* num_started = nullptr) {
  return RunLoad(num_outstanding, options.form.warm_up, options.form.duration, start, num_started);
}

// A coordinator whose only worker is busy, so that all that is submitted waits.
class BusyCluster {
 public:
  explicit BusyCluster(const Options& options) : server(options.coordinator) {
    WorkerFleet::Options fleet_options;
    fleet_options.address = server.address();
    fleet_options.token = server.worker_token();
    fleet_options.slots = kSlots;
    fleet = std::make_unique<WorkerFleet>(fleet_options);
    URSA_CHECK(fleet->WaitUntilWelcome(absl::Seconds(20))) << "the worker was not welcomed";
  }
  // That all experiments submitted are there, and no more, now and after a kill.
  void Check(int64_t num_submitted) {
    for (const bool after_kill : {false, true}) {
      if (after_kill) {
        fleet.reset();
        server.KillAndRestart();
      }
      const v1::Status status = server.GetStatus();
      const int64_t found = status.experiments_queued() + status.experiments_running();
      URSA_CHECK(found == num_submitted) << found << " experiments of " << num_submitted << " are there"
                                         << (after_kill ? " after kill -9" : "");
    }
  }

  CoordinatorServer server;
  std::unique_ptr<WorkerFleet> fleet;
};

void MeasureSubmit(const Options& options, Results* results) {
  const v1::ExperimentSpec recipe = BenchRecipe(kSlots, 0);
  {
    EchoServer echo;
    Submitter submitter(echo.address(), kSubmitChannels, "none", recipe);
    AddLoad("echo, calls", Load(options, options.form.num_outstanding, submitter.Start()), results);
  }
  {
    BusyCluster cluster(options);
    Submitter submitter(cluster.server.address(), kSubmitChannels, cluster.server.admin_token(), recipe);
    int64_t num_started = 0;
    const double cpu_before = cluster.server.process().CpuSeconds();
    const LoadResult load = Load(options, options.form.num_outstanding, submitter.Start(), &num_started);
    const double cpu = cluster.server.process().CpuSeconds() - cpu_before;
    AddLoad("ursa, durable submits", load, results);
    results->Add("ursa, CPU of a submit", 1e6 * cpu / static_cast<double>(num_started));
    cluster.Check(num_started);
  }
  if (!options.etcd.empty()) {
    EtcdServer etcd(options.etcd);
    EtcdPutter putter(etcd.address(), kSubmitChannels, std::string(recipe.ByteSizeLong(), 'x'));
    AddLoad("etcd, durable puts", Load(options, options.form.num_outstanding, putter.Start()), results);
  }
}

void MeasureBatch(const Options& options, Results* results) {
  const v1::ExperimentSpec recipe = BenchRecipe(kSlots, options.form.num_trials);
  BusyCluster cluster(options);
  Submitter submitter(cluster.server.address(), 1, cluster.server.admin_token(), recipe);
  int64_t num_started = 0;
  const double cpu_before = cluster.server.process().CpuSeconds();
  const LoadResult load = Load(options, kBatchesOutstanding, submitter.Start(), &num_started);
  const double cpu = cluster.server.process().CpuSeconds() - cpu_before;
  results->Add("ursa, durable tasks in searches", load.rate() * options.form.num_trials);
  results->Add("ursa, p99 of a search", load.p99_millis);
  results->Add("ursa, CPU of a task", 1e6 * cpu / static_cast<double>(num_started * options.form.num_trials));
  cluster.Check(num_started);
}

// Calls one after the other, with pauses in which the server comes to rest.
void MeasureCalls(const Options& options, const std::string& side, const std::function<void()>& call,
                  Results* results) {
  constexpr absl::Duration kPause = absl::Milliseconds(150);
  std::vector<double> millis;
  for (const absl::Time end = absl::Now() + options.form.watch; absl::Now() < end;) {
    // At another moment of the beats each time.
    absl::SleepFor(kPause + absl::Milliseconds(millis.size() % 17));
    const absl::Time began = absl::Now();
    call();
    millis.push_back(absl::ToDoubleMilliseconds(absl::Now() - began));
  }
  std::sort(millis.begin(), millis.end());
  results->Add(side + ", p50 of a call", millis[millis.size() / 2]);
  results->Add(side + ", slowest call", millis.back());
}

// CPU seconds a second of a server under the fleet, then what a `call` takes.
void MeasureFleet(const Options& options, const std::string& side, const std::string& address, const std::string& token,
                  ChildProcess* process, Results* results, const std::function<void()>& call) {
  WorkerFleet::Options fleet_options;
  fleet_options.address = address;
  fleet_options.token = token;
  fleet_options.num_workers = options.form.num_workers;
  fleet_options.num_channels = kWorkerChannels;
  WorkerFleet fleet(fleet_options);
  URSA_CHECK(fleet.WaitUntilWelcome(absl::Seconds(120))) << side << ": not all workers were welcomed";
  absl::SleepFor(options.form.watch / 4);
  const double cpu_before = process->CpuSeconds();
  const int64_t beats_before = fleet.num_heartbeats();
  const absl::Time began = absl::Now();
  absl::SleepFor(options.form.watch);
  const double seconds = absl::ToDoubleSeconds(absl::Now() - began);
  results->Add(side + ", cores", (process->CpuSeconds() - cpu_before) / seconds);
  results->Add(side + ", heartbeats", static_cast<double>(fleet.num_heartbeats() - beats_before) / seconds);
  if (call) MeasureCalls(options, side, call, results);
  URSA_CHECK(fleet.num_broken() == 0) << side << ": " << fleet.num_broken() << " streams ended";
}

void MeasureHeartbeats(const Options& options, Results* results) {
  {
    EchoServer echo;
    MeasureFleet(options, "echo under heartbeats", echo.address(), "none", &echo.process(), results, nullptr);
  }
  CoordinatorServer server(options.coordinator);
  MeasureFleet(options, "ursa under heartbeats", server.address(), server.worker_token(), &server.process(), results,
               [&] {
                 const int alive = server.GetStatus().workers();
                 URSA_CHECK(alive == options.form.num_workers) << alive << " workers are alive";
               });
}

void Print(const std::string& form_name, const Options& options, Results* results) {
  const Form& form = options.form;
  std::printf("%s: %d outstanding, searches of %d trials, %d workers over %d connections; median [least most] of %d\n",
              form_name.c_str(), form.num_outstanding, form.num_trials, form.num_workers, kWorkerChannels, form.rounds);
  for (const char* side : {"echo, calls", "ursa, durable submits", "etcd, durable puts"}) {
    results->Print(side, "a second", 0);
    results->Print(absl::StrCat(side, ", p50"), "ms", 2);
    results->Print(absl::StrCat(side, ", p99"), "ms", 2);
  }
  results->Print("ursa, CPU of a submit", "us", 1);
  results->Print("ursa, durable tasks in searches", "a second", 0);
  results->Print("ursa, p99 of a search", "ms", 1);
  results->Print("ursa, CPU of a task", "us", 1);
  for (const char* side : {"echo under heartbeats", "ursa under heartbeats"}) {
    results->Print(absl::StrCat(side, ", heartbeats"), "a second", 0);
    results->Print(absl::StrCat(side, ", cores"), "cores", 3);
    results->Print(absl::StrCat(side, ", p50 of a call"), "ms", 2);
    results->Print(absl::StrCat(side, ", slowest call"), "ms", 2);
  }
  if (results->Has("ursa, durable submits")) {
    std::printf("goal: 8000 submits/s, one third of the limit; it is %.2f of the limit",
                results->Median("ursa, durable submits") / results->Median("echo, calls"));
    if (results->Has("etcd, durable puts")) {
      std::printf(", %.2f times etcd",
                  results->Median("ursa, durable submits") / results->Median("etcd, durable puts"));
    }
    std::printf("\n");
  }
  if (results->Has("ursa under heartbeats, cores")) {
    std::printf("goal: 0.3 cores under heartbeats; it is %.2f times the bare server\n",
                results->Median("ursa under heartbeats, cores") /
                    std::max(0.001, results->Median("echo under heartbeats, cores")));
  }
}

int Main(int argc, char** argv) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // as the coordinator has it
  std::string form_name = "short";
  std::string only;
  Options options;
  const char* home = std::getenv("HOME");
  const std::string etcd = absl::StrCat(home == nullptr ? "" : home, "/.cache/ursa/bench/etcd/usr/bin/etcd");
  if (std::filesystem::exists(etcd)) options.etcd = etcd;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::string value = argument.substr(std::min(argument.find('=') + 1, argument.size()));
    if (argument.rfind("--serve-echo=", 0) == 0) ServeEcho(value);
    if (argument.rfind("--form=", 0) == 0 && kForms.count(value) > 0) {
      form_name = value;
    } else if (argument == "--only=submit" || argument == "--only=batch" || argument == "--only=heartbeats") {
      only = value;
    } else if (argument.rfind("--coordinator=", 0) == 0) {
      options.coordinator = value;
    } else if (argument.rfind("--etcd=", 0) == 0) {
      options.etcd = value;
    } else {
      std::fprintf(stderr, "error: %s: unknown argument\n", argument.c_str());
      return 2;
    }
  }
  options.form = kForms.at(form_name);
  if (form_name == "ci") options.etcd.clear();
  if (options.etcd.empty() && form_name != "ci") {
    std::printf("etcd is not measured (hint: tools/bench/coordinator/get_etcd)\n");
  }
  Results results;
  for (int round = 0; round < options.form.rounds; ++round) {
    if (only.empty() || only == "submit") MeasureSubmit(options, &results);
    if (only.empty() || only == "batch") MeasureBatch(options, &results);
    if (only.empty() || only == "heartbeats") MeasureHeartbeats(options, &results);
  }
  std::printf("checked: all that was acknowledged is there once, also after kill -9; all workers are alive\n");
  Print(form_name, options, &results);
  return 0;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) { return ursa::Main(argc, argv); }
