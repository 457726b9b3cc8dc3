// kill -9 of everything, everywhere, and nothing that was acknowledged is lost.
//
// A first start that dies on the way; then rounds: a storm while a worker trains, imports and evaluates; a storm of
// many small changes; `ursa up` that dies on the way. Then a last look at everything. The short form, for each day,
// makes one round in which the storms end after a while; `--minutes=N` makes whole rounds for so long, and must come to
// each point.
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "tests/crash/cluster.h"
#include "tests/crash/plan.h"
#include "tests/crash/storm.h"
#include "tests/crash/subjects.h"
#include "tests/crash/workload.h"

namespace ursa::crash {
namespace {

namespace fs = std::filesystem;

constexpr int kKillsMin = 50;
constexpr size_t kPointsMin = 40;

struct Flags {
  uint64_t seed = 0;
  absl::Duration time;  // of the long form; zero: the short one
  Programs programs;

  bool is_long() const { return time > absl::ZeroDuration(); }
};

class CrashTest {
 public:
  CrashTest(const Flags& flags, const std::string& folder)
      : flags_(flags),
        folder_(folder),
        rng_(flags.seed),
        names_(absl::StrCat("s", flags.seed)),
        cluster_(flags.programs, folder + "/one") {}

  // INTERNAL: a finding.
  absl::Status Run() {
    const absl::Status status = MakeRounds();
    Collect();
    return status.ok() ? CheckCoverage() : status;
  }

  const Totals& totals() const { return totals_; }
  void PrintLogs() const {
    for (const char* name : {kCoordinator, kWorker, kUrsa}) {
      std::cout << "---- the end of the log of " << name << "\n" << cluster_.LogTail(name, 40) << "\n";
    }
  }

 private:
  absl::Status MakeRounds() {
    const absl::Time end = Clock::Real()->Now() + flags_.time;
    URSA_RETURN_IF_ERROR(SetUp());
    do {
      URSA_RETURN_IF_ERROR(StormOfWork());
      URSA_RETURN_IF_ERROR(StormOfChanges());
      URSA_RETURN_IF_ERROR(StormOfUps());
      URSA_RETURN_IF_ERROR(cluster_.ForgetFired());
    } while (Clock::Real()->Now() < end);
    return LastLook();
  }

  // What must hold at every restart is the same for all storms: each has its own workload, and the audit log has all.
  Storm MakeStorm(const Storm::Options& options, Workload* workload) {
    return Storm(
        options, &cluster_, workload, [this] { return ExpectedAudit(); }, &rng_, &totals_);
  }
  std::map<std::string, int> ExpectedAudit() const {
    std::map<std::string, int> expected;
    for (const auto& workload : workloads_) {
      for (const auto& [key, count] : workload->ExpectedAudit()) expected[key] += count;
    }
    return expected;
  }

  void Say(const std::string& what) const {
    std::cout << absl::FormatTime("%H:%M:%S ", absl::Now(), absl::LocalTimeZone()) << what << std::endl;
  }

  absl::Status SetUp();
  absl::Status StormOfWork();
  absl::Status StormOfChanges();
  absl::Status StormOfUps();
  absl::Status LastLook();
  void Collect();
  absl::Status CheckCoverage() const;
  absl::Status SetDrained(bool drained);
  absl::Status WaitUntilIdle(Workload* workload);

  const Flags flags_;
  const std::string folder_;
  SeededRng rng_;
  Names names_;
  Cluster cluster_;
  Lesson lesson_;
  std::string experiment_;  // that trained undisturbed
  std::string model_;       // to evaluate with
  std::vector<std::unique_ptr<Workload>> workloads_;
  Totals totals_;
};

absl::Status CrashTest::SetUp() {
  Say("first starts, dying on the way");
  Workload nobody(0, 0, nullptr);
  Storm storm = MakeStorm(Storm::Options(), &nobody);
  URSA_RETURN_IF_ERROR(storm.BringUp(FirstKills()));
  Say("undisturbed training");
  Api* const api = cluster_.api().get();
  lesson_.spec.set_seed(3);
  lesson_.spec.set_max_restarts(1000);
  lesson_.spec.mutable_model()->set_architecture("efficientnet_lite0");
  lesson_.spec.mutable_data()->mutable_item_transforms()->mutable_resize()->set_size(32);
  lesson_.spec.mutable_data()->mutable_batch_transforms()->mutable_aug_transforms();
  lesson_.spec.mutable_data()->set_batch_size(8);
  lesson_.spec.mutable_train()->mutable_fine_tune()->set_epochs(1);
  lesson_.spec.mutable_train()->add_metrics("accuracy");
  lesson_.spec.mutable_resources()->set_slots_per_trial(2);
  lesson_.spec.mutable_checkpoint()->set_every_steps(2);
  URSA_ASSIGN_OR_RETURN(const std::string dataset, ImportPictures(api, 32, &names_, &rng_));
  lesson_.spec.set_dataset(dataset);
  URSA_ASSIGN_OR_RETURN(experiment_, TrainUndisturbed(api, &lesson_, &names_));
  URSA_ASSIGN_OR_RETURN(model_, RegisterModel(api, experiment_, &names_));
  return absl::OkStatus();
}

// Jobs go on all the time, on a worker that is killed as well.
absl::Status CrashTest::StormOfWork() {
  Say("storm of work");
  URSA_RETURN_IF_ERROR(SetDrained(false));
  workloads_.push_back(
      std::make_unique<Workload>(3, rng_.Next(), [this](int client_index, Rng* rng) -> std::unique_ptr<Subject> {
        if (client_index == 0) return NewTrainingSubject(lesson_, &names_);
        if (client_index == 1) return NewImportSubject(model_, &names_, rng);
        return rng->Below(2) == 0 ? NewBlobSubject(&names_, rng) : NewModelSubject(experiment_, &names_);
      }));
  Workload* const workload = workloads_.back().get();
  workload->SetAtWorkMax(1);
  workload->Run(cluster_.api());
  Storm::Options options;
  options.reach_limit = absl::Seconds(8);
  options.random_delay_max = absl::Seconds(3);
  options.time_limit = flags_.is_long() ? absl::Minutes(10) : absl::Seconds(65);
  Storm storm = MakeStorm(options, workload);
  URSA_RETURN_IF_ERROR(storm.Run(WorkKills(cluster_, &rng_)));
  return WaitUntilIdle(workload);
}

// Many small changes at once; the worker is connected and gets nothing to do.
absl::Status CrashTest::StormOfChanges() {
  Say("storm of changes");
  URSA_RETURN_IF_ERROR(SetDrained(true));
  v1::ExperimentSpec waiting = lesson_.spec;
  waiting.mutable_resources()->set_slots_per_trial(1);
  workloads_.push_back(std::make_unique<Workload>(
      4, rng_.Next(), [this, waiting](int client_index, Rng* rng) -> std::unique_ptr<Subject> {
        if (client_index == 0) return NewBlobSubject(&names_, rng);
        return rng->Below(3) > 0 ? NewExperimentSubject(waiting, &names_) : NewModelSubject(experiment_, &names_);
      }));
  Workload* const workload = workloads_.back().get();
  workload->Run(cluster_.api());
  Storm::Options options;
  options.time_limit = flags_.is_long() ? absl::Minutes(5) : absl::Seconds(50);
  options.points_min = kPointsMin;  // however slow the machine is
  Storm storm = MakeStorm(options, workload);
  URSA_RETURN_IF_ERROR(storm.Run(ChangeKills(cluster_, &rng_)));
  return WaitUntilIdle(workload);
}

// `ursa up` is killed where it starts the others; the next one starts what is missing.
absl::Status CrashTest::StormOfUps() {
  Say("ursa up, dying on the way");
  const std::string dir = folder_ + "/up";
  const std::vector<std::string> up = {"up", "--dir", dir, "--slots", "1", "--detach"};
  for (const Kill& kill : UpKills()) {
    URSA_RETURN_IF_ERROR(cluster_.ForgetFired());
    const std::string line = kill.Line(kUrsa);
    URSA_RETURN_IF_ERROR(cluster_.Arm({line}));
    URSA_ASSIGN_OR_RETURN(const Death death, cluster_.RunUrsa(up));
    if (death.signal != SIGKILL || !cluster_.HasFired(line)) {
      return absl::InternalError(absl::StrCat("ursa up, armed with ", line, ": ", death.ToString()));
    }
    ++totals_.kills[kill.point];
  }
  URSA_RETURN_IF_ERROR(cluster_.Arm({}));
  for (const std::vector<std::string>& words : {up, {"down", "--dir", dir}}) {
    URSA_ASSIGN_OR_RETURN(const Death end, cluster_.RunUrsa(words));
    if (end.signal == 0 && end.exit_code == 0) continue;
    return absl::InternalError(absl::StrCat("ursa ", words[0], " after its deaths: ", end.ToString()));
  }
  fs::remove_all(dir);
  return absl::OkStatus();
}

absl::Status CrashTest::SetDrained(bool drained) {
  Api* const api = cluster_.api().get();
  URSA_ASSIGN_OR_RETURN(const std::vector<v1::Worker> workers,
                        (api->Pages<v1::Worker>(api->cluster, &v1::ClusterService::Stub::ListWorkers,
                                                v1::ListWorkersRequest(), &v1::ListWorkersResponse::mutable_workers)));
  for (const v1::Worker& worker : workers) {
    if (worker.state() == v1::Worker::STATE_LOST) continue;
    if (drained) {
      v1::DrainWorkerRequest request;
      request.set_name(worker.name());
      URSA_RETURN_IF_ERROR(api->Call(api->cluster, &v1::ClusterService::Stub::DrainWorker, request).status());
    } else if (worker.state() == v1::Worker::STATE_DRAINED) {
      v1::ResumeWorkerRequest request;
      request.set_name(worker.name());
      URSA_RETURN_IF_ERROR(api->Call(api->cluster, &v1::ClusterService::Stub::ResumeWorker, request).status());
    }
  }
  return absl::OkStatus();
}

// Lets all that was begun come to its end, undisturbed.
absl::Status CrashTest::WaitUntilIdle(Workload* workload) {
  workload->StopNew();
  const absl::Time deadline = Clock::Real()->Now() + kHangLimit;
  while (true) {
    workload->Pause();
    URSA_RETURN_IF_ERROR(workload->finding());
    if (workload->IsIdle()) return absl::OkStatus();
    if (Clock::Real()->Now() >= deadline)
      return absl::InternalError("what was begun does not end: " + workload->AtWork());
    workload->Run(cluster_.api());
    LetPass(absl::Milliseconds(100));
  }
}

// Everything, once more: after an orderly end that a kill cuts short, on the disk and through the API.
absl::Status CrashTest::LastLook() {
  Say("last look");
  Workload nobody(0, 0, nullptr);
  Storm storm = MakeStorm(Storm::Options(), &nobody);
  const std::string line = EndKill().Line(kCoordinator);
  URSA_RETURN_IF_ERROR(cluster_.Arm({line}));
  cluster_.coordinator().Kill();
  ++totals_.random[kCoordinator];
  URSA_RETURN_IF_ERROR(storm.Revive(/*store_check=*/false));
  cluster_.coordinator().Signal(SIGTERM);
  if (!WaitUntil([this] { return !cluster_.coordinator().IsRunning(); }, kHangLimit) || !cluster_.HasFired(line)) {
    return absl::InternalError("the coordinator does not come to its end");
  }
  ++totals_.kills[EndKill().point];
  URSA_RETURN_IF_ERROR(cluster_.Arm({}));
  URSA_RETURN_IF_ERROR(storm.Revive(/*store_check=*/true));
  for (const auto& workload : workloads_) {
    URSA_RETURN_IF_ERROR(workload->Check(cluster_.api().get(), /*share=*/1, &rng_));
  }
  Api* const api = cluster_.api().get();
  URSA_ASSIGN_OR_RETURN(const auto audit,
                        api->Call(api->cluster, &v1::ClusterService::Stub::VerifyAudit, v1::VerifyAuditRequest()));
  if (!audit.ok()) return absl::InternalError("ursa audit verify: " + audit.reason());
  const std::vector<std::string> odd = cluster_.SuspiciousLogLines();
  return odd.empty() ? absl::OkStatus() : absl::InternalError("in a log: " + odd.front());
}

// What the processes say of their points, and the workloads of their changes.
void CrashTest::Collect() {
  for (const auto& workload : workloads_) workload->Pause();
  totals_.passed = cluster_.Passed();
  for (const char* program : {kCoordinator, kWorker, kTask, kUrsa}) {
    for (const Cluster::Point& point : cluster_.Points(program)) totals_.passed.insert({point.name, 0});
  }
  totals_.tally = Tally();
  totals_.num_subjects = 0;
  for (const auto& workload : workloads_) {
    totals_.tally.Add(workload->tally());
    totals_.num_subjects += workload->num_subjects();
  }
}

// The short form has time for a part of the points, another one with each seed; the long form comes to all.
absl::Status CrashTest::CheckCoverage() const {
  if (totals_.kills.size() < kPointsMin || totals_.num_kills() < kKillsMin) {
    return absl::InternalError(absl::StrCat(totals_.num_kills(), " kills, at ", totals_.kills.size(),
                                            " points, must be ", kKillsMin, " at ", kPointsMin));
  }
  if (!flags_.is_long()) return absl::OkStatus();
  const std::vector<std::string> unpassed = totals_.NeverPassed();
  const std::vector<std::string> unkilled = totals_.NeverKilledAt();
  if (!unpassed.empty()) return absl::InternalError("points that no process passed: " + absl::StrJoin(unpassed, ", "));
  if (!unkilled.empty()) return absl::InternalError("points with no kill at them: " + absl::StrJoin(unkilled, ", "));
  return absl::OkStatus();
}

// The programs by their own names in one folder, as an installation has them.
Programs LinkPrograms(const Programs& built, const std::string& folder) {
  fs::create_directories(folder);
  const auto link = [&folder](const std::string& target, const char* name) {
    const std::string path = absl::StrCat(folder, "/", name);
    fs::create_symlink(fs::canonical(target), path);
    return path;
  };
  return {link(built.ursa, kUrsa), link(built.coordinator, kCoordinator), link(built.worker, kWorker),
          link(built.task, kTask)};
}

absl::StatusOr<Flags> ParseFlags(int argc, char** argv) {
  Flags flags;
  uint64_t minutes = 0;
  const std::map<std::string, std::string*> paths = {{"--ursa", &flags.programs.ursa},
                                                     {"--coordinator", &flags.programs.coordinator},
                                                     {"--worker", &flags.programs.worker},
                                                     {"--task", &flags.programs.task}};
  for (int i = 1; i < argc; ++i) {
    const std::vector<std::string> parts = absl::StrSplit(argv[i], absl::MaxSplits('=', 1));
    const std::string value = parts.size() > 1 ? parts[1] : "";
    const auto path = paths.find(parts[0]);
    if (path != paths.end()) {
      *path->second = value;
    } else if (!(parts[0] == "--seed" && absl::SimpleAtoi(value, &flags.seed)) &&
               !(parts[0] == "--minutes" && absl::SimpleAtoi(value, &minutes))) {
      return absl::InvalidArgumentError(absl::StrCat("flag \"", argv[i], "\": is not known"));
    }
  }
  flags.time = absl::Minutes(minutes);
  for (const auto& [name, path] : paths) {
    if (path->empty()) return absl::InvalidArgumentError(absl::StrCat("flag ", name, ": must be given"));
  }
  return flags;
}

int Main(int argc, char** argv) {
  absl::StatusOr<Flags> flags = ParseFlags(argc, argv);
  if (!flags.ok()) {
    std::cerr << "error: " << flags.status().message() << "\n";
    return 2;
  }
  if (flags->seed == 0) flags->seed = static_cast<uint64_t>(absl::ToUnixSeconds(absl::Now())) % 1'000'000;
  const char* const scratch = std::getenv("TEST_TMPDIR");
  const std::string folder = absl::StrCat(scratch == nullptr ? "/tmp" : scratch, "/crash-", flags->seed);
  fs::remove_all(folder);
  const std::string again = absl::StrCat(
      "seed=", flags->seed,
      "; again: bazel test //tests/crash:crash_test --test_output=streamed --test_arg=--seed=", flags->seed,
      flags->is_long() ? absl::StrCat(" --test_arg=--minutes=", absl::ToInt64Minutes(flags->time),
                                      " --test_timeout=", 2 * absl::ToInt64Seconds(flags->time))
                       : "");
  std::cout << again << "\n";
  flags->programs = LinkPrograms(flags->programs, folder + "/bin");
  CrashTest test(*flags, folder);
  const absl::Status status = test.Run();
  std::cout << test.totals().ToString();
  if (status.ok()) {
    std::cout << "PASSED: nothing lost. " << test.totals().Summary() << "\n";
    fs::remove_all(folder);
    return 0;
  }
  test.PrintLogs();
  std::cout << "FINDING: " << status.message() << "\nfolder=" << folder << "\n" << again << "\n";
  return 1;
}

}  // namespace
}  // namespace ursa::crash

int main(int argc, char** argv) { return ursa::crash::Main(argc, argv); }
