#include "experiments/splitters.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::HasSubstr;

TEST(ParseSplitRuleTest, ReadsWhatPeopleWrite) {
  const struct {
    const char* text;
    SplitRule::Kind kind;
    double fraction;
    uint64_t seed;
    const char* canonical;
  } cases[] = {
      {"random:0.2:seed=42", SplitRule::Kind::kRandom, 0.2, 42, "random:0.2:seed=42"},
      {"random:.25", SplitRule::Kind::kRandom, 0.25, 42, "random:0.25:seed=42"},
      {"stratified:0.10:seed=0", SplitRule::Kind::kStratified, 0.1, 0, "stratified:0.1:seed=0"},
      {"random:0.5:seed=18446744073709551615", SplitRule::Kind::kRandom, 0.5, UINT64_MAX,
       "random:0.5:seed=18446744073709551615"},
  };
  for (const auto& test : cases) {
    const auto rule = ParseSplitRule(test.text);
    ASSERT_TRUE(rule.ok()) << rule.status();
    EXPECT_EQ(rule->kind, test.kind);
    EXPECT_EQ(rule->valid_fraction, test.fraction);
    EXPECT_EQ(rule->seed, test.seed);
    EXPECT_EQ(rule->ToString(), test.canonical);
    EXPECT_EQ(ParseSplitRule(rule->ToString())->ToString(), test.canonical);
  }
  EXPECT_EQ(ParseSplitRule("folder")->ToString(), "folder");
  EXPECT_EQ(ParseSplitRule("column:is:valid")->column, "is:valid");
}

TEST(ParseSplitRuleTest, SaysWhatIsWrong) {
  const std::map<std::string, std::string> cases = {
      {"", "unknown kind \"\""},
      {"rnadom:0.2", "unknown kind \"rnadom\""},
      {"random", "the validation share is \"\""},
      {"random:0", "the validation share is \"0\""},
      {"random:1", "the validation share is \"1\""},
      {"random:-0.1", "the validation share is \"-0.1\""},
      {"random:nan", "the validation share is \"nan\""},
      {"random:20%", "the validation share is \"20%\""},
      {"random:0.2:42", "\"42\" is not seed=N"},
      {"random:0.2:seed=", "is not seed=N"},
      {"random:0.2:seed=-1", "is not seed=N"},
      {"random:0.2:seed=18446744073709551616", "is not seed=N"},
      {"random:0.2:seed=4 ", "is not seed=N"},
      {"folder:x", "folder takes no parameter"},
      {"folder:", "folder takes no parameter"},
      {"column:", "the column's name is missing"},
  };
  for (const auto& [text, expected] : cases) {
    const absl::Status status = ParseSplitRule(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(expected)) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("allowed:")) << text;
  }
}

TEST(RandomSplitTest, CutIsRoundedDownInDouble) {
  EXPECT_EQ(RandomSplit(100, 0.29, 1).valid.size(), 28u);  // 0.29 * 100 is 28.999999999999996
  EXPECT_EQ(RandomSplit(416, 0.2, 42).valid.size(), 83u);
  EXPECT_EQ(RandomSplit(4, 0.2, 42).valid.size(), 0u);
  EXPECT_EQ(RandomSplit(0, 0.2, 42).train.size(), 0u);
}

std::vector<std::string> Labels(const std::map<std::string, int>& sizes) {
  std::vector<std::string> labels;
  for (const auto& [label, size] : sizes) labels.insert(labels.end(), static_cast<size_t>(size), label);
  return labels;
}

std::map<std::string, int> ValidSizes(const std::vector<std::string>& labels, const SplitIndices& split) {
  std::map<std::string, int> sizes;
  for (int64_t i : split.valid) ++sizes[labels[static_cast<size_t>(i)]];
  return sizes;
}

TEST(StratifiedSplitTest, EachExampleIsInOneList) {
  const std::vector<std::string> labels = Labels({{"a", 7}, {"b", 50}, {"c", 1}});
  const SplitIndices split = StratifiedSplit(labels, 0.3, 5);
  std::vector<int64_t> all = split.train;
  all.insert(all.end(), split.valid.begin(), split.valid.end());
  std::sort(all.begin(), all.end());
  std::vector<int64_t> expected(labels.size());
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all, expected);
}

TEST(StratifiedSplitTest, SharesFollowTheClasses) {
  using Sizes = std::map<std::string, int>;
  const struct {
    Sizes classes;
    double fraction;
    Sizes valid;
  } cases[] = {
      {{{"a", 100}, {"b", 50}, {"c", 10}}, 0.2, {{"a", 20}, {"b", 10}, {"c", 2}}},
      // 0.2 of 3 is 0.6 each, 1.8 in all: one picture, dealt to the first of equals.
      {{{"a", 3}, {"b", 3}, {"c", 3}}, 0.2, {{"a", 1}}},
      // The largest remainder gets the odd one.
      {{{"a", 11}, {"b", 14}}, 0.2, {{"a", 2}, {"b", 3}}},
      // A class never goes to validation as a whole.
      {{{"a", 1}, {"b", 20}}, 0.5, {{"b", 10}}},
      {{{"a", 2}, {"b", 2}}, 0.9, {{"a", 1}, {"b", 1}}},
  };
  for (const auto& test : cases) {
    const std::vector<std::string> labels = Labels(test.classes);
    EXPECT_EQ(ValidSizes(labels, StratifiedSplit(labels, test.fraction, 42)), test.valid);
  }
}

TEST(StratifiedSplitTest, NeverTakesAllOfAClassNorMoreThanAskedFor) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::map<std::string, int> classes;
    for (int c = 0; c < 1 + static_cast<int>(seed % 7); ++c) {
      classes[std::string(1, static_cast<char>('a' + c))] = 1 + static_cast<int>((seed * 7 + 13 * c) % 23);
    }
    const std::vector<std::string> labels = Labels(classes);
    const double fraction = 0.01 + 0.98 * static_cast<double>(seed % 50) / 50;
    const SplitIndices split = StratifiedSplit(labels, fraction, seed);
    EXPECT_LE(split.valid.size(), static_cast<size_t>(fraction * static_cast<double>(labels.size())));
    for (const auto& [label, size] : ValidSizes(labels, split)) EXPECT_LT(size, classes[label]) << label;
  }
}

TEST(StratifiedSplitTest, SeedsDiffer) {
  const std::vector<std::string> labels = Labels({{"a", 40}, {"b", 40}});
  EXPECT_NE(StratifiedSplit(labels, 0.25, 1).valid, StratifiedSplit(labels, 0.25, 2).valid);
  EXPECT_EQ(StratifiedSplit(labels, 0.25, 1).valid, StratifiedSplit(labels, 0.25, 1).valid);
}

TEST(NamedSplitTest, TakesTheNames) {
  const auto split = NamedSplit({"train", "test", "valid", "train"});
  ASSERT_TRUE(split.ok());
  EXPECT_EQ(split->train, (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(split->valid, (std::vector<int64_t>{2}));
  EXPECT_EQ(split->test, (std::vector<int64_t>{1}));
  EXPECT_THAT(std::string(NamedSplit({"train", "val"}).status().message()), HasSubstr("example 1 is \"val\""));
}

TEST(SplitOfColumnValueTest, NamesAndTruthValues) {
  const std::map<std::string, std::string> cases = {{"train", "train"}, {" Valid ", "valid"}, {"TEST", "test"},
                                                    {"True", "valid"},  {"1", "valid"},       {"false", "train"},
                                                    {"0", "train"}};
  for (const auto& [value, expected] : cases) EXPECT_EQ(SplitOfColumnValue(value).value(), expected);
  EXPECT_FALSE(SplitOfColumnValue("2").ok());
  EXPECT_FALSE(SplitOfColumnValue("").ok());
}

TEST(FoldersTest, ParentAndGrandparent) {
  EXPECT_EQ(ParentFolder("train/black bear/1.jpg"), "black bear");
  EXPECT_EQ(GrandparentFolder("train/black bear/1.jpg"), "train");
  EXPECT_EQ(GrandparentFolder("black/1.jpg"), "");
  EXPECT_EQ(ParentFolder("1.jpg"), "");
}

}  // namespace
}  // namespace ursa
