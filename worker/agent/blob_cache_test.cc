#include "worker/agent/blob_cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/digest.h"
#include "base/file.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

namespace fs = std::filesystem;

class BlobCacheTest : public testing::Test {
 protected:
  BlobCacheTest() {
    dir_ = testing::TempDir() + "/cache_" + RandomHex(4);
    options_.bytes_max = 100;
    options_.free_bytes_min = 0;
    Open();
  }
  void Open() {
    cache_.reset();
    auto cache = BlobCache::Open(dir_, options_);
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
  }
  absl::StatusOr<std::string> Put(const std::string& bytes, const std::string& owner = "x") {
    auto writer = cache_->NewWriter();
    EXPECT_TRUE(writer.ok()) << writer.status();
    const absl::Status status = (*writer)->Write(bytes);
    if (!status.ok()) return status;
    return (*writer)->Commit(owner);
  }
  size_t NumIncoming() { return std::distance(fs::directory_iterator(dir_ + "/incoming"), fs::directory_iterator()); }

  std::string dir_;
  BlobCache::Options options_;
  std::unique_ptr<BlobCache> cache_;
};

TEST_F(BlobCacheTest, KeepsBytesUnderTheirHashReadOnly) {
  const auto hash = Put("bytes");
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(*hash, Sha256Hex("bytes"));
  const auto path = cache_->Pin(*hash, "y");
  ASSERT_TRUE(path.ok());
  EXPECT_EQ(*ReadFile(*path), "bytes");
  struct stat info;
  ASSERT_EQ(::stat(path->c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0444u);
  EXPECT_EQ(NumIncoming(), 0u);
}

TEST_F(BlobCacheTest, RefusesOtherBytesThanAskedForAndKeepsNothing) {
  {
    auto writer = cache_->NewWriter();
    ASSERT_TRUE((*writer)->Write("forged").ok());
    EXPECT_TRUE(absl::IsDataLoss((*writer)->Commit("x", Sha256Hex("real")).status()));
  }
  EXPECT_EQ(NumIncoming(), 0u);
  EXPECT_EQ(cache_->size_bytes(), 0);
  EXPECT_TRUE(absl::IsNotFound(cache_->Pin(Sha256Hex("real"), "x").status()));
  EXPECT_TRUE(absl::IsNotFound(cache_->Pin(Sha256Hex("forged"), "x").status()));
}

TEST_F(BlobCacheTest, RefusesWhatIsNoHash) {
  EXPECT_TRUE(absl::IsInvalidArgument(cache_->Pin("../../etc/passwd", "x").status()));
}

TEST_F(BlobCacheTest, EvictsTheLongestUnusedAndNeverAPinnedOne) {
  const auto a = Put(std::string(40, 'a'), "a");
  const auto b = Put(std::string(40, 'b'), "b");
  cache_->Release("a");
  cache_->Release("b");
  ASSERT_TRUE(cache_->Pin(*a, "again").ok());
  cache_->Release("again");
  ASSERT_TRUE(Put(std::string(40, 'c'), "c").ok());  // b goes, unused for longest
  EXPECT_TRUE(absl::IsNotFound(cache_->Pin(*b, "x").status()));
  EXPECT_FALSE(fs::exists(dir_ + "/" + b->substr(0, 2) + "/" + *b));
  ASSERT_TRUE(cache_->Pin(*a, "x").ok());
  const auto too_much = Put(std::string(40, 'd'), "d");
  EXPECT_TRUE(absl::IsResourceExhausted(too_much.status())) << too_much.status();
  cache_->Release("x");
  EXPECT_TRUE(Put(std::string(40, 'd'), "d").ok());
  EXPECT_EQ(cache_->size_bytes(), 80);
}

TEST_F(BlobCacheTest, UnpinEndsOnePinOnly) {
  const auto a = Put(std::string(60, 'a'), "a");
  ASSERT_TRUE(cache_->Pin(*a, "b").ok());
  cache_->Unpin(*a, "a");
  EXPECT_FALSE(Put(std::string(60, 'c'), "c").ok());
  cache_->Unpin(*a, "b");
  EXPECT_TRUE(Put(std::string(60, 'c'), "c").ok());
}

TEST_F(BlobCacheTest, SameBytesTwiceCountOnce) {
  ASSERT_TRUE(Put(std::string(40, 'a')).ok());
  ASSERT_TRUE(Put(std::string(40, 'a')).ok());
  EXPECT_EQ(cache_->size_bytes(), 40);
}

TEST_F(BlobCacheTest, AbandonedWriterLeavesNothing) {
  {
    auto writer = cache_->NewWriter();
    ASSERT_TRUE((*writer)->Write(std::string(90, 'a')).ok());
    EXPECT_EQ(cache_->size_bytes(), 90);
  }
  EXPECT_EQ(cache_->size_bytes(), 0);
  EXPECT_EQ(NumIncoming(), 0u);
}

TEST_F(BlobCacheTest, SurvivesARestartAndFindsDamage) {
  const auto good = Put("good");
  const auto bad = Put("bad");
  const std::string bad_path = dir_ + "/" + bad->substr(0, 2) + "/" + *bad;
  ASSERT_EQ(::chmod(bad_path.c_str(), 0644), 0);
  std::ofstream(bad_path) << "b";
  std::ofstream(dir_ + "/incoming/rest") << "of a write that did not end";
  Open();
  EXPECT_TRUE(cache_->Pin(*good, "x").ok());
  EXPECT_TRUE(absl::IsNotFound(cache_->Pin(*bad, "x").status()));
  EXPECT_FALSE(fs::exists(bad_path));
  EXPECT_EQ(NumIncoming(), 0u);
  EXPECT_EQ(cache_->size_bytes(), 4);
}

// A disk of 50 bytes, of which others take `others_`: 10 are to stay free, 20 should.
class SmallDiskTest : public BlobCacheTest {
 protected:
  SmallDiskTest() {
    options_.free_bytes_min = 10;
    options_.free_bytes_wanted = 20;
    options_.free_disk_bytes = [this] {
      int64_t used = others_;
      for (const auto& file : fs::recursive_directory_iterator(dir_)) {
        if (file.is_regular_file()) used += static_cast<int64_t>(file.file_size());
      }
      return int64_t{50} - used;
    };
    Open();
  }
  int64_t others_ = 0;
};

TEST_F(SmallDiskTest, GivesBlobsUpForNewOnes) {
  const auto first = Put(std::string(10, '1')), pinned = Put(std::string(15, '2'), "task");
  cache_->Unpin(*first, "x");
  const auto third = Put(std::string(10, '3'));
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_TRUE(absl::IsNotFound(cache_->Pin(*first, "y").status()));
  EXPECT_TRUE(cache_->Pin(*pinned, "y").ok());
  EXPECT_TRUE(cache_->Pin(*third, "y").ok());
}

TEST_F(SmallDiskTest, RefusesWhatPinnedBlobsLeaveNoRoomFor) {
  ASSERT_TRUE(Put(std::string(30, '1')).ok());
  const auto second = Put(std::string(11, '2'));
  EXPECT_TRUE(absl::IsResourceExhausted(second.status())) << second.status();
  EXPECT_EQ(cache_->size_bytes(), 30);
  EXPECT_TRUE(Put(std::string(10, '3')).ok());
}

TEST_F(SmallDiskTest, MakesRoomWhenOthersFillTheDisk) {
  const auto first = Put(std::string(10, '1')), second = Put(std::string(10, '2')), third = Put(std::string(10, '3'));
  cache_->Unpin(*first, "x");
  cache_->Unpin(*second, "x");
  others_ = 10;
  cache_->LeaveRoom();
  EXPECT_EQ(cache_->size_bytes(), 20) << "one is enough";
  EXPECT_TRUE(absl::IsNotFound(cache_->Pin(*first, "y").status()));
  others_ = 100;
  cache_->LeaveRoom();
  EXPECT_EQ(cache_->size_bytes(), 10) << "what is pinned stays";
}

}  // namespace
}  // namespace ursa
