#include "tests/crash/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"

extern char** environ;

namespace ursa::crash {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(4);

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> Merge(const Process::Environment& changes) {
  std::vector<std::string> merged;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    if (std::none_of(changes.begin(), changes.end(), [name](const auto& change) { return change.first == name; })) {
      merged.emplace_back(text);
    }
  }
  for (const auto& [name, value] : changes) merged.push_back(absl::StrCat(name, "=", value));
  return merged;
}

}  // namespace

bool WaitUntil(const std::function<bool()>& condition, absl::Duration limit) {
  Clock* const clock = Clock::Real();
  const absl::Time deadline = clock->Now() + limit;
  while (!condition()) {
    if (clock->Now() >= deadline) return false;
    clock->SleepUntil(clock->Now() + kPollInterval);
  }
  return true;
}

void LetPass(absl::Duration duration) { Clock::Real()->SleepUntil(Clock::Real()->Now() + duration); }

std::string Death::ToString() const {
  return signal != 0 ? absl::StrCat("signal ", signal) : absl::StrCat("exit status ", exit_code);
}

absl::StatusOr<Process> Process::Start(const std::vector<std::string>& words, const Environment& environment,
                                       const std::string& log_file) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  const std::vector<std::string> variables = Merge(environment);
  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, words[0].c_str(), &actions, nullptr, Pointers(words).data(), Pointers(variables).data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return ErrnoStatus(error, absl::StrCat("program ", words[0], ": cannot start"));
  return Process(pid);
}

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  Kill();
  pid_ = std::exchange(other.pid_, 0);
  death_ = other.death_;
  return *this;
}

void Process::Reap(int options) {
  int status = 0;
  if (pid_ == 0 || ::waitpid(pid_, &status, options) != pid_) return;
  pid_ = 0;
  death_ = WIFSIGNALED(status) ? Death{0, WTERMSIG(status)} : Death{WEXITSTATUS(status), 0};
}

bool Process::IsRunning() {
  Reap(WNOHANG);
  return pid_ != 0;
}

void Process::Kill() {
  if (!IsRunning()) return;
  ::kill(pid_, SIGKILL);
  Reap(0);
}

void Process::Signal(int signal) const {
  if (pid_ != 0) ::kill(pid_, signal);
}

}  // namespace ursa::crash
