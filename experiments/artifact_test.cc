#include "experiments/artifact.h"

#include <string>
#include <vector>

#include "base/digest.h"
#include "experiments/textproto.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

v1::DataSpec Data(const std::string& assignment = "") {
  v1::DataSpec data;
  EXPECT_TRUE(
      ParseTextproto("data",
                     "item_transforms { resize { size: 64 method: \"crop\" pad_mode: \"reflection\" } }"
                     "batch_transforms { normalize { mean: [0.5, 0.5, 0.5] std: [0.5, 0.5, 0.5] } } batch_size: 64",
                     &data)
          .ok());
  if (!assignment.empty()) {
    EXPECT_TRUE(SetField(assignment, &data).ok()) << assignment;
  }
  return data;
}

TEST(TransformHashTest, CoversTransformsButNotTheBatchSize) {
  const std::string hash = TransformHash(Data());
  EXPECT_TRUE(IsDigestHex(hash));
  EXPECT_EQ(TransformHash(Data("batch_size=32")), hash);
  for (const char* change : {"item_transforms.resize.size=65", "item_transforms.resize.method=pad",
                             "item_transforms.random_resized_crop.size=64", "batch_transforms.aug_transforms={}",
                             "batch_transforms.normalize.mean[1]=0.25", "batch_transforms.normalize.std[2]=0.25"}) {
    EXPECT_NE(TransformHash(Data(change)), hash) << change;
  }
}

// Stored hashes must stay what they are: a change here orphans every prediction in every ledger.
TEST(TransformHashTest, IsStable) {
  EXPECT_EQ(TransformHash(Data()), Sha256Hex("ursa transforms 1\n"
                                             "1={1=64;2=4:crop;3=10:reflection;};\n"
                                             "2={1=0x1p-1;1=0x1p-1;1=0x1p-1;2=0x1p-1;2=0x1p-1;2=0x1p-1;};"));
}

TEST(ArtifactHashTest, CoversAllFourInOrder) {
  const std::string hash = ArtifactHash("w", "resnet18", "t", {"a", "b"});
  EXPECT_TRUE(IsDigestHex(hash));
  EXPECT_EQ(ArtifactHash("w", "resnet18", "t", {"a", "b"}), hash);
  EXPECT_NE(ArtifactHash("v", "resnet18", "t", {"a", "b"}), hash);
  EXPECT_NE(ArtifactHash("w", "resnet34", "t", {"a", "b"}), hash);
  EXPECT_NE(ArtifactHash("w", "resnet18", "s", {"a", "b"}), hash);
  EXPECT_NE(ArtifactHash("w", "resnet18", "t", {"b", "a"}), hash);
  EXPECT_NE(ArtifactHash("w", "resnet18", "t", {"ab"}), hash);
}

}  // namespace
}  // namespace ursa
