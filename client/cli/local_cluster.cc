#include "client/cli/local_cluster.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/run_program.h"
#include "base/status_macros.h"
#include "client/lib/client.h"

namespace ursa::cli {
namespace {

Failpoint up_daemon_started("up.daemon_started");
Failpoint up_daemon_ready("up.daemon_ready");
Failpoint up_before_client_env("up.before_client_env");

constexpr int kLogTailLines = 15;
constexpr int kStartTries = 3;
constexpr absl::Duration kStartRetryWait = absl::Milliseconds(300);
constexpr absl::Duration kLockTimeout = absl::Seconds(150);  // longer than a `down` takes

absl::Status MakeFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return ErrnoStatus(error.value(), absl::StrCat("folder \"", path, "\": cannot create"));
  if (::access(path.c_str(), W_OK | X_OK) != 0)
    return ErrnoStatus(errno, absl::StrCat("folder \"", path, "\": cannot write into it"));
  return absl::OkStatus();
}

int64_t FileSize(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 ? info.st_size : 0;
}

std::vector<pid_t> Pids(const std::vector<DaemonProcess>& daemons) {
  std::vector<pid_t> pids;
  for (const DaemonProcess& daemon : daemons) pids.push_back(daemon.pid);
  return pids;
}

// One call of BringUp.
class Starter {
 public:
  Starter(const UpOptions& options, SignalWaiter* signals, std::string* log_tail)
      : options_(options), signals_(signals), log_tail_(log_tail) {}

  absl::StatusOr<UpResult> Run() {
    URSA_RETURN_IF_ERROR(ChooseSlots());
    result_.token_file = Path("admin.token");
    URSA_RETURN_IF_ERROR(Ensure(
        kCoordinatorProgram, "coordinator",
        [this] {
          return std::vector<std::string>{"--listen", absl::StrCat("127.0.0.1:", options_.port)};
        },
        [this] { return Connect(); }));
    URSA_RETURN_IF_ERROR(Ensure(
        kWorkerProgram, "worker",
        [this] {
          return std::vector<std::string>{"--server", result_.server,       "--token_file", Path("worker.token"),
                                          "--slots",  absl::StrCat(slots_), "--kind",       kind_};
        },
        [this] { return CheckWorker(); }));
    return Finish();
  }

  const std::vector<pid_t>& started_pids() const { return started_pids_; }

 private:
  std::string Path(const std::string& name) const { return options_.dir + "/" + name; }

  absl::Status ChooseSlots() {
    const int gpus = CountGpus(options_.dev);
    slots_ = options_.slots.value_or(std::max(gpus, 1));
    kind_ = options_.kind.value_or(gpus >= slots_ ? "cuda" : "cpu");
    if (kind_ == "cuda" && slots_ > gpus)
      return absl::FailedPreconditionError(
          absl::StrCat("worker: cannot have ", slots_, " cuda slots, this machine has ", gpus, " GPUs"));
    if (kind_ != "cuda" || !Running(kWorkerProgram).empty()) return absl::OkStatus();
    // Here, not as slots that are never offered.
    const absl::Status usable = CheckGpus();
    if (usable.ok()) return absl::OkStatus();
    if (options_.kind) {
      return absl::FailedPreconditionError(absl::StrCat("worker: cannot have cuda slots, ", usable.message()));
    }
    kind_ = "cpu";
    result_.note = absl::StrCat("the GPUs of this machine are not used: ", usable.message());
    return absl::OkStatus();
  }

  // Whether tasks can use the GPUs: there is more to it than a device.
  absl::Status CheckGpus() const {
    constexpr absl::Duration kTimeout = absl::Seconds(60);  // CUDA's libraries are 2 GB, and may be read from the disk
    URSA_ASSIGN_OR_RETURN(const std::string task, FindProgram(kTaskProgram, options_.ursa_bin));
    return RunProgram({task, "--self_check", "cuda"}, "", kTimeout).status();
  }

  // What runs of a program here. One that has been killed and is about to end does not count.
  std::vector<DaemonProcess> Running(const std::string& program) const {
    std::vector<DaemonProcess> daemons = FindDaemons(options_.dir, program);
    daemons.erase(
        std::remove_if(daemons.begin(), daemons.end(), [](const DaemonProcess& d) { return IsBeingKilled(d.pid); }),
        daemons.end());
    return daemons;
  }

  absl::StatusOr<pid_t> Start(const std::string& program, const std::vector<std::string>& flags) {
    std::vector<std::string> words(1);
    URSA_ASSIGN_OR_RETURN(words[0], FindProgram(program, options_.ursa_bin));
    words.insert(words.end(), {"--dir", options_.dir});
    words.insert(words.end(), flags.begin(), flags.end());
    log_offset_ = FileSize(log_file_);
    started_at_ = Clock::Real()->Now();
    URSA_ASSIGN_OR_RETURN(const pid_t pid, StartDaemon(words, options_.dir, log_file_));
    started_pids_.push_back(pid);
    result_.started.push_back(program);
    up_daemon_started.Pass();
    return pid;
  }

  // Starts a program unless it runs, and waits until `ready` says OK. A start that fails is tried again: a predecessor
  // that was killed holds its locks for a moment longer than it can be seen.
  template <typename Flags, typename Ready>
  absl::Status Ensure(const std::string& program, const std::string& what, Flags flags, Ready ready) {
    Clock* const clock = Clock::Real();
    const absl::Time deadline = clock->Now() + options_.start_timeout;
    log_file_ = Path(absl::StrCat("log/", what, ".log"));
    const std::string where =
        what == "coordinator" && options_.port != 0 ? absl::StrCat(" on port ", options_.port) : "";
    pid_t child = 0;
    for (int num_failed = 0;;) {
      int exit_status = 0;
      if (child == 0 && Running(program).empty()) {
        URSA_ASSIGN_OR_RETURN(child, Start(program, flags()));
      } else if (child != 0 && !IsRunning(child, &exit_status)) {
        if (++num_failed == kStartTries) {
          *log_tail_ = TailOfFile(log_file_, log_offset_, kLogTailLines);
          return absl::FailedPreconditionError(absl::StrCat(what, ": did not start", where, ", ",
                                                            DescribeExit(exit_status), " (hint: ", log_file_, ")"));
        }
        child = 0;
        signals_->Wait(kStartRetryWait);
        continue;
      }
      const absl::Status status = ready();
      if (status.ok()) up_daemon_ready.Pass();
      if (status.ok() || absl::IsFailedPrecondition(status)) return status;
      if (signals_->Wait(absl::Milliseconds(20)) != 0)
        return absl::CancelledError(absl::StrCat(what, ": start was interrupted"));
      if (clock->Now() >= deadline) {
        *log_tail_ = TailOfFile(log_file_, log_offset_, kLogTailLines);
        return absl::DeadlineExceededError(absl::StrCat(
            what, ": did not get ready within ", absl::FormatDuration(options_.start_timeout), ", ", status.message()));
      }
    }
  }

  // Whether the coordinator answers at the address that the folder names. A coordinator that has just been started may
  // find the address of its last run there until it has bound its own; nobody answers at that one.
  absl::Status Connect() {
    URSA_ASSIGN_OR_RETURN(const std::string address, ReadFile(Path("address")));
    ClientOptions client_options;
    client_options.server = std::string(absl::StripAsciiWhitespace(address));
    URSA_ASSIGN_OR_RETURN(client_options.token, ReadTokenFile(result_.token_file));
    client_options.patience = absl::Milliseconds(200);  // in which it connects
    client_options.call_timeout = absl::Seconds(5);
    if (client_ == nullptr || result_.server != client_options.server) {
      client_.reset();
      URSA_ASSIGN_OR_RETURN(client_, Client::Create(client_options));
      result_.server = client_options.server;
    }
    URSA_RETURN_IF_ERROR(Retryable(client_->GetStatus()).status());
    if (options_.port != 0 && !absl::EndsWith(result_.server, absl::StrCat(":", options_.port)))
      return absl::FailedPreconditionError(absl::StrCat("folder \"", options_.dir, "\": cannot use port ",
                                                        options_.port, ", its coordinator runs at ", result_.server,
                                                        " (hint: `ursa down --dir ", options_.dir, "` first)"));
    return absl::OkStatus();
  }

  // Whether the worker is registered as asked for, and has been heard of since the last start of a daemon: an earlier
  // one that was killed may still be listed.
  absl::Status CheckWorker() {
    const std::vector<DaemonProcess> running = Running(kWorkerProgram);
    if (running.empty()) return absl::UnavailableError("it does not run");
    const std::string slots = running[0].Flag("slots").value_or("?");
    const std::string kind = running[0].Flag("kind").value_or("?");
    if ((options_.slots.has_value() && slots != absl::StrCat(slots_)) || (options_.kind.has_value() && kind != kind_))
      return absl::FailedPreconditionError(
          absl::StrCat("folder \"", options_.dir, "\": its worker runs with ", slots, " ", kind, " slots, ", slots_,
                       " ", kind_, " were asked for (hint: `ursa down --dir ", options_.dir, "` first)"));
    URSA_ASSIGN_OR_RETURN(const std::vector<v1::Worker> workers, Retryable(client_->ListWorkers()));
    for (const v1::Worker& worker : workers) {
      if (worker.state() != v1::Worker::STATE_ALIVE && worker.state() != v1::Worker::STATE_DRAINED) continue;
      const absl::Time seen =
          absl::FromUnixSeconds(worker.last_seen_time().seconds()) + absl::Nanoseconds(worker.last_seen_time().nanos());
      if (!worker.has_last_seen_time() || result_.started.empty() || seen >= started_at_) return absl::OkStatus();
    }
    return absl::UnavailableError("it is not registered");
  }

  // A call's error must not look like one of ours that ends the start.
  template <typename T>
  static absl::StatusOr<T> Retryable(absl::StatusOr<T> answer) {
    if (answer.ok()) return answer;
    return absl::UnavailableError(answer.status().message());
  }

  absl::StatusOr<UpResult> Finish() {
    std::string pids;
    for (const char* program : {kCoordinatorProgram, kWorkerProgram}) {
      for (DaemonProcess& daemon : FindDaemons(options_.dir, program)) {
        absl::StrAppend(&pids, program, " ", daemon.pid, "\n");
        result_.daemons.push_back(std::move(daemon));
      }
    }
    URSA_RETURN_IF_ERROR(WriteFileAtomically(Path("pids"), pids));
    up_before_client_env.Pass();
    URSA_RETURN_IF_ERROR(WriteFileAtomically(Path("client.env"), ClientEnv(result_.server, result_.token_file)));
    return std::move(result_);
  }

  const UpOptions& options_;
  SignalWaiter* signals_;
  std::string* log_tail_;
  int slots_ = 0;
  std::string kind_;
  std::unique_ptr<Client> client_;
  std::vector<pid_t> started_pids_;
  std::string log_file_;    // of the daemon started last
  int64_t log_offset_ = 0;  // where its output begins
  absl::Time started_at_ = absl::InfinitePast();
  UpResult result_;
};

void SignalAll(const std::vector<DaemonProcess>& daemons, int signal) {
  for (const DaemonProcess& daemon : daemons) ::kill(daemon.pid, signal);
}

}  // namespace

absl::StatusOr<UpResult> BringUp(const UpOptions& options, SignalWaiter* signals, std::string* log_tail) {
  URSA_RETURN_IF_ERROR(MakeFolder(options.dir));
  URSA_RETURN_IF_ERROR(MakeFolder(options.dir + "/log"));
  URSA_ASSIGN_OR_RETURN(const FileLock lock, FileLock::Acquire(options.dir + "/up.lock", kLockTimeout));
  Starter starter(options, signals, log_tail);
  absl::StatusOr<UpResult> result = starter.Run();
  if (!result.ok()) {
    // In the reverse order of their start: the worker says goodbye to its coordinator.
    for (auto pid = starter.started_pids().rbegin(); pid != starter.started_pids().rend(); ++pid) {
      if (!IsRunning(*pid)) continue;
      ::kill(*pid, SIGTERM);
      if (WaitUntilGone({*pid}, absl::Seconds(10))) continue;
      ::kill(*pid, SIGKILL);
      WaitUntilGone({*pid}, absl::Seconds(5));
    }
  }
  return result;
}

absl::StatusOr<int> StopDaemons(const DownOptions& options, const std::function<void(const std::string&)>& on_step) {
  const size_t num_found = FindDaemons(options.dir).size();
  const auto stop = [&](const char* program, int signal, absl::Duration grace, const std::string& step) {
    const std::vector<DaemonProcess> daemons = FindDaemons(options.dir, program);
    if (daemons.empty()) return;
    on_step(step);
    SignalAll(daemons, signal);
    if (WaitUntilGone(Pids(daemons), grace)) return;
    SignalAll(FindDaemons(options.dir, program), SIGKILL);
  };
  // Without a coordinator nothing can be checkpointed, and the worker need not be waited for long.
  const bool can_checkpoint = !FindDaemons(options.dir, kCoordinatorProgram).empty();
  stop(kWorkerProgram, SIGTERM, can_checkpoint ? options.worker_grace : options.task_grace,
       "the worker stops; running jobs are checkpointed");
  stop(kTaskProgram, 0, options.task_grace, "tasks end");
  stop(kCoordinatorProgram, SIGTERM, options.coordinator_grace, "the coordinator stops");
  const std::vector<DaemonProcess> left = FindDaemons(options.dir);
  SignalAll(left, SIGKILL);
  if (!WaitUntilGone(Pids(left), absl::Seconds(5)))
    return absl::InternalError(
        absl::StrCat("process ", left[0].pid, " (", left[0].program, "): does not end after SIGKILL"));
  ::unlink((options.dir + "/pids").c_str());
  return static_cast<int>(num_found);
}

absl::StatusOr<int> BringDown(const DownOptions& options, const std::function<void(const std::string&)>& on_step) {
  struct stat info;
  if (::stat(options.dir.c_str(), &info) != 0)
    return StopDaemons(options, on_step);  // it may have been removed under them
  URSA_ASSIGN_OR_RETURN(const FileLock lock, FileLock::Acquire(options.dir + "/up.lock", kLockTimeout));
  return StopDaemons(options, on_step);
}

absl::StatusOr<std::string> AbsoluteFolder(const std::string& dir) {
  if (dir.empty()) return absl::InvalidArgumentError("folder \"\": must not be empty (hint: --dir DIR)");
  std::error_code error;
  std::string path = std::filesystem::absolute(dir, error).lexically_normal().string();
  if (error) return ErrnoStatus(error.value(), absl::StrCat("folder \"", dir, "\""));
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

int CountGpus(const std::string& dev) {
  int count = 0;
  DIR* folder = ::opendir(dev.c_str());
  if (folder == nullptr) return 0;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string name = entry->d_name;
    const bool numbered =
        name.size() > 6 && std::all_of(name.begin() + 6, name.end(), [](unsigned char c) { return std::isdigit(c); });
    if (absl::StartsWith(name, "nvidia") && numbered) ++count;
  }
  ::closedir(folder);
  return count;
}

std::string ClientEnv(const std::string& server, const std::string& token_file) {
  const auto quoted = [](const std::string& value) {
    const bool plain = std::all_of(value.begin(), value.end(), [](unsigned char c) {
      return std::isalnum(c) || absl::StrContains("_-./:@%+,", absl::string_view(reinterpret_cast<char*>(&c), 1));
    });
    if (plain) return value;
    return absl::StrCat("\"", absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}, {"$", "\\$"}, {"`", "\\`"}}),
                        "\"");
  };
  return absl::StrCat("URSA_SERVER=", quoted(server), "\nURSA_TOKEN_FILE=", quoted(token_file), "\n");
}

std::string TailOfFile(const std::string& path, int64_t offset, int num_lines) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok() || offset < 0 || offset >= static_cast<int64_t>(text->size())) return "";
  std::string tail = text->substr(offset);
  size_t begin = tail.size();
  for (int lines = 0; begin > 0; --begin) {
    if (tail[begin - 1] == '\n' && begin != tail.size() && ++lines == num_lines) break;
  }
  return tail.substr(begin);
}

}  // namespace ursa::cli
