#include "storage/blob_store.h"

#include <algorithm>
#include <thread>

#include "base/digest.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/blob_stream.h"
#include "storage/keys.h"
#include "storage/kv_testing.h"
#include "storage/memory_kv_store.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint32_t kChunk = 1024;

std::string RandomBytes(size_t size, uint64_t seed) {
  SeededRng rng(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(rng.Next());
  return bytes;
}

BlobStore::Blob MakeBlob(const std::string& bytes) { return {Sha256Hex(bytes), bytes}; }

class BlobStoreTest : public ::testing::Test {
 protected:
  BlobStoreTest() {
    options_.chunk_bytes = kChunk;
    options_.sorted_load_bytes = 8 * kChunk;
    EXPECT_TRUE(CheckStoreFormat(&store_).ok());
    Reopen();
  }

  // As after a restart of the process.
  void Reopen() {
    auto blobs = BlobStore::Open(&store_, &clock_, options_);
    ASSERT_TRUE(blobs.ok()) << blobs.status();
    blobs_ = *std::move(blobs);
  }

  std::unique_ptr<BlobWriter> OpenWriter(const std::string& bytes) {
    auto writer = blobs_->OpenWriter(Sha256Hex(bytes), bytes.size());
    EXPECT_TRUE(writer.ok()) << writer.status();
    return writer.ok() ? *std::move(writer) : nullptr;
  }

  absl::Status Upload(const std::string& bytes) {
    const auto writer = OpenWriter(bytes);
    const absl::Status status = writer->Append(writer->offset(), std::string_view(bytes).substr(writer->offset()));
    return status.ok() ? writer->Commit() : status;
  }

  bool IsVisible(const std::string& bytes) { return blobs_->Stat(Sha256Hex(bytes)).ok(); }
  size_t NumChunks() { return CountKeys(store_, PrefixRange(PrefixKey(KeyPrefix::kChunk))); }
  size_t NumUploads() { return CountKeys(store_, PrefixRange(PrefixKey(KeyPrefix::kUpload))); }

  MemoryKvStore store_;
  FakeClock clock_;
  BlobStore::Options options_;
  std::unique_ptr<BlobStore> blobs_;
};

class BlobSizeTest : public BlobStoreTest, public ::testing::WithParamInterface<size_t> {};

TEST_P(BlobSizeTest, UploadAndPutManyComeBack) {
  const std::string uploaded = RandomBytes(GetParam(), 1), put = RandomBytes(GetParam(), 2);
  ASSERT_TRUE(Upload(uploaded).ok());
  ASSERT_TRUE(blobs_->PutMany({MakeBlob(put)}).ok());
  store_.Crash();  // both are durable
  Reopen();
  for (const std::string& bytes : {uploaded, put}) {
    EXPECT_TRUE(*blobs_->Read(Sha256Hex(bytes), bytes.size()) == bytes);
    EXPECT_EQ(blobs_->Stat(Sha256Hex(bytes))->size_bytes, bytes.size());
    const auto reader = blobs_->OpenReader(Sha256Hex(bytes), bytes.size() / 2);
    std::string half;
    while ((*reader)->offset() < bytes.size()) half += *(*reader)->Next();
    EXPECT_TRUE(half == bytes.substr(bytes.size() / 2));
    EXPECT_EQ(*(*reader)->Next(), "");
  }
  EXPECT_EQ(NumUploads(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Sizes, BlobSizeTest,
                         ::testing::Values(0, 1, kChunk - 1, kChunk, kChunk + 1, 2 * kChunk, 9 * kChunk + 5,
                                           100 * kChunk));

TEST_F(BlobStoreTest, UploadIsInvisibleUntilCommitAndInPiecesOfAnySize) {
  const std::string bytes = RandomBytes(5 * kChunk + 100, 1);
  const auto writer = OpenWriter(bytes);
  SeededRng rng(3);
  for (size_t at = 0; at < bytes.size();) {
    const std::string_view piece = std::string_view(bytes).substr(at, rng.Below(3 * kChunk));
    ASSERT_TRUE(writer->Append(at, piece).ok());
    at += piece.size();
    EXPECT_FALSE(IsVisible(bytes));
    EXPECT_THAT(*blobs_->FindMissing({Sha256Hex(bytes)}), ElementsAre(Sha256Hex(bytes)));
  }
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_TRUE(IsVisible(bytes));
  EXPECT_THAT(*blobs_->FindMissing({Sha256Hex(bytes)}), IsEmpty());
}

TEST_F(BlobStoreTest, InterruptedUploadResumesAfterARestart) {
  const std::string bytes = RandomBytes(5 * kChunk, 1);
  const std::string hash = Sha256Hex(bytes);
  EXPECT_EQ(*blobs_->ResumeOffset(hash), 0u);
  {
    const auto writer = OpenWriter(bytes);
    ASSERT_TRUE(writer->Append(0, std::string_view(bytes).substr(0, 3 * kChunk + 7)).ok());
  }
  Reopen();
  EXPECT_FALSE(IsVisible(bytes));
  EXPECT_EQ(*blobs_->ResumeOffset(hash), 3 * kChunk);
  const auto writer = OpenWriter(bytes);
  EXPECT_EQ(writer->offset(), 3 * kChunk);
  ASSERT_TRUE(writer->Append(3 * kChunk, std::string_view(bytes).substr(3 * kChunk)).ok());
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_EQ(*blobs_->ResumeOffset(hash), 0u);
  EXPECT_TRUE(*blobs_->Read(hash, bytes.size()) == bytes);
  EXPECT_EQ(NumChunks(), 5u);
}

TEST_F(BlobStoreTest, PowerFailureInAnUploadLosesNoMoreThanTheUnsyncedEnd) {
  const std::string bytes = RandomBytes(6 * kChunk, 1);
  for (size_t num_kept = 0; num_kept < 6; ++num_kept) {
    auto writer = OpenWriter(bytes);
    ASSERT_TRUE(writer->Append(writer->offset(), std::string_view(bytes).substr(writer->offset())).ok());
    writer.reset();
    store_.Crash(num_kept);
    Reopen();
    ASSERT_TRUE(Upload(bytes).ok()) << num_kept;
    EXPECT_TRUE(*blobs_->Read(Sha256Hex(bytes), bytes.size()) == bytes);
    EXPECT_EQ(NumChunks(), 6u);
    ASSERT_TRUE(blobs_->Delete({Sha256Hex(bytes)}).ok());
    EXPECT_EQ(NumChunks(), 0u);
  }
}

TEST_F(BlobStoreTest, WrongBytesAreDataLossAndLeaveNothing) {
  const std::string right = RandomBytes(3 * kChunk, 1), wrong = RandomBytes(3 * kChunk, 2);
  const auto writer = OpenWriter(right);
  ASSERT_TRUE(writer->Append(0, wrong).ok());
  EXPECT_EQ(writer->Commit().code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(IsVisible(right));
  EXPECT_EQ(NumChunks() + NumUploads(), 0u);

  const BlobStore::Blob bad{Sha256Hex(right), wrong};
  const absl::Status status = blobs_->PutMany({MakeBlob("good"), bad});
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr(bad.hash));
  EXPECT_FALSE(IsVisible("good"));
  ASSERT_TRUE(Upload(right).ok());
}

TEST_F(BlobStoreTest, CommitOfPartSaysHowMuchAndCanGoOn) {
  const std::string bytes = RandomBytes(2000, 1);
  const auto writer = OpenWriter(bytes);
  ASSERT_TRUE(writer->Append(0, bytes.substr(0, 1500)).ok());
  const absl::Status status = writer->Commit();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1500 of 2000 bytes"));
  EXPECT_EQ(writer->Append(1400, "x").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(writer->Append(1500, std::string(501, 'x')).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(writer->Append(1500, bytes.substr(1500)).ok());
  EXPECT_TRUE(writer->Commit().ok());
}

TEST_F(BlobStoreTest, FailedWriteIsReportedAndCanBeRepeated) {
  const std::string bytes = RandomBytes(3 * kChunk, 1);
  const auto writer = OpenWriter(bytes);
  store_.FailNthWrite(2, absl::UnknownError("disk"));
  EXPECT_EQ(writer->Append(0, bytes).code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(writer->offset(), kChunk);  // what it takes as sent
  ASSERT_TRUE(writer->Append(kChunk, std::string_view(bytes).substr(kChunk)).ok());
  store_.SetDiskFull(true);
  EXPECT_EQ(writer->Commit().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(IsVisible(bytes));
  EXPECT_EQ(blobs_->PutMany({MakeBlob("x")}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(blobs_->PutMany({MakeBlob(RandomBytes(9 * kChunk, 2))}).code(), absl::StatusCode::kResourceExhausted);
  store_.SetDiskFull(false);
  EXPECT_TRUE(writer->Commit().ok());
  EXPECT_TRUE(*blobs_->Read(Sha256Hex(bytes), bytes.size()) == bytes);
}

TEST_F(BlobStoreTest, NewerWriterCutsTheOlderOff) {
  const std::string bytes = RandomBytes(4 * kChunk, 1);
  const auto older = OpenWriter(bytes);
  ASSERT_TRUE(older->Append(0, bytes.substr(0, 2 * kChunk)).ok());
  const auto newer = OpenWriter(bytes);
  EXPECT_EQ(newer->offset(), 2 * kChunk);
  EXPECT_EQ(older->Append(2 * kChunk, std::string(kChunk, 'x')).code(), absl::StatusCode::kAborted);
  ASSERT_TRUE(newer->Append(2 * kChunk, bytes.substr(2 * kChunk)).ok());
  EXPECT_TRUE(newer->Commit().ok());
  EXPECT_TRUE(*blobs_->Read(Sha256Hex(bytes), bytes.size()) == bytes);
}

TEST_F(BlobStoreTest, AnotherDeclaredSizeStartsAnew) {
  const std::string bytes = RandomBytes(4 * kChunk, 1);
  {
    const auto liar = blobs_->OpenWriter(Sha256Hex(bytes), 9 * kChunk);
    ASSERT_TRUE((*liar)->Append(0, std::string(3 * kChunk, 'x')).ok());
  }
  const auto writer = OpenWriter(bytes);
  EXPECT_EQ(writer->offset(), 0u);
  ASSERT_TRUE(writer->Append(0, bytes).ok());
  EXPECT_TRUE(writer->Commit().ok());
  EXPECT_EQ(NumChunks(), 4u);
}

TEST_F(BlobStoreTest, WhatIsThereIsNotStoredAgain) {
  const std::string bytes = RandomBytes(2 * kChunk, 1);
  const auto late = OpenWriter(bytes);
  ASSERT_TRUE(late->Append(0, bytes).ok());
  ASSERT_TRUE(blobs_->PutMany({MakeBlob(bytes), MakeBlob(bytes)}).ok());
  ASSERT_TRUE(blobs_->PutMany({MakeBlob(bytes)}).ok());
  EXPECT_TRUE(late->Commit().ok());
  EXPECT_EQ(NumChunks(), 2u);
  EXPECT_EQ(blobs_->OpenWriter(Sha256Hex(bytes), bytes.size()).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(BlobStoreTest, PutManyOfALotIsOneLoad) {
  std::vector<BlobStore::Blob> blobs;
  std::vector<std::string> hashes;
  for (int i = 0; i < 50; ++i) {
    blobs.push_back(MakeBlob(RandomBytes(500 * (i % 7), i)));
    hashes.push_back(blobs.back().hash);
  }
  const int64_t before = store_.num_writes();
  ASSERT_TRUE(blobs_->PutMany(blobs).ok());
  EXPECT_EQ(store_.num_writes(), before + 1);
  store_.Crash();
  Reopen();
  for (const BlobStore::Blob& blob : blobs) EXPECT_TRUE(*blobs_->Read(blob.hash, 1 << 20) == blob.bytes);
  ASSERT_TRUE(Upload("after").ok());  // takes a place of its own
  EXPECT_THAT(*blobs_->FindMissing(hashes), IsEmpty());
  for (const BlobStore::Blob& blob : blobs) EXPECT_TRUE(*blobs_->Read(blob.hash, 1 << 20) == blob.bytes);
}

TEST_F(BlobStoreTest, FindMissingKeepsOrderAndDropsRepeats) {
  ASSERT_TRUE(blobs_->Put("here").ok());
  const std::string a = Sha256Hex("a"), b = Sha256Hex("b");
  EXPECT_THAT(*blobs_->FindMissing({b, Sha256Hex("here"), a, b}), ElementsAre(b, a));
  EXPECT_THAT(*blobs_->FindMissing({}), IsEmpty());
}

TEST_F(BlobStoreTest, ListIsInPages) {
  std::vector<std::string> hashes;
  for (int i = 0; i < 5; ++i) hashes.push_back(*blobs_->Put(std::string(i, 'x')));
  std::sort(hashes.begin(), hashes.end());
  std::vector<std::string> listed;
  std::string after;
  while (true) {
    const auto page = blobs_->List(after, 2);
    ASSERT_TRUE(page.ok());
    if (page->empty()) break;
    for (const BlobInfo& info : *page) listed.push_back(info.hash);
    after = listed.back();
  }
  EXPECT_EQ(listed, hashes);
}

TEST_F(BlobStoreTest, DeleteFreesAllAndAReaderIsTold) {
  const std::string large = RandomBytes(100 * kChunk, 1), other = RandomBytes(3 * kChunk, 2);
  ASSERT_TRUE(Upload(large).ok());
  ASSERT_TRUE(Upload(other).ok());
  const auto reader = blobs_->OpenReader(Sha256Hex(large));
  ASSERT_TRUE((*reader)->Next().ok());
  EXPECT_EQ(*blobs_->Delete({Sha256Hex(large), Sha256Hex("unknown")}), large.size());
  EXPECT_EQ((*reader)->Next().status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(IsVisible(large));
  EXPECT_EQ(NumChunks(), 3u);
  EXPECT_EQ(blobs_->Read(Sha256Hex(large), 1 << 30).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(*blobs_->Read(Sha256Hex(other), 1 << 30) == other);
}

TEST_F(BlobStoreTest, DamageIsFound) {
  const std::string bytes = RandomBytes(3 * kChunk, 1);
  ASSERT_TRUE(Upload(bytes).ok());
  std::vector<KeyValue> chunks = Scan(store_, PrefixRange(PrefixKey(KeyPrefix::kChunk)));
  ASSERT_EQ(chunks.size(), 3u);
  KeyValue damaged = chunks[1];
  damaged.second[5] ^= 1;
  ASSERT_TRUE(Put(&store_, {damaged}).ok());
  EXPECT_EQ(blobs_->Read(Sha256Hex(bytes), 1 << 20).status().code(), absl::StatusCode::kDataLoss);
  damaged.second.pop_back();
  ASSERT_TRUE(Put(&store_, {damaged}).ok());
  EXPECT_EQ(blobs_->Read(Sha256Hex(bytes), 1 << 20).status().code(), absl::StatusCode::kDataLoss);
  WriteBatch batch;
  batch.Delete(damaged.first);
  ASSERT_TRUE(store_.Write(batch, Durability::kSynced).ok());
  const absl::Status status = blobs_->Read(Sha256Hex(bytes), 1 << 20).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("chunk 1 is missing"));
}

TEST_F(BlobStoreTest, AbandonedUploadsAreDropped) {
  const std::string old_bytes = RandomBytes(3 * kChunk, 1), new_bytes = RandomBytes(3 * kChunk, 2);
  const auto old_writer = OpenWriter(old_bytes);
  ASSERT_TRUE(old_writer->Append(0, old_bytes.substr(0, 2 * kChunk)).ok());
  clock_.Advance(absl::Hours(2));
  const auto new_writer = OpenWriter(new_bytes);
  ASSERT_TRUE(new_writer->Append(0, new_bytes).ok());
  EXPECT_EQ(*blobs_->DropUploadsOlderThan(clock_.Now() - absl::Hours(1)), 1);
  EXPECT_EQ(NumUploads(), 1u);
  EXPECT_EQ(NumChunks(), 2u);  // of the newer
  EXPECT_EQ(old_writer->Append(2 * kChunk, old_bytes.substr(2 * kChunk)).code(), absl::StatusCode::kOk);
  EXPECT_EQ(old_writer->Commit().code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(new_writer->Commit().ok());
  EXPECT_FALSE(IsVisible(old_bytes));
}

TEST_F(BlobStoreTest, LimitsAreNamedWithActualValues) {
  options_.max_pending_uploads = 1;
  options_.max_blob_bytes = 5000;
  options_.max_put_many_bytes = 10;
  options_.max_hashes_per_call = 2;
  Reopen();
  const std::string hash = Sha256Hex("a");
  const absl::Status too_large = blobs_->OpenWriter(hash, 5001).status();
  EXPECT_EQ(too_large.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(too_large.message()), HasSubstr("limit is 5000 bytes a blob, it has 5001"));
  {
    const auto writer = blobs_->OpenWriter(hash, 10);
    ASSERT_TRUE(writer.ok());
  }
  Reopen();  // the count includes what was there before
  const absl::Status too_many = blobs_->OpenWriter(Sha256Hex("b"), 10).status();
  EXPECT_EQ(too_many.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(too_many.message()), HasSubstr("limit is 1 unfinished uploads, there are 1"));
  EXPECT_TRUE(blobs_->OpenWriter(hash, 10).ok());  // a resumed one counts once
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(*blobs_->DropUploadsOlderThan(clock_.Now()), 1);
  EXPECT_TRUE(blobs_->OpenWriter(Sha256Hex("b"), 10).ok());
  EXPECT_EQ(blobs_->PutMany({MakeBlob("12345678901")}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(blobs_->FindMissing({hash, hash, hash}).status().code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(blobs_->Put("1234567890").ok());
  EXPECT_EQ(blobs_->Read(Sha256Hex("1234567890"), 9).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(blobs_->OpenReader(Sha256Hex("1234567890"), 11).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(BlobStoreTest, WhatIsNoHashIsRefusedEverywhere) {
  for (const std::string& bad : {std::string(), std::string("../../etc/passwd"), std::string(64, 'G'),
                                 std::string(64, 'A'), std::string(65, 'a')}) {
    EXPECT_EQ(blobs_->Stat(bad).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(blobs_->ResumeOffset(bad).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(blobs_->OpenWriter(bad, 1).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(blobs_->OpenReader(bad).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(blobs_->FindMissing({bad}).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(blobs_->Delete({bad}).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(blobs_->PutMany({{bad, ""}}).code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(BlobStoreTest, ManyThreadsPutTheSameBlobsOnce) {
  std::vector<BlobStore::Blob> blobs;
  for (int i = 0; i < 20; ++i) blobs.push_back(MakeBlob(RandomBytes(700, i)));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t, &blobs] {
      for (size_t i = 0; i < blobs.size(); ++i) {
        const BlobStore::Blob& blob = blobs[(i + 5 * t) % blobs.size()];
        if (t % 2 == 0) {
          EXPECT_TRUE(blobs_->PutMany({blob, blobs[i]}).ok());
          continue;
        }
        const auto writer = blobs_->OpenWriter(blob.hash, blob.bytes.size());
        if (!writer.ok()) {
          EXPECT_EQ(writer.status().code(), absl::StatusCode::kAlreadyExists);
          continue;
        }
        absl::Status status = (*writer)->Append((*writer)->offset(), blob.bytes);
        if (status.ok()) status = (*writer)->Commit();
        EXPECT_TRUE(status.ok() || absl::IsAborted(status)) << status;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const BlobStore::Blob& blob : blobs) EXPECT_TRUE(*blobs_->Read(blob.hash, 1000) == blob.bytes);
  EXPECT_EQ(NumChunks(), blobs.size());
  EXPECT_EQ(NumUploads(), 0u);
}

TEST(BlobStoreOptionsTest, AreChecked) {
  MemoryKvStore store;
  FakeClock clock;
  BlobStore::Options options;
  options.chunk_bytes = 0;
  EXPECT_EQ(BlobStore::Open(&store, &clock, options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ursa
