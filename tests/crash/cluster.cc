#include "tests/crash/cluster.h"

#include <dirent.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace ursa::crash {
namespace {

namespace fs = std::filesystem;

constexpr int kSlots = 2;

std::vector<std::string> Lines(const std::string& path) {
  return absl::StrSplit(ReadFile(path).value_or(""), '\n', absl::SkipEmpty());
}

std::string Trimmed(const std::string& path) {
  return std::string(absl::StripAsciiWhitespace(ReadFile(path).value_or("")));
}

}  // namespace

Cluster::Cluster(Programs programs, std::string folder) : programs_(std::move(programs)), folder_(std::move(folder)) {
  for (const char* name : {"log", "failpoints"}) {
    fs::create_directories(folder_ + "/" + name);
    fs::permissions(folder_ + "/" + name, fs::perms::owner_all);
  }
}

Process::Environment Cluster::Variables() const {
  return {{kFailpointsVariable, folder_ + "/failpoints"}, {"URSA_BIN", fs::path(programs_.coordinator).parent_path()}};
}

absl::StatusOr<absl::Duration> Cluster::StartCoordinator() {
  const absl::Time begin = Clock::Real()->Now();
  api_.reset();
  URSA_ASSIGN_OR_RETURN(coordinator_, Process::Start({programs_.coordinator, "--dir", cluster_folder()}, Variables(),
                                                     LogFile(kCoordinator)));
  const auto answers = [this] {
    if (!coordinator_.IsRunning()) return true;
    const std::string address = Trimmed(cluster_folder() + "/address");
    const std::string token = Trimmed(cluster_folder() + "/admin.token");
    if (address.empty() || token.empty()) return false;
    // It may still be the address of an earlier start, where nobody answers.
    auto api = std::make_shared<Api>(address, token);
    if (!api->Call(api->cluster, &v1::ClusterService::Stub::GetStatus, v1::GetStatusRequest()).ok()) return false;
    api_ = std::move(api);
    return true;
  };
  if (!WaitUntil(answers, kHangLimit)) {
    return absl::DeadlineExceededError(
        absl::StrCat("the coordinator does not answer within ", absl::FormatDuration(kHangLimit)));
  }
  if (api_ == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("the coordinator ended before it answered: ", coordinator_.death()->ToString()));
  }
  return Clock::Real()->Now() - begin;
}

absl::Status Cluster::StartWorker() {
  worker_started_ = Clock::Real()->Now();
  URSA_ASSIGN_OR_RETURN(worker_, Process::Start({programs_.worker, "--dir", cluster_folder(), "--token_file",
                                                 cluster_folder() + "/worker.token", "--slots", absl::StrCat(kSlots)},
                                                Variables(), LogFile(kWorker)));
  return absl::OkStatus();
}

absl::Status Cluster::WaitForWorker() {
  const auto is_alive = [this] {
    if (!worker_.IsRunning()) return true;
    const auto workers = api_->Call(api_->cluster, &v1::ClusterService::Stub::ListWorkers, v1::ListWorkersRequest());
    return workers.ok() &&
           std::any_of(workers->workers().begin(), workers->workers().end(), [this](const auto& worker) {
             // One that was killed counts as alive for a while.
             const absl::Time seen = absl::FromUnixSeconds(worker.last_seen_time().seconds()) +
                                     absl::Nanoseconds(worker.last_seen_time().nanos());
             return worker.state() != v1::Worker::STATE_LOST && seen >= worker_started_;
           });
  };
  if (!WaitUntil(is_alive, kHangLimit)) return absl::DeadlineExceededError("the worker is not heard of");
  if (worker_.IsRunning()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the worker ended: ", worker_.death()->ToString()));
}

absl::StatusOr<Death> Cluster::RunUrsa(const std::vector<std::string>& words) {
  std::vector<std::string> command = {programs_.ursa};
  command.insert(command.end(), words.begin(), words.end());
  URSA_ASSIGN_OR_RETURN(Process ursa, Process::Start(command, Variables(), LogFile(kUrsa)));
  if (!WaitUntil([&ursa] { return !ursa.IsRunning(); }, 2 * kHangLimit)) {
    return absl::DeadlineExceededError(absl::StrCat("ursa ", absl::StrJoin(words, " "), ": does not end"));
  }
  return *ursa.death();
}

std::vector<pid_t> Cluster::TaskPids() const {
  std::vector<pid_t> pids;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    const std::string words = ReadFile(entry.path().string() + "/cmdline").value_or("");
    if (absl::StartsWith(words, absl::string_view("ursa-task\0", 10)) && absl::StrContains(words, cluster_folder())) {
      pids.push_back(pid);
    }
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

absl::Status Cluster::Arm(const std::vector<std::string>& lines) {
  return WriteFileAtomically(folder_ + "/failpoints/armed", absl::StrJoin(lines, "\n") + "\n");
}

bool Cluster::HasFired(const std::string& line) const {
  const std::vector<std::string> trace = Lines(folder_ + "/failpoints/trace");
  return std::find(trace.begin(), trace.end(), "fired " + line) != trace.end();
}

std::vector<Cluster::Point> Cluster::Points(const std::string& program) const {
  std::vector<Point> points;
  for (const std::string& line : Lines(absl::StrCat(folder_, "/failpoints/", program, ".points"))) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    points.push_back({words[0], words.size() > 1});
  }
  return points;
}

std::map<std::string, int> Cluster::Passed() const {
  std::map<std::string, int> passed = passed_before_;
  for (const std::string& line : Lines(folder_ + "/failpoints/trace")) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words.size() == 3 && words[0] == "passed") ++passed[words[2]];
  }
  return passed;
}

absl::Status Cluster::ForgetFired() {
  passed_before_ = Passed();
  std::error_code error;
  fs::resize_file(folder_ + "/failpoints/trace", 0, error);  // not removed: processes append to it
  return error ? ErrnoStatus(error.value(), "trace of failpoints") : absl::OkStatus();
}

std::string Cluster::LogTail(const std::string& name, int num_lines) const {
  const std::vector<std::string> lines = Lines(LogFile(name));
  const size_t begin = lines.size() - std::min<size_t>(lines.size(), num_lines);
  return absl::StrJoin(lines.begin() + static_cast<std::ptrdiff_t>(begin), lines.end(), "\n");
}

std::vector<std::string> Cluster::SuspiciousLogLines() const {
  std::vector<std::string> found;
  for (const char* name : {kUrsa, kCoordinator, kWorker}) {
    for (const std::string& line : Lines(LogFile(name))) {
      const bool is_odd_end = absl::StrContains(line, " ENDED ") && !absl::StrContains(line, " signal=0") &&
                              !absl::StrContains(line, " signal=9");
      if (is_odd_end || absl::StrContains(line, "check failed") || absl::StrContains(line, "terminate called")) {
        found.push_back(absl::StrCat(name, ": ", line));
      }
    }
  }
  return found;
}

}  // namespace ursa::crash
