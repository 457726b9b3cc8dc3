#include "experiments/resource_names.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::HasSubstr;

TEST(CheckNameTest, TheRule) {
  for (const std::string& name :
       {std::string("a"), std::string("0"), std::string("bears-2.small_x"), std::string(64, 'a')}) {
    EXPECT_TRUE(CheckName("dataset", name).ok()) << name;
  }
  const std::map<std::string, std::string> bad = {
      {"", "the name is empty"},       {std::string(65, 'a'), "65 characters"}, {"Bears", "'B' at position 1"},
      {"be ars", "' ' at position 3"}, {".bears", "'.' at position 1"},         {"-x", "'-' at position 1"},
      {"a/b", "'/' at position 2"},    {"b\xc3\xa4r", "'\\303' at position 2"}, {"a\n", "'\\n' at position 2"}};
  for (const auto& [name, expected] : bad) {
    const absl::Status status = CheckName("dataset", name);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(expected));
    EXPECT_THAT(std::string(status.message()), HasSubstr("dataset \""));
  }
}

TEST(CheckNameTest, ALongNameIsNotShownWhole) {
  EXPECT_LT(CheckName("dataset", std::string(100000, 'a')).message().size(), 400u);
}

TEST(ReferenceTest, ModelsAndDatasets) {
  const std::map<std::string, std::string> models = {{"bears", "models/bears/versions/latest"},
                                                     {"bears@3", "models/bears/versions/3"},
                                                     {"bears:champion", "models/bears/aliases/champion"}};
  for (const auto& [text, expected] : models) {
    const auto ref = ParseModelReference(text);
    ASSERT_TRUE(ref.ok()) << ref.status();
    EXPECT_EQ(ModelVersionName(*ref), expected);
    EXPECT_EQ(ref->ToString(), text);
    EXPECT_EQ(ParseModelVersionName(expected)->ToString(), text);
  }
  EXPECT_EQ(DatasetVersionName(*ParseDatasetReference("bears")), "datasets/bears/versions/latest");
  EXPECT_EQ(DatasetVersionName(*ParseDatasetReference("bears@12")), "datasets/bears/versions/12");
  EXPECT_EQ(ParseDatasetVersionName("datasets/bears/versions/12")->ToString(), "bears@12");
}

TEST(ReferenceTest, Mistakes) {
  const std::map<std::string, std::string> cases = {
      {"", "the name is empty"},      {"bears@", "version \"\""},       {"bears@0", "version \"0\""},
      {"bears@-1", "version \"-1\""}, {"bears@01", "version \"01\""},   {"bears@latest", "version \"latest\""},
      {"bears@3x", "version \"3x\""}, {"bears:", "alias \"\""},         {"bears:Champion", "alias \"Champion\""},
      {"@3", "the name is empty"},    {"bears@3:x", "version \"3:x\""}, {"bears@9223372036854775808", "version"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_THAT(std::string(ParseModelReference(text).status().message()), HasSubstr(expected)) << text;
  }
  EXPECT_THAT(std::string(ParseDatasetReference("bears:champion").status().message()),
              HasSubstr("only models have aliases"));
}

TEST(ResourceNameTest, Malformed) {
  for (const char* name : {"", "models", "models/", "models/bears", "models/bears/", "models/bears/versions",
                           "models/bears/versions/", "models/bears/versions/0", "models/bears/versions/3/x",
                           "models/bears/versions/3x", "models/Bears/versions/3", "datasets/bears/versions/3",
                           "models/bears/aliases/", "models/bears/alias/champion", "/models/bears/versions/3"}) {
    EXPECT_EQ(ParseModelVersionName(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_THAT(std::string(ParseDatasetVersionName("bears@3").status().message()),
              HasSubstr("expected datasets/NAME/versions/NUMBER"));
  EXPECT_FALSE(ParseDatasetVersionName("datasets/bears/aliases/champion").ok());
}

TEST(ResourceNameTest, Models) {
  EXPECT_EQ(ModelName("bears"), "models/bears");
  EXPECT_EQ(ModelGatesName("bears"), "models/bears/gates");
  EXPECT_EQ(*ParseModelName("models/bears"), "bears");
  EXPECT_FALSE(ParseModelName("models/bears/gates").ok());
  EXPECT_FALSE(ParseModelName("bears").ok());
}

TEST(IdNameTest, WrittenAndRead) {
  EXPECT_EQ(IdName("experiments", 'e', 17), "experiments/e17");
  EXPECT_EQ(*ParseIdName("experiments", 'e', "experiments/e17"), 17);
  EXPECT_EQ(*ParseIdName("experiments", 'e', "e17"), 17);
  for (const char* text : {"", "e", "e0", "e017", "17", "w17", "experiments/", "experiments/w17", "experimentse17",
                           "imports/e17", "e17/", "e-1", "e1 "}) {
    const absl::Status status = ParseIdName("experiments", 'e', text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("expected experiments/e1")) << text;
  }
}

}  // namespace
}  // namespace ursa
