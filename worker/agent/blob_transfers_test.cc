#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "worker/agent/blob_fetcher.h"
#include "worker/agent/blob_uploader.h"
#include "worker/agent/testing/fake_coordinator.h"
#include "worker/agent/testing/fake_coordinator_link.h"

namespace ursa {
namespace {

using Paths = absl::StatusOr<std::vector<std::string>>;

// An answer that comes from another thread.
template <typename T>
class Answer {
 public:
  void Set(T value) {
    absl::MutexLock lock(&mu_);
    EXPECT_FALSE(value_.has_value()) << "answered twice";
    value_ = std::move(value);
  }
  bool WaitFor(absl::Duration limit) {
    absl::MutexLock lock(&mu_);
    auto there = [this] { return value_.has_value(); };
    return mu_.AwaitWithTimeout(absl::Condition(&there), limit);
  }
  T Get() {
    EXPECT_TRUE(WaitFor(absl::Seconds(20)));
    absl::MutexLock lock(&mu_);
    return *value_;
  }

 private:
  absl::Mutex mu_;
  std::optional<T> value_;
};

class BlobTransfersTest : public testing::Test {
 protected:
  BlobTransfersTest() {
    BlobCache::Options options;
    options.free_bytes_min = 0;
    cache_ = *BlobCache::Open(testing::TempDir() + "/cache_" + RandomHex(4), options);
    link_ = NewFakeCoordinatorLink(&coordinator_);
    fetch_options_.retry = upload_options_.retry = {absl::Milliseconds(5), absl::Milliseconds(20), 2};
  }
  ~BlobTransfersTest() override { link_->Stop(); }
  void StartFetcher() { fetcher_.emplace(link_.get(), cache_.get(), Clock::Real(), fetch_options_); }
  Paths Fetch(const std::vector<std::string>& hashes, const std::string& owner = "x") {
    Answer<Paths> answer;
    fetcher_->Fetch(hashes, owner, [&](Paths paths) { answer.Set(std::move(paths)); });
    return answer.Get();
  }
  std::string Put(const std::string& bytes) {
    auto writer = *cache_->NewWriter();
    EXPECT_TRUE(writer->Write(bytes).ok());
    return *writer->Commit("put");
  }

  FakeCoordinator coordinator_;
  std::unique_ptr<CoordinatorLink> link_;
  std::unique_ptr<BlobCache> cache_;
  BlobFetcher::Options fetch_options_;
  BlobUploader::Options upload_options_;
  std::optional<BlobFetcher> fetcher_;
};

TEST_F(BlobTransfersTest, FetchesInTheOrderAskedEachBlobOnce) {
  StartFetcher();
  const std::string a = coordinator_.AddBlob("aaa"), b = coordinator_.AddBlob("bbb");
  const Paths paths = Fetch({b, a, b});
  ASSERT_TRUE(paths.ok()) << paths.status();
  EXPECT_EQ(*ReadFile((*paths)[0]), "bbb");
  EXPECT_EQ(*ReadFile((*paths)[1]), "aaa");
  EXPECT_EQ((*paths)[0], (*paths)[2]);
  ASSERT_TRUE(Fetch({a, b}, "other").ok());
  EXPECT_EQ(coordinator_.received().num_downloads[a], 1);
  EXPECT_TRUE(Fetch({}).ok());
}

TEST_F(BlobTransfersTest, SharesOneDownloadAmongAllWhoAsk) {
  fetch_options_.num_streams = 2;
  StartFetcher();
  const std::string hash = coordinator_.AddBlob("shared");
  coordinator_.SetAway(true);
  Answer<Paths> answers[8];
  for (int i = 0; i < 8; ++i)
    fetcher_->Fetch({hash}, absl::StrCat(i), [&answers, i](Paths paths) { answers[i].Set(std::move(paths)); });
  EXPECT_FALSE(answers[0].WaitFor(absl::Milliseconds(50)));
  coordinator_.SetAway(false);
  for (auto& answer : answers) EXPECT_TRUE(answer.Get().ok());
  EXPECT_EQ(coordinator_.received().num_downloads[hash], 1);
}

TEST_F(BlobTransfersTest, GoesOnWhereADownloadBroke) {
  StartFetcher();
  const std::string hash = coordinator_.AddBlob(std::string(1000, 'a') + "end");
  coordinator_.CutDownloads(1000);
  const Paths paths = Fetch({hash});
  ASSERT_TRUE(paths.ok()) << paths.status();
  EXPECT_EQ(ReadFile((*paths)[0])->substr(1000), "end");
}

TEST_F(BlobTransfersTest, ErrorsAreToldAndTheNextAttemptIsFresh) {
  fetch_options_.away_limit = absl::Milliseconds(30);
  StartFetcher();
  EXPECT_TRUE(absl::IsNotFound(Fetch({Sha256Hex("x")}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Fetch({"../x"}).status()));
  coordinator_.SetAway(true);
  EXPECT_TRUE(absl::IsUnavailable(Fetch({Sha256Hex("x")}).status()));
  coordinator_.SetAway(false);
  coordinator_.AddBlob("x");
  EXPECT_TRUE(Fetch({Sha256Hex("x")}).ok());
}

TEST_F(BlobTransfersTest, CancelledOwnerIsAnsweredAndPinsNothing) {
  StartFetcher();
  const std::string hash = coordinator_.AddBlob("x");
  coordinator_.SetAway(true);
  Answer<Paths> answer;
  fetcher_->Fetch({hash}, "gone", [&](Paths paths) { answer.Set(std::move(paths)); });
  fetcher_->Cancel("gone");
  EXPECT_TRUE(absl::IsCancelled(answer.Get().status()));
  coordinator_.SetAway(false);
  EXPECT_TRUE(Fetch({hash}).ok());
}

TEST_F(BlobTransfersTest, DestructionAnswersAllThatWait) {
  StartFetcher();
  coordinator_.SetAway(true);
  Answer<Paths> answer;
  fetcher_->Fetch({Sha256Hex("x")}, "x", [&](Paths paths) { answer.Set(std::move(paths)); });
  link_->Stop();
  fetcher_.reset();
  EXPECT_TRUE(absl::IsCancelled(answer.Get().status()));
}

class BlobUploaderTest : public BlobTransfersTest {
 protected:
  void Start() {
    uploader_.emplace(link_.get(), cache_.get(), Clock::Real(), upload_options_,
                      [this](int64_t id, const absl::Status& status) { answers_[id].Set(status); });
  }
  ~BlobUploaderTest() override { link_->Stop(); }
  Answer<absl::Status> answers_[4];
  std::optional<BlobUploader> uploader_;
};

TEST_F(BlobUploaderTest, UploadsWhatIsMissing) {
  Start();
  coordinator_.AddBlob("there");
  uploader_->Upload(1, {Put("there"), Put("new")});
  EXPECT_TRUE(answers_[1].Get().ok());
  EXPECT_EQ(coordinator_.received().blobs[Sha256Hex("new")], "new");
}

TEST_F(BlobUploaderTest, WaitsForAnAwayCoordinatorAndGoesOn) {
  Start();
  coordinator_.SetAway(true);
  uploader_->Upload(1, {Put("abcdef")});
  EXPECT_FALSE(answers_[1].WaitFor(absl::Milliseconds(100)));
  coordinator_.CutUploads(3);
  coordinator_.SetAway(false);
  EXPECT_TRUE(answers_[1].Get().ok());
}

TEST_F(BlobUploaderTest, GivesUpWhatCannotSucceed) {
  Start();
  uploader_->Upload(1, {Sha256Hex("never put")});
  EXPECT_TRUE(absl::IsNotFound(answers_[1].Get()));
}

TEST_F(BlobUploaderTest, CancelledUploadDoesNotBlockTheNext) {
  Start();
  coordinator_.SetAway(true);
  uploader_->Upload(1, {Put("old")});
  uploader_->Upload(2, {Put("new")});
  uploader_->Cancel(1);
  coordinator_.SetAway(false);
  EXPECT_TRUE(answers_[2].Get().ok());
  EXPECT_FALSE(answers_[1].WaitFor(absl::Milliseconds(20)));
}

}  // namespace
}  // namespace ursa
