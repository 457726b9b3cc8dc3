#include "worker/agent/process_supervisor.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

// Whether the process exists and is more than a zombie.
bool Lives(pid_t pid) {
  const auto stat = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  return stat.ok() && !absl::StrContains(*stat, ") Z ") && !absl::StrContains(*stat, ") X ");
}

bool GoneSoon(pid_t pid) {
  for (int i = 0; i < 200 && Lives(pid); ++i)
    absl::SleepFor(absl::Milliseconds(10));  // tidy: allow(sleep-in-test) the end of another's child has no event
  return !Lives(pid);
}

class ProcessSupervisorTest : public testing::Test {
 protected:
  ProcessSupervisorTest() {
    supervisor_.emplace(ProcessSupervisor::Callbacks{[this](int64_t id, std::string_view printed) {
                                                       absl::MutexLock lock(&mu_);
                                                       printed_[id].append(printed);
                                                     },
                                                     [this](int64_t id, const ProcessSupervisor::Exit& exit) {
                                                       absl::MutexLock lock(&mu_);
                                                       ended_at_[id] = absl::Now();
                                                       exits_.emplace(id, exit);
                                                     }});
  }
  absl::StatusOr<pid_t> Shell(int64_t id, const std::string& script, int fd = -1) {
    return supervisor_->Start(id, {"/bin/sh", {"ursa-test", "-c", script}, {{"GREETING", "hi"}}, fd});
  }
  ProcessSupervisor::Exit WaitForExit(int64_t id) {
    absl::MutexLock lock(&mu_);
    auto ended = [this, id] { return exits_.count(id) > 0; };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&ended), absl::Seconds(20)));
    return exits_[id];
  }
  bool WaitForOutput(int64_t id, const std::string& text) {
    absl::MutexLock lock(&mu_);
    auto printed = [&] { return absl::StrContains(printed_[id], text); };
    return mu_.AwaitWithTimeout(absl::Condition(&printed), absl::Seconds(20));
  }
  std::string Printed(int64_t id) {
    absl::MutexLock lock(&mu_);
    return printed_[id];
  }

  absl::Mutex mu_;
  std::map<int64_t, std::string> printed_;
  std::map<int64_t, ProcessSupervisor::Exit> exits_;
  std::map<int64_t, absl::Time> ended_at_;
  std::optional<ProcessSupervisor> supervisor_;
};

TEST_F(ProcessSupervisorTest, HandsOverAllOutputBeforeTheEnd) {
  ASSERT_TRUE(Shell(1,
                    "echo $GREETING; echo err >&2; i=0; while [ $i -lt 3000 ]; do echo 0123456789; i=$((i+1)); done; "
                    "exit 3")
                  .ok());
  const auto exit = WaitForExit(1);
  EXPECT_EQ(exit.exit_code, 3);
  EXPECT_EQ(exit.signal, 0);
  EXPECT_EQ(Printed(1).substr(0, 7), "hi\nerr\n");
  EXPECT_EQ(Printed(1).size(), 7u + 3000 * 11);
}

TEST_F(ProcessSupervisorTest, TellsTheSignalSoonAfterACrash) {
  const auto pid = Shell(1, "echo up; sleep 600");
  ASSERT_TRUE(pid.ok());
  ASSERT_TRUE(WaitForOutput(1, "up"));
  const absl::Time killed_at = absl::Now();
  ::kill(*pid, SIGSEGV);
  EXPECT_EQ(WaitForExit(1).signal, SIGSEGV);
  absl::MutexLock lock(&mu_);
  EXPECT_LT(ended_at_[1] - killed_at, absl::Milliseconds(200));
}

TEST_F(ProcessSupervisorTest, KnowsWhetherOneIsAliveBeforeItsEndIsTold) {
  EXPECT_FALSE(supervisor_->IsAlive(1));
  const auto pid = Shell(1, "echo up; sleep 600");
  ASSERT_TRUE(pid.ok());
  ASSERT_TRUE(WaitForOutput(1, "up"));
  EXPECT_TRUE(supervisor_->IsAlive(1));
  {
    absl::MutexLock lock(&mu_);  // so that the callback of its end has to wait
    ::kill(*pid, SIGKILL);
    EXPECT_TRUE(GoneSoon(*pid));
    EXPECT_FALSE(supervisor_->IsAlive(1));
    EXPECT_EQ(exits_.count(1), 0u);
  }
  EXPECT_EQ(WaitForExit(1).signal, SIGKILL);
}

TEST_F(ProcessSupervisorTest, KillsOneThatIgnoresSigterm) {
  ASSERT_TRUE(Shell(1, "trap '' TERM; echo up; while :; do sleep 1; done").ok());
  ASSERT_TRUE(WaitForOutput(1, "up"));
  supervisor_->Signal(1, SIGTERM);
  supervisor_->Signal(1, SIGKILL);
  EXPECT_EQ(WaitForExit(1).signal, SIGKILL);
}

TEST_F(ProcessSupervisorTest, TheGroupEndsWithItsLeader) {
  ASSERT_TRUE(Shell(1, "sleep 600 & echo $!").ok());
  WaitForExit(1);
  const pid_t grandchild = std::atoi(Printed(1).c_str());
  ASSERT_GT(grandchild, 0);
  EXPECT_TRUE(GoneSoon(grandchild));
}

TEST_F(ProcessSupervisorTest, ClosedOutputIsNotTheEnd) {
  ASSERT_TRUE(Shell(1, "exec >&- 2>&-; sleep 0.3; exit 5").ok());
  EXPECT_EQ(WaitForExit(1).exit_code, 5);
}

TEST_F(ProcessSupervisorTest, GivesTheSocketAndNothingElse) {
  int sockets[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  ASSERT_TRUE(Shell(1, "echo hello >&3; ls /proc/self/fd | wc -l", sockets[1]).ok());
  ::close(sockets[1]);
  char text[6] = "";
  ASSERT_EQ(::read(sockets[0], text, 6), 6);
  EXPECT_EQ(std::string(text, 5), "hello");
  WaitForExit(1);
  EXPECT_EQ(::read(sockets[0], text, 6), 0) << "the child's end is closed";
  ::close(sockets[0]);
  EXPECT_EQ(std::atoi(Printed(1).c_str()), 5) << "0, 1, 2, 3 and that of ls itself";
}

TEST_F(ProcessSupervisorTest, ChildrenLeadTheirOwnGroupWithDefaultSignals) {
  ::signal(SIGPIPE, SIG_IGN);
  const auto pid = Shell(1, "grep -E 'SigIgn|SigBlk' /proc/self/status; sleep 600");
  ASSERT_TRUE(pid.ok());
  EXPECT_EQ(::getpgid(*pid), *pid);
  ASSERT_TRUE(WaitForOutput(1, "SigIgn"));
  unsigned long long blocked = ~0ULL, ignored = ~0ULL;
  ASSERT_EQ(std::sscanf(Printed(1).c_str(), "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2) << Printed(1);
  // Of the standard signals; 32 and 33 are the C library's own.
  EXPECT_EQ(blocked & 0x7fffffff, 0u);
  EXPECT_EQ(ignored & 0x7fffffff, 0u);
}

TEST_F(ProcessSupervisorTest, SaysWhyAProgramCannotStart) {
  const auto pid = supervisor_->Start(1, {"/nowhere/ursa-task", {"ursa-task"}, {}, -1});
  EXPECT_TRUE(absl::IsNotFound(pid.status())) << pid.status();
}

TEST_F(ProcessSupervisorTest, DestructionKillsAndReaps) {
  const auto a = Shell(1, "sleep 600");
  const auto b = Shell(2, "trap '' TERM; sleep 600");
  ASSERT_TRUE(a.ok() && b.ok());
  supervisor_.reset();
  EXPECT_FALSE(Lives(*a));
  EXPECT_FALSE(Lives(*b));
  EXPECT_EQ(exits_.size(), 2u);
}

TEST(OrphanTest, ChildDiesWithItsKilledSupervisor) {
  // tidy: allow(system) the supervisor under test is what is to be killed, so it cannot start this one
  std::FILE* host = ::popen("exec worker/agent/supervisor_host", "r");
  ASSERT_NE(host, nullptr);
  int host_pid = 0, child_pid = 0;
  ASSERT_EQ(std::fscanf(host, "%d %d", &host_pid, &child_pid), 2);
  EXPECT_TRUE(Lives(child_pid));
  ASSERT_EQ(::kill(host_pid, SIGKILL), 0);
  EXPECT_TRUE(GoneSoon(child_pid));
  ::pclose(host);
}

}  // namespace
}  // namespace ursa
