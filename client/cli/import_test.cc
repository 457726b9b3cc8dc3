#include "client/cli/import.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/digest.h"

namespace ursa::cli {
namespace {

TEST(ImportTest, FilesAreHashedInOrderAndUnreadableOnesRefused) {
  const std::string folder = ::testing::TempDir();
  std::vector<FoundFile> files;
  for (int i = 0; i < 40; ++i) {
    const std::string path = folder + "/" + std::to_string(i);
    std::ofstream(path) << "bytes " << i;
    files.push_back({std::to_string(i), path, 7, ""});
  }
  files.push_back({"gone", folder + "/gone", 7, ""});
  files.push_back({"empty", folder + "/0", 0, "is empty, has 0 bytes"});
  int64_t last = 0;
  const std::vector<std::string> hashes = HashFiles(&files, [&](int64_t done) { last = done; });
  for (int i = 0; i < 40; ++i) EXPECT_EQ(hashes[i], Sha256Hex("bytes " + std::to_string(i)));
  EXPECT_NE(files[40].refused.find("cannot open"), std::string::npos);
  EXPECT_EQ(hashes[41], "");
  EXPECT_EQ(last, 42);
}

LabelRule Labels(const std::string& text) {
  absl::StatusOr<LabelRule> rule = LabelRule::Parse(text);
  EXPECT_TRUE(rule.ok());
  return *rule;
}

TEST(ImportTest, CandidatesHaveLabelAndSplitOrAReason) {
  const std::vector<FoundFile> files = {{"train/cat/1.jpg", "/1", 3, ""},
                                        {"valid/dog/2.jpg", "/2", 4, ""},
                                        {"other/dog/3.jpg", "/3", 5, "cannot be opened"}};
  const std::vector<std::string> hashes = {"h1", "h2", ""};
  const v1::CandidateList list = MakeCandidates(files, hashes, Labels("parent"), SplitRule::Kind::kFolder);
  ASSERT_EQ(list.candidates_size(), 3);
  EXPECT_EQ(list.candidates(0).label(), "cat");
  EXPECT_EQ(list.candidates(0).split(), "train");
  EXPECT_EQ(list.candidates(0).hash(), "h1");
  EXPECT_EQ(list.candidates(0).size(), 3);
  EXPECT_EQ(list.candidates(1).split(), "valid");
  EXPECT_EQ(list.candidates(2).refused(), "cannot be opened");
  EXPECT_EQ(list.candidates(2).hash(), "");
  // Another rule takes no split from the folders.
  EXPECT_EQ(MakeCandidates(files, hashes, Labels("parent"), SplitRule::Kind::kRandom).candidates(0).split(), "");
}

TEST(ImportTest, LabelsFromNamesNeedNoFolderOfTheirOwn) {
  const std::vector<FoundFile> files = {{"train/cat_1.jpg", "/1", 3, ""}, {"train/odd.jpg", "/2", 3, ""}};
  const v1::CandidateList list =
      MakeCandidates(files, {"h1", "h2"}, Labels("regex:^(.+)_[0-9]"), SplitRule::Kind::kFolder);
  EXPECT_EQ(list.candidates(0).label(), "cat");
  EXPECT_EQ(list.candidates(0).split(), "train");
  EXPECT_EQ(list.candidates(1).refused(), "has no label, the pattern does not match");
}

TEST(ImportTest, ALabelOverTheLimitRefusesItsFileOnly) {
  const std::vector<FoundFile> files = {{std::string(257, 'l') + "/1.jpg", "/1", 3, ""}, {"ok/2.jpg", "/2", 3, ""}};
  const v1::CandidateList list = MakeCandidates(files, {"h1", "h2"}, Labels("parent"), SplitRule::Kind::kRandom);
  EXPECT_EQ(list.candidates(0).refused(), "has a label of 257 bytes, the limit is 256");
  EXPECT_EQ(list.candidates(1).refused(), "");
}

}  // namespace
}  // namespace ursa::cli
