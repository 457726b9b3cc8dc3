// kill -9 of everything, everywhere, and nothing that was acknowledged is lost.
//
// One round: a first start that dies on the way; a storm while a worker trains, imports and evaluates; a storm of many
// small changes; `ursa up` that dies on the way; a last look at everything. `--minutes=N` makes rounds for so long.
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

constexpr int kKillsMin = 50;  // of a round
constexpr int kPointsMin = 40;
constexpr absl::Duration kRestartGoal = absl::Seconds(1);  // printed, not asserted

struct Flags {
  uint64_t seed = 0;
  absl::Duration time;  // zero: one round
  Programs programs;
};

class CrashTest {
 public:
  CrashTest(const Flags& flags, const std::string& folder)
      : flags_(flags),
        folder_(folder),
        rng_(flags.seed),
        names_(absl::StrCat("s", flags.seed)),
        cluster_(flags.programs, folder + "/one") {}

  absl::Status Run() {
    const absl::Time end = Clock::Real()->Now() + flags_.time;
    URSA_RETURN_IF_ERROR(SetUp());
    do {
      URSA_RETURN_IF_ERROR(StormOfWork());
      URSA_RETURN_IF_ERROR(StormOfChanges());
      URSA_RETURN_IF_ERROR(StormOfUps());
      URSA_RETURN_IF_ERROR(cluster_.ForgetFired());
    } while (Clock::Real()->Now() < end);
    URSA_RETURN_IF_ERROR(LastLook());
    return CheckCoverage();
  }

  void Print() const;
  void PrintLogs() const {
    for (const char* name : {kCoordinator, kWorker, kUrsa}) {
      std::cout << "---- the end of the log of " << name << "\n" << cluster_.LogTail(name, 40) << "\n";
    }
  }

 private:
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
  Storm storm = MakeStorm(Storm::Options(), workload);
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
  ++totals_.kills[absl::StrCat(kCoordinator, " at random")];
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

// Each point is passed, and there are as many kills and points as were promised.
absl::Status CrashTest::CheckCoverage() const {
  const std::map<std::string, int> passed = cluster_.Passed();
  std::set<std::string> names;
  for (const char* program : {kCoordinator, kWorker, kTask, kUrsa}) {
    for (const Cluster::Point& point : cluster_.Points(program)) names.insert(point.name);
  }
  std::vector<std::string> never;
  for (const std::string& name : names) {
    if (!passed.count(name)) never.push_back(name);
  }
  if (!never.empty()) return absl::InternalError("points that no process passed: " + absl::StrJoin(never, ", "));
  if (names.size() < kPointsMin || totals_.num_kills() < kKillsMin) {
    return absl::InternalError(absl::StrCat(names.size(), " points and ", totals_.num_kills(), " kills, must be ",
                                            kPointsMin, " and ", kKillsMin));
  }
  return absl::OkStatus();
}

void CrashTest::Print() const {
  std::cout << "\nkills by place:\n";
  for (const auto& [place, count] : totals_.kills) std::cout << absl::StrFormat("  %4d  %s\n", count, place);
  std::cout << "calls told to fail, where the process lived on:\n";
  for (const auto& [place, count] : totals_.failures) std::cout << absl::StrFormat("  %4d  %s\n", count, place);
  if (!totals_.not_reached.empty()) {
    std::cout << "armed in vain: " << absl::StrJoin(totals_.not_reached, ", ") << "\n";
  }
  Tally tally;
  size_t num_subjects = 0;
  for (const auto& workload : workloads_) {
    tally.Add(workload->tally());
    num_subjects += workload->num_subjects();
  }
  std::vector<absl::Duration> restarts = totals_.restarts;
  std::sort(restarts.begin(), restarts.end());
  const auto quantile = [&restarts](double q) {
    return restarts.empty() ? absl::ZeroDuration() : restarts[static_cast<size_t>(q * (restarts.size() - 1))];
  };
  const auto num_slow = std::count_if(restarts.begin(), restarts.end(), [](auto time) { return time > kRestartGoal; });
  const std::map<std::string, int> passed = cluster_.Passed();
  std::cout << absl::StrCat(
      "kills: ", totals_.num_kills(), " at ", totals_.kills.size(), " places; points passed: ", passed.size(), "\n",
      "changes: acknowledged ", tally.num_acknowledged, ", answer lost ", tally.num_unknown, " (had happened ",
      tally.num_found_done, ", had not ", tally.num_found_undone, "), sent again ", tally.num_repeated, "; of ",
      num_subjects, " subjects\n", "store checks: ", totals_.num_store_checks, "; at the last one ",
      totals_.num_audit_events, " audit events, ", totals_.num_blobs, " blobs named\n",
      "coordinator restart until it answers: ", restarts.size(), " times, median ",
      absl::FormatDuration(absl::Trunc(quantile(0.5), absl::Milliseconds(1))), ", 90 % ",
      absl::FormatDuration(absl::Trunc(quantile(0.9), absl::Milliseconds(1))), ", longest ",
      absl::FormatDuration(absl::Trunc(quantile(1), absl::Milliseconds(1))), "; over ",
      absl::FormatDuration(kRestartGoal), ": ", num_slow, "\n");
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
  std::cout << "seed=" << flags->seed
            << " (again: bazel test //tests/crash:crash_test --test_arg=--seed=" << flags->seed
            << "; the moments of random kills are the machine's)\n";
  flags->programs = LinkPrograms(flags->programs, folder + "/bin");
  absl::Status status;
  {
    CrashTest test(*flags, folder);
    status = test.Run();
    test.Print();
    if (!status.ok()) test.PrintLogs();
  }
  if (status.ok()) {
    std::cout << "lost: 0\n";
    fs::remove_all(folder);
    return 0;
  }
  std::cout << "FINDING: " << status.message() << "\nseed=" << flags->seed << " folder=" << folder << "\n";
  return 1;
}

}  // namespace
}  // namespace ursa::crash

int main(int argc, char** argv) { return ursa::crash::Main(argc, argv); }
