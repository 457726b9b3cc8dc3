#include "base/spawn.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "base/file.h"

namespace ursa {
namespace {

// What a child says, which must succeed.
std::string Says(const std::vector<std::string>& words, SpawnLeads leads) {
  const std::string path = testing::TempDir() + "/said";
  SpawnActions actions;
  posix_spawn_file_actions_addopen(actions.get(), 1, path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const auto pid = Spawn(words, actions, leads);
  EXPECT_TRUE(pid.ok()) << pid.status();
  int status = 0;
  EXPECT_EQ(waitpid(*pid, &status, 0), *pid);
  EXPECT_EQ(status, 0);
  return *ReadFile(path);
}

TEST(SpawnTest, NoSignalIsBlockedOrIgnoredInAChild) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const std::string said = Says({"grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"}, SpawnLeads::kProcessGroup);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  signal(SIGPIPE, SIG_DFL);
  unsigned long long blocked_bits = 1, ignored_bits = 1;
  ASSERT_EQ(sscanf(said.c_str(), "SigBlk: %llx SigIgn: %llx", &blocked_bits, &ignored_bits), 2) << said;
  EXPECT_EQ(blocked_bits, 0u);
  EXPECT_EQ(ignored_bits & ~(3ull << 31), 0u) << said;  // 32 and 33 are the C library's own
}

TEST(SpawnTest, AChildLeadsItsGroupOrSession) {
  // /proc/self/stat: pid (name) state parent group session ...
  const auto numbers = [](SpawnLeads leads) {
    int pid = 0, parent = 0, group = 0, session = 0;
    char name[32] = {}, state = 0;
    const std::string said = Says({"/bin/cat", "/proc/self/stat"}, leads);
    EXPECT_EQ(sscanf(said.c_str(), "%d %31s %c %d %d %d", &pid, name, &state, &parent, &group, &session), 6) << said;
    EXPECT_EQ(parent, getpid());
    EXPECT_EQ(group, pid);
    return session == pid;
  };
  EXPECT_FALSE(numbers(SpawnLeads::kProcessGroup));
  EXPECT_TRUE(numbers(SpawnLeads::kSession));
}

TEST(SpawnTest, AnErrorNamesTheProgram) {
  const auto pid = Spawn({"/nowhere/program", "x"}, SpawnActions(), SpawnLeads::kSession);
  EXPECT_EQ(pid.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(pid.status().message().find("program \"/nowhere/program\": cannot be started"), std::string::npos);
}

}  // namespace
}  // namespace ursa
