#include "tools/bench/coordinator/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/log.h"

extern char** environ;

namespace ursa {

ChildProcess::ChildProcess(const std::vector<std::string>& arguments, const std::string& log_file) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  URSA_CHECK(error == 0) << arguments[0] << ": " << std::strerror(error);
}

ChildProcess::~ChildProcess() { Kill(); }

void ChildProcess::Terminate() { End(SIGTERM); }
void ChildProcess::Kill() { End(SIGKILL); }

void ChildProcess::End(int signal) {
  if (pid_ <= 0) return;
  ::kill(pid_, signal);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

double ChildProcess::CpuSeconds() const {
  const auto stat = ReadFile(absl::StrCat("/proc/", pid_, "/stat"));
  URSA_CHECK_OK(stat.status());
  // The fields after the name, which ends with the last bracket: state is field 3, utime 14, stime 15.
  const std::vector<std::string> fields = absl::StrSplit(stat->substr(stat->rfind(')') + 2), ' ');
  const double ticks = std::strtod(fields[11].c_str(), nullptr) + std::strtod(fields[12].c_str(), nullptr);
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

int64_t ChildProcess::ResidentBytes() const {
  const auto statm = ReadFile(absl::StrCat("/proc/", pid_, "/statm"));
  URSA_CHECK_OK(statm.status());
  const std::vector<std::string> fields = absl::StrSplit(*statm, ' ');
  return static_cast<int64_t>(std::strtoll(fields[1].c_str(), nullptr, 10)) * ::sysconf(_SC_PAGESIZE);
}

}  // namespace ursa
