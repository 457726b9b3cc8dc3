#include "worker/agent/join.h"

#include <sys/stat.h>

#include <filesystem>
#include <vector>

#include "base/digest.h"
#include "base/file.h"
#include "base/rng.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

class JoinTest : public testing::Test {
 protected:
  JoinTest() {
    std::filesystem::create_directories(folder_);
    calls_.join = [this](const std::string& hash) -> absl::StatusOr<std::string> {
      hashes_.push_back(hash);
      if (answers_.empty()) return absl::InternalError("asked too often");
      absl::StatusOr<std::string> answer = answers_.front();
      answers_.erase(answers_.begin());
      return answer;
    };
    calls_.wait = [this](absl::Duration) { return --num_waits_ >= 0; };
  }
  ~JoinTest() override { std::filesystem::remove_all(folder_); }

  absl::Status Join(std::vector<absl::StatusOr<std::string>> answers) {
    answers_ = std::move(answers);
    return JoinCluster(files_, calls_, &backoff_);
  }
  static mode_t ModeOf(const std::string& path) {
    struct stat info;
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 0777 : 0;
  }

  const std::string folder_ = testing::TempDir() + "/join_" + RandomHex(4);
  const JoinFiles files_{folder_};
  SeededRng rng_{1};
  Backoff backoff_{{absl::Milliseconds(1), absl::Milliseconds(1), 2}, &rng_};
  JoinCalls calls_;
  std::vector<absl::StatusOr<std::string>> answers_;
  std::vector<std::string> hashes_;
  int num_waits_ = 10;
};

TEST_F(JoinTest, StartsAreCountedAndKept) {
  EXPECT_EQ(CountStart(files_).value(), 1);
  EXPECT_EQ(CountStart(files_).value(), 2);
  ASSERT_TRUE(WriteFileAtomically(files_.starts, "many\n").ok());
  EXPECT_EQ(CountStart(files_).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(JoinTest, KeepsItsCredentialForItselfAlone) {
  EXPECT_FALSE(HasJoined(files_));
  ASSERT_TRUE(Join({"w3"}).ok());
  EXPECT_TRUE(HasJoined(files_));
  EXPECT_EQ(*ReadFile(files_.worker_id), "w3\n");
  std::string credential = *ReadFile(files_.credential);
  credential.pop_back();
  EXPECT_EQ(credential.size(), 64u);
  EXPECT_EQ(hashes_, std::vector<std::string>{Sha256Hex(credential)});
  EXPECT_EQ(ModeOf(files_.credential), 0600u);
  EXPECT_FALSE(std::filesystem::exists(files_.new_credential));
  EXPECT_TRUE(Join({}).ok());  // nobody is asked
}

TEST_F(JoinTest, AsksAgainWithTheSameUntilItIsAnswered) {
  const auto away = absl::UnavailableError("away");
  ASSERT_TRUE(Join({away, away, "w3"}).ok());
  ASSERT_EQ(hashes_.size(), 3u);
  EXPECT_EQ(hashes_[0], hashes_[2]);
}

TEST_F(JoinTest, ANewStartAsksWithWhatTheKilledOneHadDrawn) {
  num_waits_ = 1;
  const auto away = absl::UnavailableError("its answer was lost");
  EXPECT_EQ(Join({away, away}).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ModeOf(files_.new_credential), 0600u);
  EXPECT_FALSE(HasJoined(files_));
  ASSERT_TRUE(Join({"w3"}).ok());
  EXPECT_EQ(hashes_.front(), hashes_.back());
}

TEST_F(JoinTest, ARefusalIsFinal) {
  EXPECT_EQ(Join({absl::FailedPreconditionError("another has used it")}).message(), "another has used it");
  EXPECT_FALSE(HasJoined(files_));
  EXPECT_EQ(hashes_.size(), 1u);
}

}  // namespace
}  // namespace ursa
