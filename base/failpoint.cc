#include "base/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

// The program's points. Zero before any constructor runs, so the order in which files are initialised does not matter.
std::atomic<Failpoint*> first_point{nullptr};

enum class Action { kDie, kSleep, kFail };

struct Armed {
  Action action = Action::kDie;
  absl::Duration sleep;
  int64_t pass = 0;  // from 1
  std::string line;
};

absl::StatusOr<Armed> ParseArmed(const std::string& line, const Failpoint& point, absl::string_view action,
                                 absl::string_view pass) {
  Armed armed;
  armed.line = line;
  const absl::Status bad = absl::InvalidArgumentError(
      absl::StrCat("failpoints: line \"", line, "\": ", point.name(), " may be told to die",
                   point.can_fail() ? ", to fail" : "", " or to sleep=DURATION, at a pass from 1 on"));
  if (!absl::SimpleAtoi(pass, &armed.pass) || armed.pass < 1) return bad;
  if (action == "die") {
    armed.action = Action::kDie;
  } else if (action == "fail" && point.can_fail()) {
    armed.action = Action::kFail;
  } else if (absl::ConsumePrefix(&action, "sleep=") && absl::ParseDuration(action, &armed.sleep)) {
    armed.action = Action::kSleep;
  } else {
    return bad;
  }
  return armed;
}

absl::Status CheckFolder(const std::string& folder) {
  const std::string subject = absl::StrCat("failpoints: ", kFailpointsVariable, "=", folder, ": ");
  struct stat info;
  if (folder.empty() || folder[0] != '/' || ::stat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(subject, "must be the absolute path of a folder"));
  }
  if (info.st_uid != ::getuid() || (info.st_mode & 022) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(subject, "must be this user's, and none but him may write in it"));
  }
  return absl::OkStatus();
}

// The file's lines; none if it is not there.
absl::StatusOr<std::vector<std::string>> ReadLines(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return std::vector<std::string>();
  URSA_RETURN_IF_ERROR(text.status());
  return std::vector<std::string>(absl::StrSplit(*text, '\n', absl::SkipWhitespace()));
}

}  // namespace

// What is watched. There is one while points are armed; it lives for ever.
class FailpointWatch {
 public:
  static absl::Status Start(const std::string& folder) {
    URSA_RETURN_IF_ERROR(CheckFolder(folder));
    auto* const watch = new FailpointWatch(program_invocation_short_name);
    URSA_RETURN_IF_ERROR(watch->ReadArmed(folder));
    watch->trace_fd_ = ::open((folder + "/trace").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (watch->trace_fd_ < 0) return ErrnoStatus(errno, absl::StrCat("failpoints: trace in ", folder));
    std::string names;
    for (const Failpoint* point : All()) absl::StrAppend(&names, point->name_, point->can_fail_ ? " fail" : "", "\n");
    URSA_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder, "/", watch->program_, ".points"), names));
    current_ = watch;
    for (Failpoint* point = first_point; point != nullptr; point = point->next_) point->is_watched_ = true;
    URSA_LOG(WARNING) << "failpoints: watched, because of " << kFailpointsVariable << "=" << folder
                      << "; armed: " << watch->num_armed_;
    return absl::OkStatus();
  }

  static FailpointWatch* current() { return current_; }

  bool OnPass(const Failpoint& point) {
    absl::Duration sleep;
    bool fails = false;
    {
      absl::MutexLock lock(&mu_);
      PointState& state = points_[&point];
      if (++state.num_passes == 1) Trace(absl::StrCat("passed ", program_, " ", point.name()));
      for (const Armed& armed : state.armed) {
        if (armed.pass != state.num_passes) continue;
        Trace(absl::StrCat("fired ", armed.line));
        URSA_LOG(WARNING) << "failpoint fires: " << armed.line;
        if (armed.action == Action::kDie) Die();
        if (armed.action == Action::kSleep) sleep += armed.sleep;
        fails |= armed.action == Action::kFail;
      }
    }
    absl::SleepFor(sleep);
    return fails;
  }

  static Failpoint* Find(absl::string_view name) {
    for (Failpoint* point = first_point; point != nullptr; point = point->next_) {
      if (name == point->name_) return point;
    }
    return nullptr;
  }

  static std::vector<const Failpoint*> All() {
    std::vector<const Failpoint*> points;
    for (const Failpoint* point = first_point; point != nullptr; point = point->next_) points.push_back(point);
    std::sort(points.begin(), points.end(),
              [](const Failpoint* a, const Failpoint* b) { return std::strcmp(a->name_, b->name_) < 0; });
    return points;
  }

  // Enters the point into the list; returns the one behind it.
  static Failpoint* Enter(Failpoint* point, const char* name) {
    URSA_CHECK(Find(name) == nullptr) << "failpoint " << name << ": there are two of that name";
    return first_point.exchange(point);
  }

 private:
  struct PointState {
    int64_t num_passes = 0;
    std::vector<Armed> armed;
  };

  explicit FailpointWatch(std::string program) : program_(std::move(program)) {}

  absl::Status ReadArmed(const std::string& folder) {
    URSA_ASSIGN_OR_RETURN(const std::vector<std::string> lines, ReadLines(folder + "/armed"));
    URSA_ASSIGN_OR_RETURN(const std::vector<std::string> trace, ReadLines(folder + "/trace"));
    absl::MutexLock lock(&mu_);
    for (const std::string& line : lines) {
      const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
      if (words.size() != 4) {
        return absl::InvalidArgumentError(
            absl::StrCat("failpoints: line \"", line, "\": must be PROGRAM POINT ACTION PASS"));
      }
      if (words[0] != program_) continue;
      const Failpoint* const point = Find(words[1]);
      if (point == nullptr) {
        return absl::InvalidArgumentError(
            absl::StrCat("failpoints: line \"", line, "\": ", program_, " has no such point"));
      }
      URSA_ASSIGN_OR_RETURN(Armed armed, ParseArmed(line, *point, words[2], words[3]));
      if (std::count(trace.begin(), trace.end(), absl::StrCat("fired ", line)) > 0) continue;
      points_[point].armed.push_back(std::move(armed));
      ++num_armed_;
    }
    return absl::OkStatus();
  }

  // One write each, so that the lines of several processes do not mix. In the page cache it survives the process.
  void Trace(const std::string& line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const std::string text = line + "\n";
    const ssize_t written = ::write(trace_fd_, text.data(), text.size());
    if (written != static_cast<ssize_t>(text.size())) URSA_LOG(ERROR) << "failpoints: cannot write to the trace";
  }

  [[noreturn]] static void Die() {
    ::kill(::getpid(), SIGKILL);
    while (true) ::pause();  // until the kernel has done it
  }

  static std::atomic<FailpointWatch*> current_;

  const std::string program_;
  int trace_fd_ = -1;
  int num_armed_ = 0;
  absl::Mutex mu_;
  std::map<const Failpoint*, PointState> points_ ABSL_GUARDED_BY(mu_);
};

std::atomic<FailpointWatch*> FailpointWatch::current_{nullptr};

Failpoint::Failpoint(const char* name, bool can_fail)
    : name_(name), can_fail_(can_fail), next_(FailpointWatch::Enter(this, name)) {}

bool Failpoint::WatchedPass() { return FailpointWatch::current()->OnPass(*this); }

absl::Status StatusFailpoint::Failure() const {
  return absl::UnknownError(absl::StrCat("failpoint ", name(), ": was told to fail"));
}

absl::Status ArmFailpoints() {
  const char* const folder = std::getenv(kFailpointsVariable);
  return folder == nullptr ? absl::OkStatus() : FailpointWatch::Start(folder);
}

std::vector<const Failpoint*> AllFailpoints() { return FailpointWatch::All(); }

}  // namespace ursa
