// Two ranks as two processes over Gloo: equal weights, exact resume, and the death of a peer.
#include <fcntl.h>
#include <gtest/gtest.h>
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
  mkdir((std::string(folder) + "/rendezvous").c_str(), 0700);
  return folder;
}

// Starts the rank programs and returns their exit statuses.
std::vector<int> RunRanks(const std::string& folder, const std::vector<std::vector<std::string>>& flags) {
  // Each start is a rendezvous of its own.
  const std::string rendezvous = folder + "/rendezvous";
  std::filesystem::remove_all(rendezvous);
  std::filesystem::create_directory(rendezvous);
  std::vector<pid_t> children;
  for (size_t rank = 0; rank < flags.size(); ++rank) {
    std::vector<std::string> words = {std::getenv("URSA_TRAINING_RANK"), std::to_string(rank),
                                      std::to_string(flags.size()), folder};
    words.insert(words.end(), flags[rank].begin(), flags[rank].end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      const int errors = open((folder + "/errors-" + std::to_string(rank)).c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
      dup2(errors, STDERR_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    children.push_back(child);
  }
  std::vector<int> statuses;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    statuses.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  }
  return statuses;
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
