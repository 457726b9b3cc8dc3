// Two ranks as two processes: equal weights, exact resume, and the death of a peer. Over Gloo; with
// URSA_TEST_DEVICE=cuda over NCCL, both on the first GPU.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "base/file.h"

namespace ursa {
namespace {

std::string MakeFolder() {
  char folder[] = "/tmp/ranks_XXXXXX";
  EXPECT_NE(mkdtemp(folder), nullptr);
  return folder;
}

using Flags = std::vector<std::string>;

// Starts the program of a rank of two.
pid_t StartRank(const std::string& folder, int rank, const Flags& flags) {
  std::vector<std::string> words = {std::getenv("URSA_TRAINING_RANK"), std::to_string(rank), "2", folder};
  words.insert(words.end(), flags.begin(), flags.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const int errors = open((folder + "/errors-" + std::to_string(rank)).c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    dup2(errors, STDERR_FILENO);
    setenv("NCCL_HOSTID", std::to_string(rank).c_str(), 1);  // of two hosts, NCCL lets ranks share a GPU
    execv(argv[0], argv.data());
    _exit(127);
  }
  return child;
}

// Waits for the end of a rank and returns its exit status.
int AwaitEnd(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Starts both ranks and returns their exit statuses.
std::vector<int> RunRanks(const std::string& folder, const std::vector<Flags>& flags) {
  std::filesystem::remove_all(folder + "/rendezvous");  // each start is a rendezvous of its own
  const pid_t first = StartRank(folder, 0, flags[0]), second = StartRank(folder, 1, flags[1]);
  const int status = AwaitEnd(first);
  return {status, AwaitEnd(second)};
}

std::string Result(const std::string& folder, int rank) {
  const auto text = ReadFile(folder + "/result-" + std::to_string(rank));
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

TEST(DataParallelProcessTest, EqualWeightsOnBothRanksAndInEveryRun) {
  const std::string first = MakeFolder(), second = MakeFolder();
  EXPECT_EQ(RunRanks(first, {{}, {}}), std::vector<int>({0, 0}));
  EXPECT_EQ(RunRanks(second, {{}, {}}), std::vector<int>({0, 0}));
  const std::string result = Result(first, 0);
  EXPECT_NE(result.find("valid_loss"), std::string::npos);
  EXPECT_EQ(Result(first, 1), result);
  EXPECT_EQ(Result(second, 0), result);
}

TEST(DataParallelProcessTest, ResumeIsBitEqual) {
  const std::string whole = MakeFolder(), parts = MakeFolder();
  EXPECT_EQ(RunRanks(whole, {{}, {}}), std::vector<int>({0, 0}));
  // Rank 1 wishes to stop; both do, after the same step, and go on from rank 0's checkpoint.
  EXPECT_EQ(RunRanks(parts, {{}, {"--stop-at=8"}}), std::vector<int>({0, 0}));
  EXPECT_EQ(RunRanks(parts, {{"--resume"}, {"--resume"}}), std::vector<int>({0, 0}));
  const std::string expected = Result(whole, 0), resumed = Result(parts, 0);
  EXPECT_EQ(resumed.substr(0, 64), expected.substr(0, 64)) << "SHA-256 of the model";
  const std::string tail = resumed.substr(65);
  EXPECT_EQ(expected.substr(expected.size() - tail.size()), tail) << "every point after the checkpoint";
}

TEST(DataParallelProcessTest, ADeadRankIsReplacedAndNotABitIsDifferent) {
  const std::string calm = MakeFolder();
  EXPECT_EQ(RunRanks(calm, {{}, {}}), std::vector<int>({0, 0}));
  for (const int mortal : {0, 1}) {
    const std::string storm = MakeFolder();
    const int survivor = 1 - mortal;
    const pid_t survives = StartRank(storm, survivor, {"--groups=2"});
    EXPECT_EQ(AwaitEnd(StartRank(storm, mortal, {"--groups=2", "--die-at=8"})), 9);
    EXPECT_EQ(AwaitEnd(StartRank(storm, mortal, {"--groups=2", "--joins"})), 0);
    EXPECT_EQ(AwaitEnd(survives), 0);
    EXPECT_EQ(Result(storm, survivor), Result(calm, 0)) << "survivor " << survivor;
    EXPECT_EQ(Result(storm, mortal).substr(0, 64), Result(calm, 0).substr(0, 64)) << "SHA-256 of the model";
  }
}

// Nothing tells NCCL of it; the rank is told from outside.
TEST(DataParallelProcessTest, AFrozenRankIsLeftOnceTheGroupIsInterrupted) {
  if (const char* device = std::getenv("URSA_TEST_DEVICE"); device == nullptr || std::string(device) != "cuda") {
    GTEST_SKIP() << "of NCCL; needs a GPU and URSA_TEST_DEVICE=cuda";
  }
  const std::string calm = MakeFolder(), storm = MakeFolder();
  EXPECT_EQ(RunRanks(calm, {{}, {}}), std::vector<int>({0, 0}));
  const pid_t survives = StartRank(storm, 0, {"--groups=2"});
  const pid_t freezes = StartRank(storm, 1, {"--groups=2", "--freeze-at=8"});
  int status = 0;
  ASSERT_EQ(waitpid(freezes, &status, WUNTRACED), freezes);
  ASSERT_TRUE(WIFSTOPPED(status)) << status;
  kill(survives, SIGUSR1);
  EXPECT_EQ(AwaitEnd(StartRank(storm, 1, {"--groups=2", "--joins"})), 0);
  EXPECT_EQ(AwaitEnd(survives), 0);
  kill(freezes, SIGKILL);
  AwaitEnd(freezes);
  EXPECT_EQ(Result(storm, 0), Result(calm, 0));
}

TEST(DataParallelProcessTest, APeersDeathEndsTheOtherWithAnError) {
  const std::string folder = MakeFolder();
  const absl::Time start = absl::Now();
  EXPECT_EQ(RunRanks(folder, {{}, {"--die-at=5"}}), std::vector<int>({3, 9}));
  EXPECT_LT(absl::Now() - start, absl::Seconds(60));
  const auto errors = ReadFile(folder + "/errors-0");
  ASSERT_TRUE(errors.ok());
  EXPECT_NE(errors->find("UNAVAILABLE"), std::string::npos) << *errors;
}

}  // namespace
}  // namespace ursa
