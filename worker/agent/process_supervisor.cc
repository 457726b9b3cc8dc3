#include "worker/agent/process_supervisor.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"

extern char** environ;

namespace ursa {
namespace {

constexpr uint64_t kWakeTag = 0;  // of the epoll events of wake_fd_; those of children are 2 * id + 2, + 3 for output

// argv or envp, made before the fork: the child of a process with threads may not allocate.
std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> Environment(const std::vector<std::pair<std::string, std::string>>& changes) {
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    if (std::none_of(changes.begin(), changes.end(), [name](const auto& change) { return change.first == name; }))
      environment.emplace_back(text);
  }
  for (const auto& [name, value] : changes) environment.push_back(absl::StrCat(name, "=", value));
  return environment;
}

struct ChildPlan {
  const char* program;
  char* const* arguments;
  char* const* environment;
  pid_t parent;
  int null_fd;
  int output_fd;
  int inherited_fd;
  int error_fd;
};

// In the child, between fork and exec: async-signal-safe calls only.
[[noreturn]] void Become(const ChildPlan& plan) {
  auto fail = [&plan] {
    const int error_number = errno;
    [[maybe_unused]] const ssize_t written = ::write(plan.error_fd, &error_number, sizeof(error_number));
    ::_exit(127);
  };
  ::setpgid(0, 0);
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail();
  if (::getppid() != plan.parent) ::_exit(127);  // it died before the line above
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::dup2(plan.null_fd, STDIN_FILENO) < 0 || ::dup2(plan.output_fd, STDOUT_FILENO) < 0 ||
      ::dup2(plan.output_fd, STDERR_FILENO) < 0)
    fail();
  if (::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) fail();
  // error_fd may be the very number that the inherited one is to get.
  int error_fd = plan.error_fd;
  if (plan.inherited_fd >= 0) {
    if (error_fd == ProcessSupervisor::kInheritedFd) error_fd = ::fcntl(error_fd, F_DUPFD_CLOEXEC, 4);
    if (plan.inherited_fd == ProcessSupervisor::kInheritedFd) {
      if (::fcntl(plan.inherited_fd, F_SETFD, 0) != 0) fail();
    } else if (::dup2(plan.inherited_fd, ProcessSupervisor::kInheritedFd) < 0) {
      fail();
    }
  }
  ::execve(plan.program, plan.arguments, plan.environment);
  const int error_number = errno;
  [[maybe_unused]] const ssize_t written = ::write(error_fd, &error_number, sizeof(error_number));
  ::_exit(127);
}

}  // namespace

ProcessSupervisor::ProcessSupervisor(Callbacks callbacks) : callbacks_(std::move(callbacks)) {
  epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  URSA_CHECK(epoll_fd_ >= 0 && wake_fd_ >= 0) << std::strerror(errno);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeTag;
  URSA_CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) == 0) << std::strerror(errno);
  spawner_ = std::thread([this] { RunSpawner(); });
  watcher_ = std::thread([this] { RunWatcher(); });
}

ProcessSupervisor::~ProcessSupervisor() {
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
    for (const auto& [id, child] : children_) ::kill(-child.pid, SIGKILL);
  }
  Wake();
  watcher_.join();
  spawner_.join();
  ::close(wake_fd_);
  ::close(epoll_fd_);
}

void ProcessSupervisor::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof(one));
}

absl::StatusOr<pid_t> ProcessSupervisor::Start(int64_t id, const Command& command) {
  SpawnRequest request;
  request.id = id;
  request.command = &command;
  absl::MutexLock lock(&mu_);
  auto spawner_free = [this] { return request_ == nullptr || closing_; };
  mu_.Await(absl::Condition(&spawner_free));
  if (closing_) return absl::CancelledError("supervisor: it is being closed");
  URSA_CHECK(children_.count(id) == 0) << "process " << id << " started twice";
  request_ = &request;
  mu_.Await(absl::Condition(&request.done));
  return request.result;
}

bool ProcessSupervisor::IsAlive(int64_t id) {
  absl::MutexLock lock(&mu_);
  const auto it = children_.find(id);
  if (it == children_.end()) return false;
  pollfd process{it->second.pidfd, POLLIN, 0};  // which can be read when it has ended
  return ::poll(&process, 1, 0) == 0;
}

void ProcessSupervisor::Signal(int64_t id, int signal) {
  absl::MutexLock lock(&mu_);
  // Not reaped, so the number is still this process's.
  const auto it = children_.find(id);
  if (it != children_.end()) ::kill(-it->second.pid, signal);
}

void ProcessSupervisor::RunSpawner() {
  for (;;) {
    SpawnRequest* request;
    {
      absl::MutexLock lock(&mu_);
      auto due = [this] { return request_ != nullptr || (closing_ && children_.empty()); };
      mu_.Await(absl::Condition(&due));
      request = request_;
      if (request == nullptr) return;
    }
    absl::StatusOr<pid_t> result = Spawn(request->id, *request->command);
    absl::MutexLock lock(&mu_);
    request->result = std::move(result);
    request->done = true;
    request_ = nullptr;
  }
}

absl::StatusOr<pid_t> ProcessSupervisor::Spawn(int64_t id, const Command& command) {
  const std::string subject = absl::StrCat("program \"", command.program, "\": cannot start");
  const std::vector<char*> arguments = Pointers(command.arguments);
  const std::vector<std::string> environment_strings = Environment(command.environment);
  const std::vector<char*> environment = Pointers(environment_strings);
  int output[2], error[2];
  if (::pipe2(output, O_CLOEXEC) != 0) return ErrnoStatus(errno, subject);
  if (::pipe2(error, O_CLOEXEC) != 0) {
    const int error_number = errno;
    ::close(output[0]), ::close(output[1]);
    return ErrnoStatus(error_number, subject);
  }
  const int null_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const ChildPlan plan{command.program.c_str(), arguments.data(), environment.data(), ::getpid(), null_fd, output[1],
                       command.inherited_fd,    error[1]};
  const pid_t pid = ::fork();
  if (pid == 0) Become(plan);
  int error_number = pid < 0 ? errno : 0;
  ::close(output[1]);
  ::close(error[1]);
  ::close(null_fd);
  if (pid > 0) {
    ::setpgid(pid, pid);  // here as well, so that the group is there when Start() returns
    // Ends without a byte when exec closes the pipe.
    ssize_t got;
    do {
      got = ::read(error[0], &error_number, sizeof(error_number));
    } while (got < 0 && errno == EINTR);
    if (got != sizeof(error_number)) error_number = 0;
  }
  ::close(error[0]);
  const int pidfd = pid > 0 && error_number == 0 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1;
  if (pid > 0 && error_number == 0 && pidfd < 0) error_number = errno;
  if (error_number != 0) {
    ::close(output[0]);
    if (pid > 0) {
      ::kill(-pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    return ErrnoStatus(error_number, subject);
  }
  ::fcntl(output[0], F_SETFL, O_NONBLOCK);
  {
    absl::MutexLock lock(&mu_);
    children_[id] = Child{pid, pidfd, output[0]};
    if (closing_) ::kill(-pid, SIGKILL);
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 2 * static_cast<uint64_t>(id) + 3;
  URSA_CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, output[0], &event) == 0) << std::strerror(errno);
  event.data.u64 = 2 * static_cast<uint64_t>(id) + 2;
  URSA_CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, pidfd, &event) == 0) << std::strerror(errno);
  return pid;
}

void ProcessSupervisor::RunWatcher() {
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      if (closing_ && children_.empty() && request_ == nullptr) return;
    }
    epoll_event events[16];
    // The spawner's last child may end without a wake-up of ours: look again now and then while closing.
    const int count = ::epoll_wait(epoll_fd_, events, 16, 100);
    for (int i = 0; i < count; ++i) {
      const uint64_t tag = events[i].data.u64;
      if (tag == kWakeTag) {
        uint64_t value;
        [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &value, sizeof(value));
        continue;
      }
      const int64_t id = static_cast<int64_t>((tag - 2) / 2);
      int output_fd = -1;
      {
        absl::MutexLock lock(&mu_);
        const auto it = children_.find(id);
        if (it == children_.end()) continue;  // reaped by an event before this one
        output_fd = it->second.output_fd;
      }
      if (tag % 2 == 0) {
        Reap(id);
      } else if (!ReadOutput(id, output_fd)) {
        // Closed by a process that goes on: its end is told by the pidfd.
        ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, output_fd, nullptr);
      }
    }
  }
}

bool ProcessSupervisor::ReadOutput(int64_t id, int output_fd) {
  char buffer[1 << 16];
  // A pipe that is always full must not keep the watcher from the others.
  for (int i = 0; i < 16; ++i) {
    const ssize_t got = ::read(output_fd, buffer, sizeof(buffer));
    if (got > 0) {
      callbacks_.on_output(id, std::string_view(buffer, got));
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else {
      return got < 0 && errno == EAGAIN;
    }
  }
  return true;
}

void ProcessSupervisor::Reap(int64_t id) {
  Child child;
  {
    absl::MutexLock lock(&mu_);
    child = children_[id];
  }
  // The leader is not reaped yet, so the group's number cannot be another's.
  ::kill(-child.pid, SIGKILL);
  for (bool more = true; more;) {
    char buffer[1 << 16];
    const ssize_t got = ::read(child.output_fd, buffer, sizeof(buffer));
    if (got > 0) callbacks_.on_output(id, std::string_view(buffer, got));
    more = got > 0 || (got < 0 && errno == EINTR);
  }
  Exit exit;
  {
    absl::MutexLock lock(&mu_);
    int status = 0;
    pid_t reaped;
    do {
      reaped = ::waitpid(child.pid, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    if (WIFSIGNALED(status)) {
      exit.signal = WTERMSIG(status);
    } else if (WIFEXITED(status)) {
      exit.exit_code = WEXITSTATUS(status);
    }
    children_.erase(id);
  }
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, child.pidfd, nullptr);
  ::close(child.pidfd);
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, child.output_fd, nullptr);
  ::close(child.output_fd);
  callbacks_.on_exit(id, exit);
}

}  // namespace ursa
